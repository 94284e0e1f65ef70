{% macro dimension(key, attributes) %}
    {#-
    Selects the rows of a dimension that a run changes. If an id has order lines in the window, the
    latest of these counts, unless the id's row comes from a day after the window. The query
    searches all days only for ids that the window does not decide.

    Without a suitable index it uses set operations and sorts instead of joins. The planner has no
    statistics of a day that was just loaded, and might compare every row with every other.
    -#}
    {%- set window = run_window() -%}
    {%- set columns = [key] + attributes + ['latest_order_date'] -%}
    {%- set recency -%}
        row_number() over (
            partition by {{ key }} order by date_time desc, uniq_id collate "C" desc
        ) as recency
    {%- endset -%}
with lines as (

    select
        {{ ([key] + attributes) | join(',\n        ') }},
        order_date as latest_order_date,
        {{ recency }}
    from {{ ref('stg_user_order_log') }}
    where {{ in_window('order_date') }}

),

latest as (

    select {{ columns | join(', ') }} from lines where recency = 1

),

    {%- if flags.EMPTY %}

final as (

    select * from latest

)

    {%- else %}

-- Ids that were never looked up, or have no order line any more on the day of their row.
undecided as (

    select {{ key }} from {{ this }} where latest_order_date is null
    union all
    (
        select {{ key }} from {{ this }} where {{ in_window('latest_order_date') }}
        except
        select {{ key }} from latest
    )

),

lines_of_undecided as (

    select
        {{ ([key] + attributes) | join(',\n        ') }},
        cast(date_time as date) as latest_order_date,
        date_time,
        uniq_id
    from {{ source('staging', 'user_order_log') }}
    where {{ key }} in (select {{ key }} from undecided)
    union all
    -- The row itself, as if older than any order line: without one its attributes stay.
    select
        {{ ([key] + attributes) | join(',\n        ') }},
        {{ no_order_date() }} as latest_order_date,
        {{ no_order_date() }} as date_time,
        '' as uniq_id
    from {{ this }}
    where {{ key }} in (select {{ key }} from undecided)

),

decided as (

    select
        {{ columns | join(',\n        ') }},
        {{ recency }}
    from lines_of_undecided

),

final as (

    select latest.{{ columns | join(', latest.') }}
    from latest
    left join {{ this }} as present on present.{{ key }} = latest.{{ key }}
    where present.{{ key }} is null or (
        {%- if window is none %}
        present.latest_order_date is not null
        {%- else %}
        present.latest_order_date <= date '{{ window.last }}'
        {%- endif %}
        and (latest.{{ columns | join(', latest.') }})
        is distinct from (present.{{ columns | join(', present.') }})
    )
    union all
    select {{ columns | join(', ') }} from decided where recency = 1

)

    {%- endif %}

select * from final
{% endmacro %}

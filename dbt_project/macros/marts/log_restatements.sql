{% macro log_restatements() %}
    {#-
    Logs which figures of complete periods the run has changed, in the run's transaction. A figure
    without a row counts as zero, because no order line supports it.
    -#}
    {#- Outside the condition, so that dbt sees these dependencies. -#}
    {%- set log, delivery_day = ref('restatement_log'), source('staging', 'delivery_day') -%}
    {#-
    Not a ref, because f_delivery_day is built last. Now it says what was complete before the run.
    -#}
    {%- set days = load_relation(this.incorporate(path={'identifier': 'f_delivery_day'})) -%}
    {%- set item_id = 'item_id' if 'item_id' in model.columns else 'cast(null as integer)' -%}
    {%- if is_incremental() and not flags.EMPTY and days is not none -%}
insert into {{ log }}
    (logged_at, period_name, period_id, item_id, measure, before_value, after_value, delivery_id)
with complete as (

    select
        period_name,
        period_id,
        max(held.delivery_id) as delivery_id
    from ({{ calendar_periods() }}) as periods
    left join {{ days }} as delivered using (date_id)
    left join {{ delivery_day }} as held on held.day = periods.date_actual
    -- Months that are requested for the first time were not published before.
    where period_name in (select period_name from published)
    group by period_name, period_id
    having count(*) = count(delivered.date_id)

),

figures as (
        {% for column in model.columns if column not in ['period_name', 'period_id', 'item_id'] %}
    select
        period_name,
        period_id,
        {{ item_id }} as item_id,
        '{{ column }}' as measure,
        {{ column }} as before_value,
        0 as after_value
    from published
    union all
    select period_name, period_id, {{ item_id }}, '{{ column }}', 0, {{ column }}
    from {{ this }}
        {{ 'union all' if not loop.last }}
        {%- endfor %}

)

select
    current_timestamp,
    period_name,
    period_id,
    item_id,
    measure,
    sum(before_value),
    sum(after_value),
    delivery_id
from complete
inner join figures using (period_name, period_id)
group by period_name, period_id, item_id, measure, delivery_id
having sum(before_value) != sum(after_value)
    {%- endif -%}
{% endmacro %}

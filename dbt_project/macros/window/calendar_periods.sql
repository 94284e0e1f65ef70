{% macro calendar_periods(reach='window') %}
    {%- set window = run_window() -%}
    {%- set period_ids = {
        'weekly': 'left(week_of_year_iso, 8)',
        'monthly': "to_char(date_actual, 'YYYY-MM')",
    } -%}
    {%- for period_name in _retention_periods(period_ids | list) %}
        select
            date_id,
            date_actual,
            cast('{{ period_name }}' as varchar(20)) as period_name,
            cast({{ period_ids[period_name] }} as varchar(20)) as period_id
        from {{ ref('d_calendar') }}
        {%- if window is not none and reach != 'all' %}
            {#-
            Two days, not a list of ids, so that the planner can estimate how few days these are.
            -#}
            {%- set first, last = _whole_periods(period_name, window) %}
        where date_actual >= date '{{ first }}'
            {{- " and date_actual <= date '" ~ last ~ "'" if reach == 'window' }}
        {%- endif %}
        {%- if not loop.last %}
        union all
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}

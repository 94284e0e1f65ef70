{% macro calendar_periods() %}
    {%- set period_ids = {
        'weekly': 'left(week_of_year_iso, 8)',
        'monthly': "to_char(date_actual, 'YYYY-MM')",
    } -%}
    {%- for period_name in var('retention_periods') -%}
        {%- if period_name not in period_ids -%}
            {{ exceptions.raise_compiler_error(
                "retention_periods holds '" ~ period_name ~ "': expected weekly or monthly"
            ) }}
        {%- endif %}
        select
            date_id,
            date_actual,
            cast('{{ period_name }}' as varchar(20)) as period_name,
            cast({{ period_ids[period_name] }} as varchar(20)) as period_id
        from {{ ref('d_calendar') }}
        {%- if not loop.last %}
        union all
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}

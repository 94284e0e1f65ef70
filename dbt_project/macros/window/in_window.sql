{% macro in_window(key) %}
    {%- set window = run_window() -%}
    {%- if window is none and key == 'date_id' -%}
        {#- Staging never held the days of some sales of an old warehouse: nothing could replace them. -#}
        (
            uniq_id not like 'mart.f_sales.id=%' or date_id in (
                select cast(to_char(day, 'YYYYMMDD') as integer)
                from {{ source('staging', 'delivery_day') }}
            )
        )
    {%- elif window is none -%}
        true
    {%- elif key == 'date_id' -%}
        date_id between {{ window.first.strftime('%Y%m%d') }} and {{ window.last.strftime('%Y%m%d') }}
    {%- elif key == 'order_date' -%}
        order_date between date '{{ window.first }}' and date '{{ window.last }}'
    {%- elif key == 'period_id' -%}
        period_id in (
            select periods.period_id
            from ({{ calendar_periods() }}) as periods
            where periods.date_actual between date '{{ window.first }}' and date '{{ window.last }}'
        )
    {%- else -%}
        {{ exceptions.raise_compiler_error(
            "in_window('" ~ key ~ "'): expected date_id, order_date or period_id"
        ) }}
    {%- endif -%}
{% endmacro %}

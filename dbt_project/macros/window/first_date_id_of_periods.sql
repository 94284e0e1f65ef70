{% macro first_date_id_of_periods() %}
    {%- set days = [] -%}
    {%- for period_name in var('retention_periods') -%}
        {%- do days.append(_whole_periods(period_name, run_window())[0]) -%}
    {%- endfor -%}
    {{ return((days | min).strftime('%Y%m%d')) }}
{% endmacro %}

{% macro in_window(column, later_too=false) %}
    {%- set window = run_window() -%}
    {%- set kind = modules.re.search('(date_id|_date|period_id)$', column) -%}
    {%- if not kind -%}
        {{ exceptions.raise_compiler_error(
            "in_window('" ~ column ~ "'): expected a column that ends in date_id, _date or period_id"
        ) }}
    {%- elif window is none -%}
        true
    {%- elif kind.group() == 'date_id' -%}
        {{ column }} between {{ window.first.strftime('%Y%m%d') }}
        and {{ window.last.strftime('%Y%m%d') }}
    {%- elif kind.group() == '_date' -%}
        {{ column }} between date '{{ window.first }}' and date '{{ window.last }}'
    {%- else -%}
        {{ column }} in (
            select periods.period_id from ({{ calendar_periods('from window' if later_too else 'window') }}) as periods
        )
    {%- endif -%}
{% endmacro %}

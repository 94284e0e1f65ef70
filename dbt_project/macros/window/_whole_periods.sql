{% macro _whole_periods(period_name, window) %}
    {#- As text, because the window that a unit test sets is text. -#}
    {%- set first = modules.datetime.date.fromisoformat(window.first | string) -%}
    {%- set last = modules.datetime.date.fromisoformat(window.last | string) -%}
    {%- set days = modules.datetime.timedelta -%}
    {%- if period_name == 'weekly' -%}
        {{ return((first - days(first.weekday()), last + days(6 - last.weekday()))) }}
    {%- elif period_name == 'monthly' -%}
        {#- Four days after the 28th it is always the next month. -#}
        {%- set next_month = (last.replace(day=28) + days(4)).replace(day=1) -%}
        {{ return((first.replace(day=1), next_month - days(1))) }}
    {%- else -%}
        {{ exceptions.raise_compiler_error("no first and last day is known of " ~ period_name) }}
    {%- endif -%}
{% endmacro %}

{% macro _parse_day(name, value) %}
    {%- set text = value | string -%}
    {%- set parts = modules.re.match('([0-9]{4})-([0-9]{2})-([0-9]{2})$', text) -%}
    {%- if parts -%}
        {%- set year, month, day = parts.groups() | map('int') -%}
        {%- if 1970 <= year <= 2049 and 1 <= month <= 12 and 1 <= day <= 31 -%}
            {#-
            Counted from the first of the month, so that 30 February gives March instead of an
            error.
            -#}
            {%- set counted = modules.datetime.date(year, month, 1)
                + modules.datetime.timedelta(days=day - 1) -%}
            {%- if counted.month == month -%}
                {{ return(counted) }}
            {%- endif -%}
        {%- endif -%}
    {%- endif -%}
    {{ exceptions.raise_compiler_error(
        name ~ " is '" ~ text ~ "': expected a day from 1970-01-01 to 2049-12-31, "
        ~ "written like 2024-02-25"
    ) }}
{% endmacro %}

{% macro _window(first_name, first_value, last_name, last_value) %}
    {%- set first = _parse_day(first_name, first_value) -%}
    {%- set last = _parse_day(last_name, last_value) -%}
    {%- if first > last -%}
        {{ exceptions.raise_compiler_error(
            first_name ~ " " ~ first ~ " is after " ~ last_name ~ " " ~ last
        ) }}
    {%- endif -%}
    {{ return({'first': first, 'last': last}) }}
{% endmacro %}

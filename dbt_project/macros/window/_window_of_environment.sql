{% macro _window_of_environment() %}
    {#-
    Read only while a model runs. If dbt read the values while it parses, it would remember them and
    parse again when they change.
    -#}
    {%- if not execute -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set first = env_var('SALES_WINDOW_START', '') -%}
    {%- set last = env_var('SALES_WINDOW_END', '') -%}
    {%- if not first and not last -%}
        {{ return(none) }}
    {%- elif first and last -%}
        {{ return(_window('SALES_WINDOW_START', first, 'SALES_WINDOW_END', last)) }}
    {%- else -%}
        {{ exceptions.raise_compiler_error(
            "SALES_WINDOW_START is '" ~ first ~ "' and SALES_WINDOW_END is '" ~ last
            ~ "': a run takes both (twice the same day for one day), or neither"
        ) }}
    {%- endif -%}
{% endmacro %}

{% macro _window_of_environment() %}
    {#-
    Read while a model runs, never while the project is parsed: dbt would remember the values, and
    parse again whatever had read them.
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

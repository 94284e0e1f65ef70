{% macro _lock_timeout() %}
    {#- Not while the project is parsed: dbt would parse again whenever the value is another. -#}
    {%- set timeout = execute and env_var('MART_LOCK_TIMEOUT', '') or '10min' -%}
    {%- if not modules.re.match('[0-9]+ ?(ms|s|min|h|d)?$', timeout) -%}
        {{ exceptions.raise_compiler_error(
            "MART_LOCK_TIMEOUT is '" ~ timeout ~ "': expected a time like 10min, 90s or 500ms"
        ) }}
    {%- endif -%}
    {{ return(timeout) }}
{% endmacro %}

{% macro _retention_periods(known) %}
    {%- set names = var('retention_periods') -%}
    {%- set is_list = names is sequence and names is not string and names is not mapping -%}
    {%- if not is_list or not names or names | unique | list | length < names | length -%}
        {{ exceptions.raise_compiler_error(
            "retention_periods is " ~ names ~ ": expected a list of " ~ known | join(' or ')
            ~ ", each at most once"
        ) }}
    {%- endif -%}
    {%- for name in names if name not in known -%}
        {{ exceptions.raise_compiler_error(
            "retention_periods holds '" ~ name ~ "': expected " ~ known | join(' or ')
        ) }}
    {%- endfor -%}
    {{ return(names) }}
{% endmacro %}

{% macro _mart_in(reference) %}
    {#- dbt gives either a call of ref, or a table with quotes around its names. -#}
    {{ return(modules.re.findall('[a-z_]+', reference)[-1] if reference else '') }}
{% endmacro %}

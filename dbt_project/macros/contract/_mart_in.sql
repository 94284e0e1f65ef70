{% macro _mart_in(reference) %}
    {#- A call of ref, or a table with quotes around its names: dbt gives either. -#}
    {{ return(modules.re.findall('[a-z_]+', reference)[-1] if reference else '') }}
{% endmacro %}

{% macro generate_schema_name(custom_schema_name, node) %}
    {#- The schemas staging and mart are what the users query: never a prefix of the target's. -#}
    {%- if custom_schema_name is none and node.resource_type == 'model' -%}
        {{ exceptions.raise_compiler_error(
            node.name ~ " has no schema: set +schema for its folder in dbt_project.yml"
        ) }}
    {%- endif -%}
    {{ custom_schema_name or target.schema }}
{% endmacro %}

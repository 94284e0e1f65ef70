{% macro postgres__create_table_as(temporary, relation, sql) %}
    {#-
    A first build makes an empty table, and then the same replacement as every later run. So two
    first builds at once do not collide: the lock orders them, and the second finds the table.
    -#}
    {%- if config.get('materialized') != 'incremental' -%}
        {{ return(dbt.postgres__create_table_as(temporary, relation, sql)) }}
    {%- endif -%}
    {#- Before the batch is read, because a batch may read the mart itself. -#}
    {%- do bring_to_contract(this) -%}
    {%- if temporary -%}
        {{ return(dbt.postgres__create_table_as(temporary, relation, sql)) }}
    {%- endif -%}
    {%- set batch = make_temp_relation(relation) -%}
    {%- set replace_rows = adapter.get_incremental_strategy_macro(
        context, config.get('incremental_strategy')
    ) -%}
    {%- set columns = [] -%}
    {%- for column in model.columns.values() -%}
        {%- do columns.append(api.Column.create(column.name, column.data_type)) -%}
    {%- endfor -%}
    {{ dbt.postgres__create_table_as(true, batch, sql) }}
    {{ replace_rows({
        'target_relation': relation,
        'temp_relation': batch,
        'unique_key': config.get('unique_key'),
        'dest_columns': columns,
        'incremental_predicates': config.get('incremental_predicates'),
    }) }}
{% endmacro %}

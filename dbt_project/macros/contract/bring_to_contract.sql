{% macro bring_to_contract(relation) %}
    {%- if load_cached_relation(relation) is none -%}
        {%- do run_query(
            'create table if not exists ' ~ relation ~ ' ' ~ get_table_columns_and_constraints()
        ) -%}
    {%- else -%}
        {%- set present = adapter.get_columns_in_relation(relation) | map(attribute='name') | list -%}
        {%- for column in model.columns.values() if column.name not in present -%}
            {%- do run_query(
                'alter table ' ~ relation ~ ' add column ' ~ column.name ~ ' ' ~ column.data_type
            ) -%}
            {%- for index in config.get('indexes', []) if column.name in index.columns -%}
                {%- do run_query(get_create_index_sql(relation, index)) -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}

{% macro postgres__persist_docs(relation, model, for_relation, for_columns) %}
    {#-
    Replaces dbt's own, which writes every description in every run: each a new row in the catalog
    and a lock that keeps autovacuum away. This writes those that differ.
    -#}
    {%- set described = [('', model.description)] -%}
    {%- for column in model.columns.values() -%}
        {%- do described.append((column.name, column.description)) -%}
    {%- endfor -%}
    {%- if config.persist_relation_docs() and config.persist_column_docs() -%}
        {%- call statement('descriptions') %}
    do $descriptions$
    declare
        mart constant regclass := '{{ relation }}';
        statement text;
    begin
        for statement in
            select case
                when attnum is null then format('comment on table %s is %L', mart, description)
                else format('comment on column %s.%I is %L', mart, attname, description)
            end
            from (
                values
                {%- for name, description in described %}
                ('{{ name }}', {{ postgres_escape_comment(description | trim) }})
                {{- ',' if not loop.last }}
                {%- endfor %}
            ) as described (column_name, description)
            left join pg_attribute on attrelid = mart and attname = column_name
            where (column_name = '') = (attnum is null)
                -- By this mark of a takeover its way back knows the column.
                and coalesce(col_description(mart, attnum), '') not like '%Made by the old pipeline;%'
                and description is distinct from case
                    when attnum is null then obj_description(mart, 'pg_class')
                    else col_description(mart, attnum)
                end
        loop
            execute statement;
        end loop;
    end
    $descriptions$
        {%- endcall -%}
    {%- endif -%}
{% endmacro %}

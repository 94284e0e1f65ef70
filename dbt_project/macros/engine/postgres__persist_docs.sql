{% macro postgres__persist_docs(relation, model, for_relation, for_columns) %}
    {#-
    dbt's own writes every description in every run. Each is a new row in the catalogue, with a lock
    that stops autovacuum. This macro writes only descriptions that differ.
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
                -- A takeover marks a column so, and its way back needs the mark.
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

{% macro refuse_other_relation(relation) %}
    {#-
    dbt would drop a view of that name, with all that depends on it, to rebuild it as a table.
    -#}
    do $$
    declare
        found text;
    begin
        select case relkind
                when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
                when 'S' then 'sequence' when 'c' then 'type' else 'index'
            end
        into found
        from pg_class
        inner join pg_namespace on pg_namespace.oid = pg_class.relnamespace
        where nspname = '{{ relation.schema }}' and relname = '{{ relation.identifier }}'
            and relkind not in ('r', 'p');
        if found is not null then
            raise exception
                '{{ relation.schema }}.{{ relation.identifier }} is a %, and the mart of this name a table: rename it or drop it',
                found;
        end if;
    end
    $$
{%- endmacro %}

-- Fails if a constraint of a mart's contract is missing in the database. The tests of a run do not
-- test what the database enforces. dbt makes constraints only together with their table.
-- depends_on: {{ ref('f_customer_retention') }}
with expected (schema_name, table_name, constraint_type, column_names, referred_table) as (

    values
    (null, null, null, null, null)
    {%- for constraint in contract_constraints() %},
    (
        '{{ constraint.schema }}', '{{ constraint.mart }}', '{{ constraint.type }}',
        '{{ constraint.columns | join(", ") }}', '{{ constraint.to_mart }}'
    )
    {%- endfor %}

),

columns as (

    select
        pg_class.oid as table_id,
        nspname as schema_name,
        relname as table_name,
        attnum,
        attname,
        attnotnull
    from pg_attribute
    inner join pg_class on pg_class.oid = attrelid
    inner join pg_namespace on pg_namespace.oid = relnamespace
    where attnum > 0 and not attisdropped

),

present as (

    select
        schema_name,
        table_name,
        'not_null' as constraint_type,
        cast(attname as text) as column_names,
        '' as referred_table
    from columns
    where attnotnull
    union all
    select
        schema_name,
        table_name,
        case contype when 'f' then 'foreign_key' else 'primary_key' end as constraint_type,
        string_agg(attname, ', ' order by place) as column_names,
        coalesce(cast(referred.relname as text), '') as referred_table
    from pg_constraint
    cross join unnest(conkey) with ordinality as key_columns (attnum, place)
    inner join columns
        on pg_constraint.conrelid = columns.table_id and key_columns.attnum = columns.attnum
    left join pg_class as referred on pg_constraint.confrelid = referred.oid
    -- In a warehouse that was taken over the old key is the primary one, and ours is unique.
    where contype in ('p', 'u', 'f') and convalidated
    group by pg_constraint.oid, schema_name, table_name, contype, referred.relname

)

select * from expected
-- A mart that was never built has no constraints yet.
where (schema_name, table_name) in (select columns.schema_name, columns.table_name from columns)
except
select * from present

-- dbt makes indexes together with a table, and this one is younger. In place of the one on
-- customer_id alone: with both, the planner takes that one and reads the lines of each customer. The
-- tables of an old warehouse keep the indexes that they have: its column id tells them.

do $$
declare
    sales constant regclass := to_regclass('mart.f_sales');
    alone regclass;
begin
    if not exists (
        select from pg_class where oid = sales and relkind = 'r'
    ) or exists (
        select from pg_attribute where attrelid = sales and attname = 'id' and not attisdropped
    ) or not exists (
        select from pg_attribute where attrelid = sales and attname = 'refund_flag'
    ) then
        return;
    end if;
    if not exists (
        select from pg_index
        where indrelid = sales
            and pg_get_indexdef(indexrelid) like '%USING btree (customer_id, date_id, refund_flag)'
    ) then
        create index on mart.f_sales (customer_id, date_id, refund_flag);
    end if;
    for alone in
        select indexrelid from pg_index inner join pg_class on pg_class.oid = indexrelid
        where indrelid = sales and not indisunique
            and pg_get_indexdef(indexrelid) like '%USING btree (customer_id)'
            -- As dbt names them; the user's own stay.
            and relname ~ '^[0-9a-f]{32}$'
    loop
        execute format('drop index %s', alone);
    end loop;
end
$$;

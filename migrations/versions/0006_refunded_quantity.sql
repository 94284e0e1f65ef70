-- Where dbt has made the table already: twelve order lines may refund more pieces than numeric(20, 0)
-- holds. The table elsewhere is dbt's to make, and a column of another type not ours. No row is written.

do $$
begin
    if exists (
        select from pg_attribute
        inner join pg_class on pg_class.oid = attrelid
        where attrelid = to_regclass('mart.f_customer_retention') and relkind = 'r'
            and attname = 'refunded_quantity'
            and format_type(atttypid, atttypmod) = 'numeric(20,0)'
    ) then
        alter table mart.f_customer_retention alter column refunded_quantity type numeric(38, 0);
    end if;
exception when feature_not_supported then
    -- A view shows the column. It works on as before, with the smaller room.
    raise warning 'mart.f_customer_retention.refunded_quantity stays numeric(20, 0): %', sqlerrm;
end
$$;

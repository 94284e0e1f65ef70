-- Back to the old shape, as long as nothing was loaded since the takeover:
--     psql -v ON_ERROR_STOP=1 -f migrations/takeover/back.sql
-- Keeps every row of old. Room for longer names, cities added to mart.d_city, and the tables of the
-- ledger and of mart.f_customer_retention, now empty, stay: the old pipeline does not notice them,
-- and the next takeover fills them anew.

set client_min_messages = warning;
set lock_timeout = '10min';

create procedure pg_temp.refuse_if_loaded() language plpgsql as $$
begin
    if to_regclass('staging.delivery') is not null then
        if exists (
            select from staging.delivery
            where report_id != 'old warehouse' and outcome = 'accepted'
        ) then
            raise exception 'something was loaded since the takeover: the old shape cannot hold it';
        end if;
    end if;
end
$$;

call pg_temp.refuse_if_loaded();

-- Readers pass while the old key is built anew.
drop index concurrently if exists staging.user_order_log_old_key;
create unique index concurrently user_order_log_old_key on staging.user_order_log (uniq_id);

-- From here on one transaction, which reads no rows. If somebody is reading, it ends and may be
-- started again: waiting longer would make other readers wait behind it. Read committed: what was
-- loaded while it waited for a lock is to be seen.
begin isolation level read committed;
set local lock_timeout = '2s';
select pg_advisory_xact_lock(hashtext('staging.user_order_log'));
select pg_advisory_xact_lock(hashtext('mart.f_sales'));
-- Once more: building the index took its time. Under the locks no load comes between.
call pg_temp.refuse_if_loaded();

do $$
begin
    if to_regclass('staging.delivery') is not null then
        delete from staging.delivery_day;
        delete from staging.delivery where report_id = 'old warehouse';
    end if;
    if to_regclass('mart.f_customer_retention') is not null then
        truncate mart.f_customer_retention;
    end if;
    if not exists (
        select from pg_constraint
        where conrelid = 'staging.user_order_log'::regclass and contype = 'p'
    ) then
        alter table staging.user_order_log
        add constraint user_order_log_pk primary key using index user_order_log_old_key;
    else
        drop index staging.user_order_log_old_key;
    end if;
end
$$;

alter table staging.user_order_log
alter column quantity drop not null,
alter column payment_amount drop not null,
drop constraint if exists quantity_is_known,
drop constraint if exists payment_amount_is_known,
drop constraint if exists user_order_log_quantity_check,
drop constraint if exists user_order_log_payment_amount_check,
drop constraint if exists user_order_log_date_time_check,
drop column if exists status;
drop index if exists staging.user_order_log_day_uniq_id;

alter table mart.d_city
alter column city_id drop not null,
drop constraint if exists city_id_is_known;

alter table mart.f_sales
alter column quantity drop not null,
alter column payment_amount drop not null,
drop constraint if exists quantity_is_known,
drop constraint if exists payment_amount_is_known,
drop constraint if exists f_sales_city_id_fkey,
drop column if exists uniq_id,
drop column if exists refund_flag;
commit;

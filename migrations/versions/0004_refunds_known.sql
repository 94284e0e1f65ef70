-- Histories and the first increment of a report have no status: that none of their lines is a refund
-- is then no fact.

alter table staging.delivery add column refunds_known boolean not null default false;

update staging.delivery set refunds_known = case
    when header is not null
        -- A column of this name, in quotes or blanks or without.
        then header ~ '(^|,)\s*"?\s*status\s*"?\s*(,|$)'
    else exists (
        select from staging.delivery_day
        inner join staging.user_order_log on cast(date_time as date) = day
        where delivery_day.delivery_id = delivery.delivery_id and status = 'refunded'
    )
end;

alter table staging.delivery alter column refunds_known drop default;

comment on column staging.delivery.refunds_known is
'Whether the file told refunds, by a column status. Where not, how many there are is unknown, not 0.';

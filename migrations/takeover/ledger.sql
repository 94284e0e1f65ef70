-- Enters what stands in staging, as one delivery of its own name. It ranks as a history load: it
-- has no statuses, so an increment knows more and a newer history load no less. Both may replace it.
with days as (

    select
        cast(date_time as date) as day,
        count(*) as row_count,
        sum(quantity) as quantity,
        sum(payment_amount) as payment_amount
    from staging.user_order_log
    where not exists (
        select from staging.delivery_day where delivery_day.day = cast(date_time as date)
    )
    group by 1

),

entered as (

    insert into staging.delivery (
        kind, outcome, report_id, source_file, sha256, first_day, last_day,
        received, loaded, repeated, rejected, superseded, quantity, payment_amount, started_at
    )
    select
        'history', 'accepted', %(report_id)s, 'staging.user_order_log',
        -- There is no file to take it of.
        repeat('0', 64), min(day), max(day),
        sum(row_count), sum(row_count), 0, 0, 0, sum(quantity), sum(payment_amount),
        -- Nobody knows; before any load that could take itself for the older one.
        'epoch'
    from days
    having count(*) > 0
    returning delivery_id

)

insert into staging.delivery_day (day, delivery_id)
select day, delivery_id from days cross join entered

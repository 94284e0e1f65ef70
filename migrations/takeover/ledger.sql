-- Enters the days of staging. An increment has delivered a day with a refund, and only another
-- increment may replace it: a history would not know the refund. All other days are one delivery of
-- kind history: an increment knows more than they do, and a newer history as much.
with days as (

    select
        cast(date_time as date) as day,
        bool_or(status = 'refunded') as has_refunds,
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
        kind, outcome, report_id, increment_id, source_file, sha256, first_day, last_day,
        received, loaded, repeated, rejected, superseded, quantity, payment_amount, refunds_known,
        started_at
    )
    select
        case when has_refunds then 'increment' else 'history' end,
        'accepted', %(report_id)s, case when has_refunds then %(report_id)s end,
        'staging.user_order_log',
        -- There is no file to compute it from.
        repeat('0', 64), min(day), max(day),
        sum(row_count), sum(row_count), 0, 0, 0, sum(quantity), sum(payment_amount),
        has_refunds,
        -- Unknown. Earlier than every load, so that every load counts as newer.
        'epoch'
    from days
    group by has_refunds, case when has_refunds then day end
    returning delivery_id, kind, first_day

)

insert into staging.delivery_day (day, delivery_id)
select day, delivery_id
from days
inner join entered
    on (kind = 'increment') = has_refunds and (kind = 'history' or day = first_day)

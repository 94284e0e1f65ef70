-- Gives the sales of some days their order key: the n-th of equal sales gets the key of the n-th of
-- equal order lines of the day. A sale without such a line, for instance in the second copy of a
-- day that was built twice, gets a key with its own id.
with sold as (

    select
        id,
        date_id,
        item_id,
        customer_id,
        city_id,
        quantity,
        payment_amount,
        row_number() over (
            partition by date_id, item_id, customer_id, city_id, quantity, payment_amount
            order by id
        ) as copy
    from mart.f_sales
    where uniq_id is null
        and date_id between cast(to_char(%(first)s::date, 'YYYYMMDD') as integer)
        and cast(to_char(%(last)s::date, 'YYYYMMDD') as integer)

),

-- A refund is negative only in the mart.
signed as (

    select
        cast(to_char(date_time, 'YYYYMMDD') as integer) as date_id,
        item_id,
        customer_id,
        city_id,
        case when {refunded} then -quantity else quantity end as quantity,
        case when {refunded} then -payment_amount else payment_amount end as payment_amount,
        uniq_id
    from staging.user_order_log as orders
    where cast(date_time as date) between %(first)s and %(last)s
        -- A killed run leaves whole days, but the old pipeline may have added sales to a day since.
        and not exists (
            select from mart.f_sales as keyed
            where keyed.date_id = cast(to_char(orders.date_time, 'YYYYMMDD') as integer)
                and keyed.uniq_id = orders.uniq_id
                -- Repeated for the planner, because only the days have an index.
                and keyed.date_id between cast(to_char(%(first)s::date, 'YYYYMMDD') as integer)
                and cast(to_char(%(last)s::date, 'YYYYMMDD') as integer)
        )

),

ordered as (

    select
        *,
        row_number() over (
            partition by date_id, item_id, customer_id, city_id, quantity, payment_amount
            order by uniq_id
        ) as copy
    from signed

)

update mart.f_sales as sales
set uniq_id = coalesce(ordered.uniq_id, %(no_order_line)s || sold.id)
from sold
left join ordered
    using (date_id, item_id, customer_id, city_id, quantity, payment_amount, copy)
where sales.id = sold.id

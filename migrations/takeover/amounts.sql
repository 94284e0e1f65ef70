-- Weeks and items whose sums are too large for the retention mart, with first day and column.
with lines as (

    select
        left(week_of_year_iso, 8) as period_id,
        date_actual,
        item_id,
        customer_id,
        cast(quantity as numeric) as quantity,
        payment_amount,
        {refund} as is_refund
    from mart.f_sales
    inner join mart.d_calendar using (date_id)

),

-- If the whole sum fits, so does every part of it.
large as (

    select period_id, item_id
    from lines
    group by period_id, item_id
    having sum(abs(payment_amount)) >= %(amount)s or sum(abs(quantity)) >= %(quantity)s

),

customers as (

    select
        period_id,
        item_id,
        count(*) filter (where not is_refund) as order_count,
        sum(payment_amount) filter (where not is_refund) as revenue,
        -sum(payment_amount) filter (where is_refund) as refunded_amount,
        -sum(quantity) filter (where is_refund) as refunded_quantity
    from lines
    inner join large using (period_id, item_id)
    group by period_id, item_id, customer_id

),

items as (

    select
        period_id,
        item_id,
        sum(revenue) filter (where order_count = 1) as new_customers_revenue,
        sum(revenue) filter (where order_count > 1) as returning_customers_revenue,
        sum(refunded_amount) as refunded_amount,
        sum(refunded_quantity) as refunded_quantity
    from customers
    group by period_id, item_id

)

select period_id, item_id, name, amount
from items
cross join lateral (
    values
    ('new_customers_revenue', new_customers_revenue),
    ('returning_customers_revenue', returning_customers_revenue),
    ('refunded_amount', refunded_amount),
    ('refunded_quantity', refunded_quantity)
) as sums (name, amount)
where amount >= cast(cast(%(room)s as jsonb) ->> name as numeric)
order by period_id, item_id, name

-- Days whose sales differ from the order lines of staging, compared row by row.
with lines as (

    select date_id, item_id, customer_id, city_id, quantity, payment_amount, 1 as sold, 0 as staged
    from mart.f_sales
    union all
    select
        cast(to_char(date_time, 'YYYYMMDD') as integer),
        item_id,
        customer_id,
        city_id,
        case when {refunded} then -quantity else quantity end,
        case when {refunded} then -payment_amount else payment_amount end,
        0,
        1
    from staging.user_order_log

),

equal_lines as (

    select date_id, sum(sold) as sold, sum(staged) as staged
    from lines
    group by date_id, item_id, customer_id, city_id, quantity, payment_amount

)

select
    to_date(cast(date_id as text), 'YYYYMMDD') as day,
    sum(sold) as sold,
    sum(staged) as staged,
    sum(greatest(sold - staged, 0)) as only_sold,
    sum(greatest(staged - sold, 0)) as only_staged
from equal_lines
group by date_id
having sum(abs(sold - staged)) > 0
order by date_id

-- Fails if f_customer_retention and f_sales have different totals for a period of an item. While
-- another run works on a day of the period, the two may differ for a moment. So this test has to
-- run while no run is under way.
{{ config(tags=['at_rest']) }}

with sold as (

    select
        period_name,
        period_id,
        item_id,
        sum(payment_amount) as payment_amount,
        sum(case when refund_flag then 1 else 0 end) as refund_count
    from {{ ref('f_sales') }}
    inner join ({{ calendar_periods() }}) as periods using (date_id)
    group by period_name, period_id, item_id

),

retained as (

    select
        period_name,
        period_id,
        item_id,
        new_customers_revenue + returning_customers_revenue - refunded_amount as payment_amount,
        customers_refunded as refund_count
    from {{ ref('f_customer_retention') }}
    where {{ in_window('period_id') }}

)

select
    period_name,
    period_id,
    item_id,
    sold.payment_amount as sold_payment_amount,
    retained.payment_amount as retained_payment_amount,
    sold.refund_count as sold_refund_count,
    retained.refund_count as retained_refund_count
from sold
full join retained using (period_name, period_id, item_id)
where (sold.payment_amount, sold.refund_count)
    is distinct from (retained.payment_amount, retained.refund_count)

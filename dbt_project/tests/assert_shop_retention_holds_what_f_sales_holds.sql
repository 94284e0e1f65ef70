-- Fails if f_shop_retention and f_sales have different totals for a period.
{{ config(tags=['at_rest']) }}

with sold as (

    select
        period_name,
        period_id,
        sum(payment_amount) as payment_amount,
        count(*) as line_count
    from {{ ref('f_sales') }}
    inner join ({{ calendar_periods() }}) as periods using (date_id)
    where {{ in_window('period_id') }}
    group by period_name, period_id

),

retained as (

    select
        period_name,
        period_id,
        revenue - refunded_amount as payment_amount,
        orders_count + refunds_count as line_count
    from {{ ref('f_shop_retention') }}
    where {{ in_window('period_id') }}

)

select
    period_name,
    period_id,
    sold.payment_amount as sold_payment_amount,
    retained.payment_amount as retained_payment_amount,
    sold.line_count as sold_line_count,
    retained.line_count as retained_line_count
from sold
full join retained using (period_name, period_id)
where (sold.payment_amount, sold.line_count)
    is distinct from (retained.payment_amount, retained.line_count)

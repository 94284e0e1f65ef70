-- Fails if f_sales and staging have different totals for a day of the window.
with staged as (

    select
        cast(to_char(order_date, 'YYYYMMDD') as integer) as date_id,
        count(*) as row_count,
        sum(case when is_refund then -quantity else quantity end) as quantity,
        sum(case when is_refund then -payment_amount else payment_amount end) as payment_amount
    from {{ ref('stg_user_order_log') }}
    where {{ in_window('order_date') }}
    group by order_date

),

sold as (

    select
        date_id,
        count(*) as row_count,
        sum(quantity) as quantity,
        sum(payment_amount) as payment_amount
    from {{ ref('f_sales') }}
    where {{ in_window('date_id') }} and {{ sales_of_staging() }}
    group by date_id

)

select
    date_id,
    staged.row_count as staged_row_count,
    sold.row_count as sold_row_count,
    staged.quantity as staged_quantity,
    sold.quantity as sold_quantity,
    staged.payment_amount as staged_payment_amount,
    sold.payment_amount as sold_payment_amount
from staged
full join sold using (date_id)
where (staged.row_count, staged.quantity, staged.payment_amount)
    is distinct from (sold.row_count, sold.quantity, sold.payment_amount)

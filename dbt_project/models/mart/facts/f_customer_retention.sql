{{ config(
    unique_key='period_id',
    pre_hook="{{ keep_published() }}",
    post_hook="{{ log_restatements() }}",
) }}

with sales as (

    select * from {{ ref('f_sales') }}

),

periods as (

    {{ calendar_periods() }}

),

-- One row per period, item and customer.
customers as (

    select
        period_name,
        period_id,
        item_id,
        customer_id,
        count(*) filter (where not refund_flag) as order_count,
        count(*) filter (where refund_flag) as refund_count,
        coalesce(sum(payment_amount) filter (where not refund_flag), 0) as order_revenue,
        coalesce(-sum(quantity) filter (where refund_flag), 0) as refunded_quantity,
        coalesce(-sum(payment_amount) filter (where refund_flag), 0) as refunded_amount
    from sales
    inner join periods using (date_id)
    group by period_name, period_id, item_id, customer_id

),

final as (

    select
        count(*) filter (where order_count = 1) as new_customers_count,
        count(*) filter (where order_count > 1) as returning_customers_count,
        count(*) filter (where refund_count > 0) as refunded_customer_count,
        period_name,
        period_id,
        item_id,
        cast(
            coalesce(sum(order_revenue) filter (where order_count = 1), 0) as numeric(12, 2)
        ) as new_customers_revenue,
        cast(
            coalesce(sum(order_revenue) filter (where order_count > 1), 0) as numeric(12, 2)
        ) as returning_customers_revenue,
        cast(sum(refund_count) as numeric(12, 0)) as customers_refunded,
        cast(sum(refunded_quantity) as numeric(38, 0)) as refunded_quantity,
        cast(sum(refunded_amount) as numeric(12, 2)) as refunded_amount
    from customers
    group by period_name, period_id, item_id

)

select * from final

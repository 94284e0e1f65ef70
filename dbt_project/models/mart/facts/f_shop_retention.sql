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

-- One row per period and customer, whatever the items: customers of items cannot be added up.
customers as (

    select
        period_name,
        period_id,
        customer_id,
        sum(case when refund_flag then 0 else 1 end) as order_count,
        sum(case when refund_flag then 1 else 0 end) as refund_count,
        sum(case when refund_flag then 0 else payment_amount end) as revenue,
        sum(case when refund_flag then -payment_amount else 0 end) as refunded_amount
    from sales
    inner join periods using (date_id)
    group by period_name, period_id, customer_id

),

final as (

    select
        period_name,
        period_id,
        sum(case when order_count > 0 then 1 else 0 end) as customers_count,
        sum(case when order_count > 1 then 1 else 0 end) as repeat_customers_count,
        sum(case when refund_count > 0 then 1 else 0 end) as refunded_customers_count,
        cast(sum(order_count) as bigint) as orders_count,
        cast(sum(refund_count) as bigint) as refunds_count,
        cast(sum(revenue) as numeric(38, 2)) as revenue,
        cast(sum(refunded_amount) as numeric(38, 2)) as refunded_amount
    from customers
    group by period_name, period_id

)

select * from final

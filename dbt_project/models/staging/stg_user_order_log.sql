with orders as (

    select * from {{ source('staging', 'user_order_log') }}

),

final as (

    select
        uniq_id,
        date_time,
        cast(date_time as date) as order_date,
        customer_id,
        first_name,
        last_name,
        city_id,
        city_name,
        item_id,
        item_name,
        quantity,
        payment_amount,
        status = 'refunded' as is_refund
    from orders

)

select * from final

{{ config(incremental_strategy='merge', unique_key='customer_id') }}

-- Read whole, not by window: whose latest line it is depends on every day.
with orders as (

    select * from {{ ref('stg_user_order_log') }}

),

final as (

    select distinct on (customer_id)
        customer_id,
        first_name,
        last_name,
        city_id
    from orders
    order by customer_id, date_time desc, uniq_id collate "C" desc

)

select * from final

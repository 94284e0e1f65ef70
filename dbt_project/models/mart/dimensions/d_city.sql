{{ config(incremental_strategy='merge', unique_key='city_id') }}

-- Read whole, not by window: whose latest line it is depends on every day.
with orders as (

    select * from {{ ref('stg_user_order_log') }}

),

final as (

    select distinct on (city_id)
        city_id,
        city_name
    from orders
    order by city_id, date_time desc, uniq_id collate "C" desc

)

select * from final

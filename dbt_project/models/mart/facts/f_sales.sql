{{ config(
    unique_key='date_id',
    incremental_predicates=["{{ sales_of_staging() }}"],
) }}

with orders as (

    select * from {{ ref('stg_user_order_log') }} where {{ in_window('order_date') }}

),

final as (

    select
        cast(to_char(order_date, 'YYYYMMDD') as integer) as date_id,
        item_id,
        customer_id,
        city_id,
        case when is_refund then -quantity else quantity end as quantity,
        cast(
            case when is_refund then -payment_amount else payment_amount end as numeric(10, 2)
        ) as payment_amount,
        is_refund as refund_flag,
        uniq_id
    from orders

)

select * from final

{{ config(
    unique_key='date_id',
    pre_hook=[
        "{{ lock_mart(ref('d_item')) }}",
        "{{ lock_mart(ref('d_city')) }}",
        "{{ lock_mart(ref('d_customer')) }}",
    ],
    post_hook="{{ prune_dimensions() }}",
) }}
-- Built last: a day is here only if all other marts hold its figures.
-- depends_on: {{ ref('f_shop_retention') }} {{ ref('f_customer_cohort') }}

with days as (

    select
        day as order_date,
        delivery_id
    from {{ source('staging', 'delivery_day') }}

),

deliveries as (

    select * from {{ source('staging', 'delivery') }}

),

final as (

    select
        cast(to_char(order_date, 'YYYYMMDD') as integer) as date_id,
        kind,
        finished_at as loaded_at,
        refunds_known,
        delivery_id,
        received as received_count,
        loaded as loaded_count,
        repeated as repeated_count,
        rejected as rejected_count
    from days
    inner join deliveries using (delivery_id)
    where {{ in_window('order_date') }}

)

select * from final

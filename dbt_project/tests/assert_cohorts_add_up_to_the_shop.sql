-- Fails if the cohorts and f_shop_retention have different totals of customers, orders or money in
-- a period. Each customer is in one cohort. Customers of items cannot be added up and are not
-- compared.
-- depends_on: {{ ref('d_calendar') }}
{{ config(tags=['at_rest']) }}

with shop as (

    select period_name, period_id, customers_count, orders_count, revenue
    from {{ ref('f_shop_retention') }}
    where {{ in_window('period_id') }}

),

cohorts as (

    select
        period_name,
        period_id,
        sum(customers_count) as customers_count,
        sum(orders_count) as orders_count,
        sum(revenue) as revenue
    from {{ ref('f_customer_cohort') }}
    where {{ in_window('period_id') }}
    group by period_name, period_id

),

items as (

    select
        period_name,
        period_id,
        sum(orders_count) as orders_count,
        sum(revenue) as revenue
    from {{ ref('f_item_cohort') }}
    where {{ in_window('period_id') }}
    group by period_name, period_id

)

select
    period_name,
    period_id,
    shop.customers_count as shop_customers_count,
    cohorts.customers_count as cohorts_customers_count,
    shop.orders_count as shop_orders_count,
    cohorts.orders_count as cohorts_orders_count,
    items.orders_count as items_orders_count,
    shop.revenue as shop_revenue,
    cohorts.revenue as cohorts_revenue,
    items.revenue as items_revenue
from shop
full join cohorts using (period_name, period_id)
full join items using (period_name, period_id)
-- A period with refunds only has a row in f_shop_retention and no cohort.
where (coalesce(shop.customers_count, 0), coalesce(shop.orders_count, 0), coalesce(shop.revenue, 0))
    != (
        coalesce(cohorts.customers_count, 0),
        coalesce(cohorts.orders_count, 0),
        coalesce(cohorts.revenue, 0)
    )
    or (coalesce(shop.orders_count, 0), coalesce(shop.revenue, 0))
    != (coalesce(items.orders_count, 0), coalesce(items.revenue, 0))

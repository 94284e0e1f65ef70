{% macro cohorts(item_id=none) %}
    {#-
    With 'item_id' customers count per item: a customer is new to each item at the first order.
    -#}
    {%- set by_item = item_id ~ ',' if item_id else '' -%}
    {%- set customer = 'period_name, ' ~ by_item ~ ' customer_id' -%}
with sales as (

    select * from {{ ref('f_sales') }}
    where not refund_flag
    {%- if run_window() is not none %}
        {#- A number, because the planner cannot tell from the calendar how few days these are. #}
        and date_id >= {{ first_date_id_of_periods() }}
    {%- endif %}

),

-- All periods up to the last, not only those of the window: a restated past day may move a
-- customer's first period, and so change all later ones.
periods as (

    {{ calendar_periods('from window') }}

),

-- One row per period and customer with an order in it.
active as (

    select
        {{ customer }},
        period_id,
        count(*) as order_count,
        sum(payment_amount) as revenue
    from sales
    inner join periods using (date_id)
    group by {{ customer }}, period_id

),

    {%- if run_window() is none %}

numbered as (

    select
        *,
        min(period_id) over (partition by {{ customer }}) as first_period_id,
        row_number() over (partition by {{ customer }} order by period_id) as period_number
    from active

),

    {%- else %}

starts as (

    select period_name, min(date_id) as start_id
    from periods
    group by period_name

),

customers as (

    select distinct period_name, customer_id from active

),

-- Their earlier orders, looked up customer by customer in the mart. A join, or a CTE for the sales,
-- would read all sales.
earlier_days as (

    select
        {{ customer }},
        first_date_id,
        last_date_id
    from customers
    inner join starts using (period_name)
    cross join lateral (
        select
            {{ by_item }}
            min(date_id) as first_date_id,
            max(date_id) as last_date_id
        from {{ ref('f_sales') }} as sold
        where sold.customer_id = customers.customer_id and not refund_flag and date_id < start_id
        {{ 'group by item_id' if item_id }}
    ) as earlier

),

earlier as (

    select
        earlier_days.{{ customer }},
        first_periods.period_id as first_period_id,
        case when first_periods.period_id = last_periods.period_id then 1 else 2 end as least_count
    from earlier_days
    inner join ({{ calendar_periods('all') }}) as first_periods
        on first_periods.date_id = first_date_id
        and first_periods.period_name = earlier_days.period_name
    inner join ({{ calendar_periods('all') }}) as last_periods
        on last_periods.date_id = last_date_id
        and last_periods.period_name = earlier_days.period_name

),

numbered as (

    select
        active.*,
        coalesce(
            earlier.first_period_id,
            min(active.period_id) over (partition by {{ customer }})
        ) as first_period_id,
        row_number() over (partition by {{ customer }} order by active.period_id)
        + coalesce(least_count, 0) as period_number
    from active
    left join earlier using ({{ customer }})

),

    {%- endif %}

final as (

    select
        period_name,
        first_period_id,
        period_id,
        {{ by_item }}
        count(*) as customers_count,
        sum(case when period_number = 2 then 1 else 0 end) as first_returns_count,
        cast(sum(order_count) as bigint) as orders_count,
        cast(sum(revenue) as numeric(38, 2)) as revenue
    from numbered
    group by period_name, first_period_id, period_id {{ ', item_id' if item_id }}

)

select * from final
{% endmacro %}

-- Builds the marts of the days :first to :last by hand, to compare with dbt. It follows the same
-- rules (docs/data_model.md) and keeps the same promise, for staging as it is.

set local work_mem = '256MB';

-- The ids that may change: those that lines of the window mention or mentioned.
create temporary table touched on commit drop as
select distinct item_id, city_id, customer_id
from staging.user_order_log
where cast(date_time as date) between :'first' and :'last'
union
select distinct item_id, city_id, customer_id
from hand.f_sales
where date_id between
    cast(to_char(date :'first', 'YYYYMMDD') as integer)
    and cast(to_char(date :'last', 'YYYYMMDD') as integer);

create temporary table touched_items on commit drop as select distinct item_id from touched;
create temporary table touched_cities on commit drop as select distinct city_id from touched;
create temporary table touched_customers on commit drop as select distinct customer_id from touched;
analyze touched_items, touched_cities, touched_customers;

-- The latest line of an id is on a day of the window or later, or is looked up by the id.
insert into hand.d_item
with recent as (
    select distinct on (item_id) item_id, item_name
    from staging.user_order_log
    inner join (
        select item_id, max(date_time) as date_time
        from staging.user_order_log
        where cast(date_time as date) >= :'first'
        group by item_id
    ) as latest using (item_id, date_time)
    where cast(date_time as date) >= :'first'
    order by item_id, uniq_id desc
)
select item_id, recent.item_name
from touched_items
inner join recent using (item_id)
union all
select touched_items.item_id, older.item_name
from touched_items
cross join lateral (
    select item_name
    from staging.user_order_log as orders
    where orders.item_id = touched_items.item_id
    order by date_time desc, uniq_id desc
    limit 1
) as older
where not exists (select from recent where recent.item_id = touched_items.item_id)
on conflict (item_id) do update
set item_name = excluded.item_name
where d_item.item_name is distinct from excluded.item_name;

insert into hand.d_city
with recent as (
    select distinct on (city_id) city_id, city_name
    from staging.user_order_log
    inner join (
        select city_id, max(date_time) as date_time
        from staging.user_order_log
        where cast(date_time as date) >= :'first'
        group by city_id
    ) as latest using (city_id, date_time)
    where cast(date_time as date) >= :'first'
    order by city_id, uniq_id desc
)
select city_id, recent.city_name
from touched_cities
inner join recent using (city_id)
union all
select touched_cities.city_id, older.city_name
from touched_cities
cross join lateral (
    select city_name
    from staging.user_order_log as orders
    where orders.city_id = touched_cities.city_id
    order by date_time desc, uniq_id desc
    limit 1
) as older
where not exists (select from recent where recent.city_id = touched_cities.city_id)
on conflict (city_id) do update
set city_name = excluded.city_name
where d_city.city_name is distinct from excluded.city_name;

insert into hand.d_customer
with recent as (
    select distinct on (customer_id) customer_id, first_name, last_name, city_id
    from staging.user_order_log
    inner join (
        select customer_id, max(date_time) as date_time
        from staging.user_order_log
        where cast(date_time as date) >= :'first'
        group by customer_id
    ) as latest using (customer_id, date_time)
    where cast(date_time as date) >= :'first'
    order by customer_id, uniq_id desc
)
select customer_id, recent.first_name, recent.last_name, recent.city_id
from touched_customers
inner join recent using (customer_id)
union all
select touched_customers.customer_id, older.first_name, older.last_name, older.city_id
from touched_customers
cross join lateral (
    select first_name, last_name, city_id
    from staging.user_order_log as orders
    where orders.customer_id = touched_customers.customer_id
    order by date_time desc, uniq_id desc
    limit 1
) as older
where not exists (select from recent where recent.customer_id = touched_customers.customer_id)
on conflict (customer_id) do update
set first_name = excluded.first_name, last_name = excluded.last_name, city_id = excluded.city_id
where (d_customer.first_name, d_customer.last_name, d_customer.city_id)
    is distinct from (excluded.first_name, excluded.last_name, excluded.city_id);

delete from hand.f_sales
where date_id between
    cast(to_char(date :'first', 'YYYYMMDD') as integer)
    and cast(to_char(date :'last', 'YYYYMMDD') as integer);

insert into hand.f_sales (
    date_id, item_id, customer_id, city_id, quantity, payment_amount, refund_flag, uniq_id
)
select
    cast(to_char(date_time, 'YYYYMMDD') as integer),
    item_id,
    customer_id,
    city_id,
    case when status = 'refunded' then -quantity else quantity end,
    case when status = 'refunded' then -payment_amount else payment_amount end,
    status = 'refunded',
    uniq_id
from staging.user_order_log
where cast(date_time as date) between :'first' and :'last';

create temporary table touched_days on commit drop as
select date_id, left(week_of_year_iso, 8) as period_id
from mart.d_calendar
where left(week_of_year_iso, 8) in (
    select left(week_of_year_iso, 8) from mart.d_calendar
    where date_actual between :'first' and :'last'
);
analyze touched_days;

delete from hand.f_customer_retention
where period_id in (select period_id from touched_days);

insert into hand.f_customer_retention (
    new_customers_count, returning_customers_count, refunded_customer_count, period_name,
    period_id, item_id, new_customers_revenue, returning_customers_revenue, customers_refunded,
    refunded_quantity, refunded_amount
)
select
    count(*) filter (where order_count = 1),
    count(*) filter (where order_count > 1),
    count(*) filter (where refund_count > 0),
    'weekly',
    period_id,
    item_id,
    coalesce(sum(order_revenue) filter (where order_count = 1), 0),
    coalesce(sum(order_revenue) filter (where order_count > 1), 0),
    sum(refund_count),
    coalesce(-sum(refunded_quantity), 0),
    coalesce(-sum(refunded_amount), 0)
from (
    select
        period_id,
        item_id,
        customer_id,
        count(*) filter (where not refund_flag) as order_count,
        count(*) filter (where refund_flag) as refund_count,
        sum(payment_amount) filter (where not refund_flag) as order_revenue,
        sum(quantity) filter (where refund_flag) as refunded_quantity,
        sum(payment_amount) filter (where refund_flag) as refunded_amount
    from hand.f_sales
    inner join touched_days using (date_id)
    group by period_id, item_id, customer_id
) as customers
group by period_id, item_id;

delete from hand.f_shop_retention
where period_id in (select period_id from touched_days);

insert into hand.f_shop_retention (
    period_name, period_id, customers_count, repeat_customers_count, refunded_customers_count,
    orders_count, refunds_count, revenue, refunded_amount
)
select
    'weekly',
    period_id,
    count(*) filter (where order_count > 0),
    count(*) filter (where order_count > 1),
    count(*) filter (where refund_count > 0),
    sum(order_count),
    sum(refund_count),
    coalesce(sum(order_revenue), 0),
    coalesce(-sum(refunded_amount), 0)
from (
    select
        period_id,
        customer_id,
        count(*) filter (where not refund_flag) as order_count,
        count(*) filter (where refund_flag) as refund_count,
        sum(payment_amount) filter (where not refund_flag) as order_revenue,
        sum(payment_amount) filter (where refund_flag) as refunded_amount
    from hand.f_sales
    inner join touched_days using (date_id)
    group by period_id, customer_id
) as customers
group by period_id;

-- A customer's first week may move, and change all later weeks.
create temporary table later_days on commit drop as
select date_id, left(week_of_year_iso, 8) as period_id
from mart.d_calendar
where date_id >= (select min(date_id) from touched_days);
analyze later_days;

create temporary table active on commit drop as
select
    customer_id, item_id, period_id, count(*) as order_count, sum(payment_amount) as revenue
from hand.f_sales
inner join later_days using (date_id)
where not refund_flag
group by customer_id, item_id, period_id;
create temporary table active_customers on commit drop as select distinct customer_id from active;
analyze active, active_customers;

-- The earlier orders of these customers by item; both cohort marts use the result.
create temporary table earlier on commit drop as
select
    customer_id,
    item_id,
    left(first_days.week_of_year_iso, 8) as first_period_id,
    left(last_days.week_of_year_iso, 8) as last_period_id
from (
    select customer_id, item_id, min(date_id) as first_date_id, max(date_id) as last_date_id
    from active_customers
    cross join lateral (
        select item_id, date_id
        from hand.f_sales as sales
        where sales.customer_id = active_customers.customer_id
            and date_id < (select min(date_id) from later_days)
            and not refund_flag
    ) as sales
    group by customer_id, item_id
) as ordered
inner join mart.d_calendar as first_days on first_days.date_id = first_date_id
inner join mart.d_calendar as last_days on last_days.date_id = last_date_id;
analyze earlier;

delete from hand.f_customer_cohort
where period_id in (select period_id from later_days);

insert into hand.f_customer_cohort (
    period_name, first_period_id, period_id, customers_count, first_returns_count, orders_count,
    revenue
)
select
    'weekly',
    first_period_id,
    period_id,
    count(*),
    count(*) filter (where period_number = 2),
    sum(order_count),
    sum(revenue)
from (
    select
        period_id,
        order_count,
        revenue,
        coalesce(
            first_period_id, min(period_id) over (partition by customer_id)
        ) as first_period_id,
        row_number() over (partition by customer_id order by period_id)
        + coalesce(least_count, 0) as period_number
    from (
        select customer_id, period_id, sum(order_count) as order_count, sum(revenue) as revenue
        from active
        group by customer_id, period_id
    ) as active
    left join (
        select
            customer_id,
            min(first_period_id) as first_period_id,
            case when min(first_period_id) = max(last_period_id) then 1 else 2 end as least_count
        from earlier
        group by customer_id
    ) as earlier using (customer_id)
) as numbered
group by first_period_id, period_id;

delete from hand.f_item_cohort
where period_id in (select period_id from later_days);

insert into hand.f_item_cohort (
    period_name, first_period_id, period_id, item_id, customers_count, first_returns_count,
    orders_count, revenue
)
select
    'weekly',
    first_period_id,
    period_id,
    item_id,
    count(*),
    count(*) filter (where period_number = 2),
    sum(order_count),
    sum(revenue)
from (
    select
        period_id,
        item_id,
        order_count,
        revenue,
        coalesce(
            first_period_id, min(period_id) over (partition by customer_id, item_id)
        ) as first_period_id,
        row_number() over (partition by customer_id, item_id order by period_id)
        + case
            when first_period_id is null then 0
            when first_period_id = last_period_id then 1
            else 2
        end as period_number
    from active
    left join earlier using (customer_id, item_id)
) as numbered
group by first_period_id, period_id, item_id;

delete from hand.f_delivery_day
where date_id between
    cast(to_char(date :'first', 'YYYYMMDD') as integer)
    and cast(to_char(date :'last', 'YYYYMMDD') as integer);

insert into hand.f_delivery_day (
    date_id, kind, loaded_at, refunds_known, delivery_id, received_count, loaded_count,
    repeated_count, rejected_count
)
select
    cast(to_char(day, 'YYYYMMDD') as integer),
    kind,
    finished_at,
    refunds_known,
    delivery_id,
    received,
    loaded,
    repeated,
    rejected
from staging.delivery_day
inner join staging.delivery using (delivery_id)
where day between :'first' and :'last';

delete from hand.d_item
using touched_items
where d_item.item_id = touched_items.item_id
    and not exists (select from staging.user_order_log as o where o.item_id = d_item.item_id)
    and not exists (select from hand.f_sales as s where s.item_id = d_item.item_id)
    and not exists (select from hand.f_customer_retention as r where r.item_id = d_item.item_id)
    and not exists (select from hand.f_item_cohort as c where c.item_id = d_item.item_id);
delete from hand.d_city
using touched_cities
where d_city.city_id = touched_cities.city_id
    and not exists (select from staging.user_order_log as o where o.city_id = d_city.city_id)
    and not exists (select from hand.f_sales as s where s.city_id = d_city.city_id);
delete from hand.d_customer
using touched_customers
where d_customer.customer_id = touched_customers.customer_id
    and not exists (select from staging.user_order_log as o where o.customer_id = d_customer.customer_id)
    and not exists (select from hand.f_sales as s where s.customer_id = d_customer.customer_id);

-- A check that an author of this SQL would make: the totals of the days equal those of staging.
select 1 / cast(staged.totals = sold.totals as integer) as equal
from (
    select row(
        count(*),
        sum(case when status = 'refunded' then -quantity else quantity end),
        sum(case when status = 'refunded' then -payment_amount else payment_amount end)
    ) as totals
    from staging.user_order_log
    where cast(date_time as date) between :'first' and :'last'
) as staged,
(
    select row(count(*), sum(quantity), sum(payment_amount)) as totals
    from hand.f_sales
    where date_id between
        cast(to_char(date :'first', 'YYYYMMDD') as integer)
        and cast(to_char(date :'last', 'YYYYMMDD') as integer)
) as sold;

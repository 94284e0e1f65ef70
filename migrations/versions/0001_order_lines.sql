-- The order lines. A warehouse that was taken over has them already: takeover/ brings them to this.

create table staging.user_order_log (
    uniq_id varchar(32) not null,
    date_time timestamp not null,
    city_id integer not null,
    city_name varchar(100),
    customer_id integer not null,
    first_name varchar(100),
    last_name varchar(100),
    item_id integer not null,
    item_name varchar(100),
    quantity bigint not null check (quantity >= 1),
    payment_amount numeric(10, 2) not null check (payment_amount >= 0),
    status varchar(30) not null default 'shipped' check (status in ('shipped', 'refunded')),
    -- The span of mart.d_calendar: a later day would have no date_id.
    check (date_time >= '1970-01-01' and date_time < '2050-01-01')
);

-- uniq_id is the key of an order line within its day only: days stay independent of each other.
-- Also the path by which a day is replaced and read.
create unique index user_order_log_day_uniq_id
on staging.user_order_log (cast(date_time as date), uniq_id);
create index uo1 on staging.user_order_log (customer_id);
create index uo2 on staging.user_order_log (item_id);

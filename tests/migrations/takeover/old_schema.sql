-- The tables of the old pipeline. Only their facts matter: columns, types, keys, index columns.

create schema staging
    create table user_order_log (
        uniq_id varchar(32), date_time timestamp not null,
        city_id integer not null, city_name varchar(100),
        customer_id integer not null, first_name varchar(100), last_name varchar(100),
        item_id integer not null, item_name varchar(100),
        quantity bigint, payment_amount numeric(10, 2),
        constraint user_order_log_pk primary key (uniq_id)
    )
    create index uo1 on user_order_log (customer_id)
    create index uo2 on user_order_log (item_id);

create schema mart
    create table d_calendar (
        date_id integer, date_actual date not null, epoch bigint not null,
        day_suffix varchar(4) not null, day_name varchar(9) not null,
        day_of_week integer not null, day_of_month integer not null,
        day_of_quarter integer not null, day_of_year integer not null,
        week_of_month integer not null, week_of_year integer not null,
        week_of_year_iso char(10) not null,
        month_actual integer not null, month_name varchar(9) not null,
        month_name_abbreviated char(3) not null,
        quarter_actual integer not null, quarter_name varchar(9) not null,
        year_actual integer not null,
        first_day_of_week date not null, last_day_of_week date not null,
        first_day_of_month date not null, last_day_of_month date not null,
        first_day_of_quarter date not null, last_day_of_quarter date not null,
        first_day_of_year date not null, last_day_of_year date not null,
        mmyyyy char(6) not null, mmddyyyy char(10) not null, weekend_indr boolean not null,
        constraint d_date_date_dim_id_pk primary key (date_id)
    )
    create index d_date_date_actual_idx on d_calendar (date_actual)
    create table d_item (
        id serial, item_id integer not null, item_name varchar(50),
        primary key (id), unique (item_id)
    )
    create table d_city (
        id serial, city_id integer, city_name varchar(50),
        primary key (id), unique (city_id)
    )
    create table d_customer (
        id serial, customer_id integer not null,
        first_name varchar(15), last_name varchar(15), city_id integer,
        primary key (id), unique (customer_id)
    )
    create table f_sales (
        id serial, date_id integer not null, item_id integer not null,
        customer_id integer not null, city_id integer not null,
        quantity bigint, payment_amount numeric(10, 2),
        primary key (id),
        foreign key (date_id) references d_calendar (date_id),
        foreign key (item_id) references d_item (item_id),
        foreign key (customer_id) references d_customer (customer_id)
    )
    create index f_ds1 on f_sales (date_id)
    create index f_ds2 on f_sales (item_id)
    create index f_ds3 on f_sales (customer_id)
    create index f_ds4 on f_sales (city_id);

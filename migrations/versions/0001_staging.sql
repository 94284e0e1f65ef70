-- What the loader owns: the order lines, what was delivered when, and what could not be accepted.
-- The tables of schema mart are dbt's.

create schema if not exists mart;

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

comment on table staging.user_order_log is
'One row per order line as delivered: refunds positive, told apart by status.';

-- uniq_id is the key of an order line within its day only: days stay independent of each other.
-- Also the path by which a day is replaced and read.
create unique index user_order_log_day_uniq_id
on staging.user_order_log (cast(date_time as date), uniq_id);
create index uo1 on staging.user_order_log (customer_id);
create index uo2 on staging.user_order_log (item_id);

create table staging.delivery (
    delivery_id bigint generated always as identity primary key,
    kind varchar(10) not null check (kind in ('increment', 'history')),
    outcome varchar(10) not null check (outcome in ('accepted', 'refused')),
    refusal text,
    report_id text not null,
    increment_id text,
    source_file text not null,
    sha256 char(64) not null,
    first_day date not null,
    last_day date not null,
    received bigint not null,
    loaded bigint not null,
    repeated bigint not null,
    rejected bigint not null,
    superseded bigint not null,
    quantity numeric not null,
    payment_amount numeric not null,
    unknown_columns text[] not null default '{}',
    started_at timestamptz not null,
    finished_at timestamptz not null default clock_timestamp(),
    check (received = loaded + repeated + rejected),
    check (first_day <= last_day),
    check ((kind = 'increment') = (increment_id is not null)),
    check ((outcome = 'refused') = (refusal is not null))
);

comment on table staging.delivery is
'The ledger: one row per delivery judged, accepted or refused. A refused one changed no order line; '
'its counts say what was found.';
comment on column staging.delivery.received is
'Data lines for the days this delivery covers; always loaded + repeated + rejected.';
comment on column staging.delivery.superseded is
'Lines for days that an increment (for a history file) or a later load has delivered: left alone.';
comment on column staging.delivery.started_at is
'By the clock of the database, before the file was fetched.';

create table staging.delivery_day (
    day date primary key,
    delivery_id bigint not null references staging.delivery
);

comment on table staging.delivery_day is
'One row per day ever delivered: the delivery whose order lines stand in user_order_log now.';

create index on staging.delivery_day (delivery_id);

create table staging.quarantine (
    delivery_id bigint not null references staging.delivery,
    line_number bigint not null,
    reason varchar(30) not null,
    raw_line text not null,
    primary key (delivery_id, line_number)
);

comment on table staging.quarantine is
'One row per rejected line of a delivery. line_number counts lines of the file, the header being 1.';

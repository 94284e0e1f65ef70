-- What the loader owns: the order lines, what was delivered when, and what could not be accepted.

comment on table staging.user_order_log is
'One row per order line as delivered: refunds positive, told apart by status.';

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

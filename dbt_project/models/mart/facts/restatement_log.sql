{{ config(incremental_strategy='append') }}
-- This model only makes the table. The models that replace a figure log its change themselves, in
-- their own transaction (macro log_restatements).

select
    cast(null as timestamp with time zone) as logged_at,
    cast(null as varchar(20)) as period_name,
    cast(null as varchar(20)) as period_id,
    cast(null as integer) as item_id,
    cast(null as varchar(50)) as measure,
    cast(null as numeric(38, 2)) as before_value,
    cast(null as numeric(38, 2)) as after_value,
    cast(null as bigint) as delivery_id
where false

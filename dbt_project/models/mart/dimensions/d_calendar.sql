{{ config(unique_key='date_id') }}

with days as (

    select cast(midnight_at as date) as date_actual
    from
        generate_series(timestamp '1970-01-01', timestamp '2049-12-31', '1 day')
            as midnights (midnight_at)

),

missing_days as (

    select * from days
    {% if is_incremental() and run_window() is not none %}
    -- No day of a calendar is missing but by a mishap: that is for a run without window to mend.
    where false
    {% elif is_incremental() %}
    where date_actual not in (select present.date_actual from {{ this }} as present)
    {% endif %}

),

parts as (

    select
        date_actual,
        extract(isodow from date_actual) as day_of_week,
        extract(day from date_actual) as day_of_month,
        extract(quarter from date_actual) as quarter_actual,
        cast(date_trunc('week', date_actual) as date) as first_day_of_week,
        cast(date_trunc('month', date_actual) as date) as first_day_of_month,
        cast(date_trunc('quarter', date_actual) as date) as first_day_of_quarter,
        cast(date_trunc('year', date_actual) as date) as first_day_of_year
    from missing_days

),

final as (

    select
        cast(to_char(date_actual, 'YYYYMMDD') as integer) as date_id,
        date_actual,
        cast(extract(epoch from date_actual) as bigint) as epoch,
        cast(to_char(date_actual, 'FMDDth') as varchar(4)) as day_suffix,
        cast(to_char(date_actual, 'FMDay') as varchar(9)) as day_name,
        cast(day_of_week as integer) as day_of_week,
        cast(day_of_month as integer) as day_of_month,
        date_actual - first_day_of_quarter + 1 as day_of_quarter,
        cast(extract(doy from date_actual) as integer) as day_of_year,
        cast(to_char(date_actual, 'W') as integer) as week_of_month,
        cast(extract(week from date_actual) as integer) as week_of_year,
        cast(to_char(date_actual, 'IYYY-"W"IW-ID') as char(10)) as week_of_year_iso,
        cast(extract(month from date_actual) as integer) as month_actual,
        cast(to_char(date_actual, 'FMMonth') as varchar(9)) as month_name,
        cast(to_char(date_actual, 'Mon') as char(3)) as month_name_abbreviated,
        cast(quarter_actual as integer) as quarter_actual,
        cast(
            (array['First', 'Second', 'Third', 'Fourth'])[cast(quarter_actual as integer)]
            as varchar(9)
        ) as quarter_name,
        cast(extract(year from date_actual) as integer) as year_actual,
        first_day_of_week,
        first_day_of_week + 6 as last_day_of_week,
        first_day_of_month,
        cast(first_day_of_month + interval '1 month' as date) - 1 as last_day_of_month,
        first_day_of_quarter,
        cast(first_day_of_quarter + interval '3 months' as date) - 1 as last_day_of_quarter,
        first_day_of_year,
        cast(first_day_of_year + interval '1 year' as date) - 1 as last_day_of_year,
        cast(to_char(date_actual, 'MMYYYY') as char(6)) as mmyyyy,
        cast(to_char(date_actual, 'MMDDYYYY') as char(10)) as mmddyyyy,
        day_of_week in (6, 7) as weekend_indr
    from parts

)

select * from final

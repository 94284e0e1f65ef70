{% macro sales_of_staging() %}
    (
        uniq_id not like 'mart.f_sales.id=%' or date_id in (
            select cast(to_char(day, 'YYYYMMDD') as integer)
            from {{ source('staging', 'delivery_day') }}
        )
    )
{%- endmacro %}

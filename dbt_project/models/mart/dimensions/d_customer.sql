{{ config(unique_key='customer_id') }}

{{ dimension('customer_id', ['first_name', 'last_name', 'city_id']) }}

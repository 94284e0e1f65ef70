{{ config(unique_key='city_id') }}

{{ dimension('city_id', ['city_name']) }}

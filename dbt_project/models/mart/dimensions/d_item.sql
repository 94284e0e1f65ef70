{{ config(unique_key='item_id') }}

{{ dimension('item_id', ['item_name']) }}

{% macro prune_dimensions() %}
    {#-
    Takes away the dimension rows that no order line bears out any more. Only after the facts were
    replaced: until then the old facts point at them. Each under the lock of its dimension, so that
    a run that has just added the row again is seen.
    -#}
    {#- Named outside the condition, or dbt would not see what this depends on. -#}
    {%- set orders, sales = source('staging', 'user_order_log'), ref('f_sales') -%}
    {%- set dimensions = [
        (ref('d_item'), 'item_id'), (ref('d_city'), 'city_id'), (ref('d_customer'), 'customer_id')
    ] -%}
    {%- if not flags.EMPTY -%}
        {%- for dimension, key in dimensions %}
    {{ lock_mart(dimension) }};
    delete from {{ dimension }} as dimension
    where not exists (select from {{ orders }} as orders where orders.{{ key }} = dimension.{{ key }})
        and not exists (select from {{ sales }} as sales where sales.{{ key }} = dimension.{{ key }})
            {%- if key == 'item_id' %}
        and not exists (select from {{ this }} as retention where retention.item_id = dimension.item_id)
            {%- endif %};
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}

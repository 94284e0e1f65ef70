{% macro prune_dimensions() %}
    {#-
    Takes away the dimension rows that no order line bears out any more. Only after the facts were
    replaced: until then the old facts point at them. The model that calls this has to hold the locks
    of the dimensions from its start: a run that has just added a row again is then seen, and taken
    later they would deadlock with the foreign keys of a first build.
    -#}
    {#- Named outside the condition, or dbt would not see what this depends on. -#}
    {%- set orders, sales = source('staging', 'user_order_log'), ref('f_sales') -%}
    {%- set marts = [ref('f_customer_retention'), ref('f_item_cohort')] -%}
    {%- set dimensions = [
        (ref('d_item'), 'item_id'), (ref('d_city'), 'city_id'), (ref('d_customer'), 'customer_id')
    ] -%}
    {#- Turned off by the upgrade of an old warehouse: its way back must find every row. -#}
    {%- if not flags.EMPTY and var('prune_dimensions', true) -%}
        {%- for dimension, key in dimensions %}
    delete from {{ dimension }} as dimension
    where latest_order_date = {{ no_order_date() }}
        and not exists (select from {{ orders }} as orders where orders.{{ key }} = dimension.{{ key }})
        and not exists (select from {{ sales }} as sales where sales.{{ key }} = dimension.{{ key }})
            {%- if key == 'item_id' %}
                {%- for mart in marts %}
        and not exists (select from {{ mart }} as mart where mart.item_id = dimension.item_id)
                {%- endfor -%}
            {%- endif %};
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}

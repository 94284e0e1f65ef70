{% macro prune_dimensions() %}
    {#-
    Deletes dimension rows that nothing mentions any more. This has to follow the replacement of the
    facts, because old facts refer to these rows. The calling model has to hold the locks of the
    dimensions from its start. Then it sees a row that another run has just added again. Taken
    later, the locks would deadlock with the foreign keys of a first build.
    -#}
    {#- Outside the condition, so that dbt sees these dependencies. -#}
    {%- set orders, sales = source('staging', 'user_order_log'), ref('f_sales') -%}
    {%- set marts = [ref('f_customer_retention'), ref('f_item_cohort')] -%}
    {%- set dimensions = [
        (ref('d_item'), 'item_id'), (ref('d_city'), 'city_id'), (ref('d_customer'), 'customer_id')
    ] -%}
    {#- The takeover of an old warehouse turns this off, because its way back needs every row. -#}
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

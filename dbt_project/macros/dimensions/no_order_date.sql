{% macro no_order_date() -%}
    {#- Before any day that an order may have. -#}
    cast('0001-01-01' as date)
{%- endmacro %}

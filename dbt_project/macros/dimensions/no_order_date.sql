{% macro no_order_date() -%}
    {#- Earlier than the day of any order. -#}
    cast('0001-01-01' as date)
{%- endmacro %}

{% test unique_together(model, columns) %}
-- Fails if two rows agree in all of the columns.
select {{ columns | join(', ') }}, count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}

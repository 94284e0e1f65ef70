-- Warns if a uniq_id occurs on several days. Each day keeps its row, because days are independent.
{{ config(severity='warn', tags=['at_rest']) }}

select uniq_id, count(*) as day_count
from {{ ref('f_sales') }}
group by uniq_id
having count(*) > 1

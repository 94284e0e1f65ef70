-- Fails if a refund is not negative, or anything else is.
select *
from {{ ref('f_sales') }}
where refund_flag != (quantity < 0) or (refund_flag and payment_amount > 0)
    or (not refund_flag and payment_amount < 0)

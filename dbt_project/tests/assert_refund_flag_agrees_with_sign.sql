-- Fails if a refund of the window is not negative, or another row is negative.
select *
from {{ ref('f_sales') }}
where {{ in_window('date_id') }}
    and (
        refund_flag != (quantity < 0) or (refund_flag and payment_amount > 0)
        or (not refund_flag and payment_amount < 0)
    )

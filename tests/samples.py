"""Real deliveries, if they are beside the project, and results that were computed by hand."""

from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "samples"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the real deliveries are not here")

SALES_TOTALS = """
    select count(*), count(*) filter (where refund_flag), sum(quantity)::int,
        sum(payment_amount)::int
    from mart.f_sales
"""
RETENTION_BY_PERIOD = """
    select period_id, sum(new_customers_count)::int, sum(returning_customers_count)::int,
        sum(refunded_customer_count)::int, sum(new_customers_revenue)::int,
        sum(returning_customers_revenue)::int, sum(customers_refunded)::int, count(*)
    from mart.f_customer_retention group by 1 order by 1
"""
DIMENSION_SIZES = """
    select (select count(*) from mart.d_item), (select count(*) from mart.d_city),
        (select count(*) from mart.d_customer)
"""
# After the history of 2024-02-02 to 24 and the increment of 25, in any order.
FEBRUARY_2024 = {
    SALES_TOTALS: [(5279, 0, 15824, 2720675)],
    RETENTION_BY_PERIOD: [
        ("2024-W05", 568, 4, 0, 310400, 2950, 0, 12),
        ("2024-W06", 1622, 67, 0, 860110, 59380, 0, 12),
        ("2024-W07", 1728, 48, 0, 861895, 54660, 0, 12),
        ("2024-W08", 1068, 26, 0, 536000, 35280, 0, 12),
    ],
    DIMENSION_SIZES: [(12, 3, 1867)],
}

"""The summary at the end of `make run`."""

import re
from pathlib import Path

from support import Dbt, Deliver, Warehouse, order

from local.summary import summary


def test_a_customer_counts_once_a_week_whatever_was_bought(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    monday, sunday = "2024-02-26", "2024-03-03"
    deliver(
        monday,
        [
            order("1", monday, customer_id=1, item_id=1, payment_amount=100),
            order("2", monday, customer_id=2, item_id=1, payment_amount=100),
            order("3", monday, customer_id=3, payment_amount=50, status="refunded"),
        ],
    )
    deliver(sunday, [order("4", sunday, customer_id=1, item_id=2, payment_amount=100)])
    dbt.run()

    # Customer 1 is new for both items. Counted per item, three would be new and none returning.
    weeks = re.search(
        r"^ +week +orders .*\n(.*)", summary(warehouse.env, [], Path("report.html")), re.MULTILINE
    )
    assert weeks is not None
    assert weeks[1].split() == ["2024-W09", "3", "300.00", "1", "50.00", "2", "1"]

"""Computes with pandas, from the accepted deliveries, the rows that the marts have to hold.

It follows the rules of docs/data_model.md and shares nothing with loaders/ or dbt_project/.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd

Rows = list[tuple[Any, ...]]


def expected_marts(
    days: Mapping[date, Sequence[Mapping[str, Any]]], deliveries: Mapping[date, tuple[Any, ...]]
) -> dict[str, Rows]:
    """Return the rows of every mart for the last accepted order lines of each day.

    `deliveries` maps each day to kind, number of loaded lines and `refunds_known` of its delivery.
    """
    delivered = sorted((int(f"{day:%Y%m%d}"), *what) for day, what in deliveries.items())
    lines = pd.DataFrame([{**line, "day": day} for day, lines in days.items() for line in lines])
    if lines.empty:
        return {**{name: [] for name in QUERIES}, "f_delivery_day": delivered}
    lines = lines.assign(
        refund=lines["status"].str.strip().str.lower() == "refunded"
        if "status" in lines
        else False,
        amount=lines["payment_amount"].astype(float).round(2),
    )
    return {
        "d_item": _latest(lines, "item_id", ["item_name"]),
        "d_city": _latest(lines, "city_id", ["city_name"]),
        "d_customer": _latest(lines, "customer_id", ["first_name", "last_name", "city_id"]),
        "f_sales": _sales(lines),
        "retention": _retention(lines),
        "f_shop_retention": _shop_retention(lines),
        "f_customer_cohort": _cohorts(lines.assign(item_id=0)),
        "f_item_cohort": _cohorts(lines),
        "f_delivery_day": delivered,
    }


def _latest(lines: pd.DataFrame, key: str, attributes: list[str]) -> Rows:
    newest = lines.sort_values(["date_time", "uniq_id"]).groupby(key).tail(1).sort_values(key)
    return list(newest[[key, *attributes, "day"]].itertuples(index=False, name=None))


def _sales(lines: pd.DataFrame) -> Rows:
    sign = 1 - 2 * lines["refund"].astype(int)
    sales = pd.DataFrame(
        {
            "date_id": [int(f"{day:%Y%m%d}") for day in lines["day"]],
            "item_id": lines["item_id"],
            "customer_id": lines["customer_id"],
            "city_id": lines["city_id"],
            "quantity": lines["quantity"] * sign,
            "payment_amount": lines["amount"] * sign,
            "refund_flag": lines["refund"],
            "uniq_id": lines["uniq_id"],
        }
    )
    return sorted(sales.itertuples(index=False, name=None))


def _retention(lines: pd.DataFrame) -> Rows:
    rows = []
    for (week, item), group in lines.groupby([lines["day"].map(_week), "item_id"]):
        orders, refunds = group[~group["refund"]], group[group["refund"]]
        order_counts = orders.groupby("customer_id").size()
        revenue = orders.groupby("customer_id")["amount"].sum()
        new, returning = order_counts[order_counts == 1], order_counts[order_counts > 1]
        rows.append(
            (
                week,
                item,
                len(new),
                len(returning),
                refunds["customer_id"].nunique(),
                round(revenue[new.index].sum(), 2),
                round(revenue[returning.index].sum(), 2),
                len(refunds),
                refunds["quantity"].sum(),
                round(refunds["amount"].sum(), 2),
            )
        )
    return sorted(rows)


def _week(day: date) -> str:
    return "{}-W{:02}".format(*day.isocalendar()[:2])


def _shop_retention(lines: pd.DataFrame) -> Rows:
    rows = []
    for week, group in lines.groupby(lines["day"].map(_week)):
        orders, refunds = group[~group["refund"]], group[group["refund"]]
        rows.append(
            (
                week,
                orders["customer_id"].nunique(),
                int((orders["customer_id"].value_counts() > 1).sum()),
                refunds["customer_id"].nunique(),
                len(orders),
                len(refunds),
                round(orders["amount"].sum(), 2),
                round(refunds["amount"].sum(), 2),
            )
        )
    return sorted(rows)


def _cohorts(lines: pd.DataFrame) -> Rows:
    orders = lines[~lines["refund"]]
    cohorts: dict[tuple[str, str, int], list[float]] = {}
    # Customer by customer, week by week, as one would count by hand.
    for key, own in orders.groupby(["item_id", "customer_id"]):
        item: Any = key[0]
        weeks = sorted(own.groupby(own["day"].map(_week)), key=lambda week: str(week[0]))
        for number, (week, group) in enumerate(weeks):
            row = cohorts.setdefault((str(weeks[0][0]), str(week), int(item)), [0, 0, 0, 0.0])
            row[0] += 1
            row[1] += number == 1
            row[2] += len(group)
            row[3] += group["amount"].sum()
    return sorted((*key, *row[:3], round(row[3], 2)) for key, row in cohorts.items())


QUERIES = {
    "d_item": "select item_id, item_name, latest_order_date from mart.d_item order by 1",
    "d_city": "select city_id, city_name, latest_order_date from mart.d_city order by 1",
    "d_customer": (
        "select customer_id, first_name, last_name, city_id, latest_order_date"
        " from mart.d_customer order by 1"
    ),
    "f_sales": (
        "select date_id, item_id, customer_id, city_id, quantity, payment_amount::float,"
        " refund_flag, uniq_id from mart.f_sales"
    ),
    "retention": (
        "select period_id, item_id, new_customers_count, returning_customers_count,"
        " refunded_customer_count, new_customers_revenue::float,"
        " returning_customers_revenue::float, customers_refunded::int, refunded_quantity::int,"
        " refunded_amount::float from mart.f_customer_retention"
    ),
    "f_shop_retention": (
        "select period_id, customers_count, repeat_customers_count, refunded_customers_count,"
        " orders_count, refunds_count, revenue::float, refunded_amount::float"
        " from mart.f_shop_retention"
    ),
    "f_customer_cohort": (
        "select first_period_id, period_id, 0, customers_count, first_returns_count, orders_count,"
        " revenue::float from mart.f_customer_cohort"
    ),
    "f_item_cohort": (
        "select first_period_id, period_id, item_id, customers_count, first_returns_count,"
        " orders_count, revenue::float from mart.f_item_cohort"
    ),
    "f_delivery_day": "select date_id, kind, loaded_count, refunds_known from mart.f_delivery_day",
}

"""Summarizes the main job in a few lines: rows, refunds, weeks, seconds."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from psycopg2 import sql

from checks.dbt import marts
from local.airflow_api import DagRun
from local.postgres import connect

_REFUNDS = """
select count(*), coalesce(sum(payment_amount), 0)
from mart.f_sales
where refund_flag
"""

# Customers of several days or items cannot be added up, so each is counted once a week.
_WEEKS = """
with customers as (
    select
        left(week_of_year_iso, 8) as week,
        customer_id,
        count(*) filter (where not refund_flag) as orders,
        coalesce(sum(payment_amount) filter (where not refund_flag), 0) as revenue,
        count(*) filter (where refund_flag) as refunds,
        coalesce(-sum(payment_amount) filter (where refund_flag), 0) as refunded
    from mart.f_sales
    inner join mart.d_calendar using (date_id)
    group by week, customer_id
)
select
    week,
    sum(orders) as orders,
    sum(revenue) as revenue,
    sum(refunds) as refunds,
    sum(refunded) as refunded,
    count(*) filter (where orders > 0) as customers,
    count(*) filter (where orders > 1) as returning
from customers
group by week
order by week
"""


def summary(warehouse: Mapping[str, str], runs: Sequence[DagRun], page: Path) -> str:
    """Return the lines to print; `warehouse` holds libpq's variables, `page` is for analysts."""
    with contextlib.closing(connect(warehouse)) as connection, connection.cursor() as cursor:
        rows = {}
        for mart in (mart.name for mart in marts()):
            cursor.execute(sql.SQL("select count(*) from mart.{}").format(sql.Identifier(mart)))
            rows[mart] = _one(cursor.fetchone())[0]
        cursor.execute(_REFUNDS)
        refunds, refunded = _one(cursor.fetchone())
        cursor.execute(_WEEKS)
        columns = [column.name for column in cursor.description or ()]
        weeks = pd.DataFrame(cursor.fetchall(), columns=columns)
    seconds = pd.DataFrame(
        [(run.dag_id, run.day or "history", run.state, run.seconds) for run in runs],
        columns=["dag", "day", "state", "seconds"],
    )
    return "\n".join(
        [
            "",
            "Rows in the marts",
            *(f"  {mart:<22}{count:>12,}" for mart, count in rows.items()),
            f"  refunds in f_sales    {refunds:>12,}   amount {refunded:,.2f}",
            "",
            "By week (mart.f_sales); returning customers ordered more than once in it",
            _table(weeks),
            "",
            "Seconds per DAG run",
            _table(seconds),
            "",
            "Where to look next",
            f"  {page}    which items bring customers back: open it in a browser",
            "  make up                          Airflow's UI, with these runs in it",
            '  make warehouse; eval "$(make -s env)"; psql    the marts by hand',
            "  README.md, docs/                 what the columns mean and how it works",
        ]
    )


def _one(row: tuple[object, ...] | None) -> tuple[object, ...]:
    assert row is not None  # an aggregate without GROUP BY always has a row
    return row


def _table(frame: pd.DataFrame) -> str:
    if frame.empty:
        return "  (none)"
    text = frame.to_string(index=False, float_format=lambda value: f"{value:.1f}")
    return "\n".join("  " + line for line in text.splitlines())

"""What the main job has made, in a few lines: rows, refunds, the weeks, the time it took."""

import contextlib
from collections.abc import Mapping, Sequence

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

_WEEKS = """
select
    period_name,
    period_id,
    sum(new_customers_count) as new,
    sum(returning_customers_count) as returning,
    sum(refunded_customer_count) as refunded,
    sum(new_customers_revenue) as new_revenue,
    sum(returning_customers_revenue) as returning_revenue,
    sum(customers_refunded) as refunds
from mart.f_customer_retention
group by period_name, period_id
order by period_id, period_name
"""


def summary(warehouse: Mapping[str, str], runs: Sequence[DagRun]) -> str:
    """The lines to print; `warehouse` holds libpq's variables."""
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
            "Retention by week, summed over items (mart.f_customer_retention)",
            _table(weeks),
            "",
            "Seconds per DAG run",
            _table(seconds),
            "",
            "Where to look next",
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

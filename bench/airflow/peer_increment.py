"""The work of sales_mart_increment in two tasks: the whole load, and one `dbt build`.

Not for production: `python -m bench airflow` compares sales_mart_increment with it. Here no model
has a state, a log or a retry of its own.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

from airflow.sdk import Param, dag, get_current_context, task

DBT = str(Path(sys.executable).with_name("dbt"))


@task
def load() -> str:
    """Load the day's increment; return the day."""
    from loaders import steps

    day = get_current_context()["params"]["date"]
    report = steps.wait_for_report(steps.generate_report())
    increment = steps.get_increment(report.report_id, date.fromisoformat(day))
    print(steps.upload(increment).describe())
    return day


@task
def build(day: str) -> None:
    """Build and test the marts of the day."""
    subprocess.run(
        [DBT, "build", "--select", "path:models/mart",
         "--exclude", "resource_type:unit_test", "tag:at_rest",
         "--indirect-selection", "buildable", "--vars", f"{{ds: {day}}}"],
        check=True,
    )  # fmt: skip


@dag(
    schedule=None,
    start_date=datetime(2020, 1, 1),
    catchup=False,
    max_active_runs=4,
    params={"date": Param(type="string", format="date")},
    doc_md=__doc__,
)
def peer_increment():
    build(load())


peer_increment()

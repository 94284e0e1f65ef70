"""Starts a real Airflow in a separate folder; starts, watches and reads its runs."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

from local.airflow_api import AirflowApi, DagRun
from local.pipeline import HISTORY, INCREMENT
from local.ports import HOST, free_port
from local.postgres import connect
from local.settings import Settings
from local.stack import USER, Stack

PATIENCE_SECONDS = 400
MODELS = {
    *("d_calendar", "d_item", "d_city", "d_customer", "f_sales", "f_customer_retention"),
    *("f_shop_retention", "f_customer_cohort", "f_item_cohort", "f_delivery_day"),
    "restatement_log",
}


def of_service(key: str) -> dict[str, str]:
    """Return the settings of a report service at a free address, which a test serves."""
    url = f"http://{HOST}:{free_port()}"
    return {
        "REPORT_API_URL": url,
        "REPORT_STORAGE_URL": url,
        "REPORT_API_KEY": key,
        "REPORT_API_NICKNAME": "test",
        "REPORT_API_COHORT": "1",
    }


@contextmanager
def local_stack(state: Path, **environment: str) -> Iterator[Stack]:
    """Start what `make up` starts except Airflow, in the folder `state`."""
    caller = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    stack = Stack(Settings({**caller, **environment}, state=state))
    with stack.lock("test"):
        try:
            stack.start_warehouse(USER)
            stack.start_report_api(USER)
            yield stack
        finally:
            stack.stop_everything()


def start_airflow(stack: Stack) -> AirflowApi:
    """Start Airflow, wait until it knows both DAGs, and return its API."""
    stack.start_airflow(USER)
    api = stack.airflow.wait()
    wait_until(lambda: api.dag(HISTORY) and api.dag(INCREMENT))
    return api


def trigger(api: AirflowApi, dag_id: str, **body: Any) -> DagRun:
    answer = api._call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, **body})
    return api.run(dag_id, answer["dag_run_id"])


def backfill(api: AirflowApi, dag_id: str, first: date, last: date) -> int:
    """Backfill these days, two at a time; return the number of runs."""
    body = {
        "dag_id": dag_id,
        "from_date": f"{first}T00:00:00Z",
        "to_date": f"{last}T23:59:59Z",
        "reprocess_behavior": "completed",
        "max_active_runs": 2,
    }
    planned = api._call("POST", "/backfills/dry_run", json=body)
    api._call("POST", "/backfills", json=body)
    return len(planned["backfills"])


def runs_of_days(api: AirflowApi, dag_id: str, first: date, last: date) -> list[DagRun]:
    """Return the runs with a logical date on these days, oldest first."""
    params = {
        "logical_date_gte": f"{first}T00:00:00Z",
        "logical_date_lte": f"{last}T23:59:59Z",
        "order_by": "logical_date",
    }
    found = api._call("GET", f"/dags/{dag_id}/dagRuns", params=params)
    return [api.run(dag_id, run["dag_run_id"]) for run in found["dag_runs"]]


def clear(api: AirflowApi, run: DagRun, task_id: str) -> None:
    """Clear one task of an ended run, and all that follow it."""
    body = {
        "dry_run": False,
        "dag_run_id": run.run_id,
        "task_ids": [task_id],
        "include_downstream": True,
        "only_failed": False,
    }
    api._call("POST", f"/dags/{run.dag_id}/clearTaskInstances", json=body)


def wait_until(happened: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.5)


def ended(api: AirflowApi, runs: list[DagRun]) -> list[str]:
    """Wait until these runs have ended; return their states."""
    wait_until(lambda: all(api.run(run.dag_id, run.run_id).ended for run in runs))
    return [api.run(run.dag_id, run.run_id).state for run in runs]


def task_state(api: AirflowApi, run: DagRun, task_id: str) -> str | None:
    return {task.task_id: task.state for task in api.tasks(run.dag_id, [run.run_id])}[task_id]


def returned(api: AirflowApi, run: DagRun, task_id: str) -> Any:
    path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/{task_id}"
    return api._call("GET", f"{path}/xcomEntries/return_value")["value"]


def listening(stack: Stack) -> dict[str, set[str]]:
    """The addresses on which each part listens, as the kernel writes them."""
    addresses = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                addresses[f"socket:[{fields[9]}]"] = fields[1].rpartition(":")[0]
    parts = {record.pid: record.name for record in stack.processes.records()}
    found: dict[str, set[str]] = {name: set() for name in parts.values()}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            session = int(stat.read_text(errors="replace").rpartition(")")[2].split()[3])
            sockets = {str(fd.readlink()) for fd in (stat.parent / "fd").iterdir()}
            if session in parts:
                found[parts[session]] |= {addresses[s] for s in sockets if s in addresses}
    return found


def query(stack: Stack, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement in the warehouse; return its rows."""
    with closing(connect(stack.settings.warehouse)) as connection, connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []

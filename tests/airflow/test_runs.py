"""A real Airflow: overlapping runs, a killed task, a cleared one; then the marts are proved."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

from local.airflow_api import AirflowApi, DagRun
from local.pipeline import HISTORY, INCREMENT, Pipeline
from local.prove import prove
from local.settings import Settings
from local.stack import USER, Stack

pytestmark = pytest.mark.faults

DAYS = [date(2024, 2, 25), date(2024, 2, 26), date(2024, 2, 27)]
MODELS = {"d_calendar", "d_item", "d_city", "d_customer", "f_sales", "f_customer_retention"}
PATIENCE_SECONDS = 900


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything that `make up` starts, in a folder of its own."""
    caller = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    stack = Stack(Settings(caller, state=tmp_path_factory.mktemp("state")))
    with stack.lock("test"):
        try:
            stack.start_warehouse(USER)
            stack.start_report_api(USER)
            yield stack
        finally:
            stack.stop_everything()


@pytest.fixture(scope="module")
def airflow(stack: Stack) -> AirflowApi:
    since = datetime.now(UTC)
    stack.start_airflow(USER)
    api = stack.airflow.wait()
    Pipeline(stack.airflow, api, time.monotonic() + 300).make_ready(fresh=True, since=since)
    return api


def trigger(api: AirflowApi, dag_id: str, **body: Any) -> DagRun:
    answer = api._call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, **body})
    return api.run(dag_id, answer["dag_run_id"])


def wait_until(happened: Any) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.5)


def ended(api: AirflowApi, runs: list[DagRun]) -> list[str]:
    """Wait for the ends of these runs; return their states."""
    wait_until(lambda: all(api.run(run.dag_id, run.run_id).ended for run in runs))
    return [api.run(run.dag_id, run.run_id).state for run in runs]


def task_state(api: AirflowApi, run: DagRun, task_id: str) -> str | None:
    return {task.task_id: task.state for task in api.tasks(run.dag_id, [run.run_id])}[task_id]


def returned(api: AirflowApi, run: DagRun, task_id: str) -> Any:
    path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances/{task_id}"
    return api._call("GET", f"{path}/xcomEntries/return_value")["value"]


def kill_running_tasks(stack: Stack) -> int:
    """SIGKILL every task process of the scheduler's workers; return how many there were."""
    record = stack.processes.running("scheduler")
    assert record is not None
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    tasks = [task for worker in children.get(record.pid, []) for task in children.get(worker, [])]
    for task in tasks:
        os.kill(task, signal.SIGKILL)
    return len(tasks)


def test_overlapping_runs_with_a_kill_and_a_cleared_task_converge(
    stack: Stack, airflow: AirflowApi
) -> None:
    history = trigger(airflow, HISTORY)
    backfill, planned = airflow.backfill(INCREMENT, DAYS[0], DAYS[-1], max_active_runs=2)
    assert planned == len(DAYS)
    # The same day by hand, beside the backfill that holds it.
    by_hand = trigger(airflow, INCREMENT, conf={"date": str(DAYS[1])})

    wait_until(lambda: task_state(airflow, history, "marts.f_sales") == "running")
    assert kill_running_tasks(stack) > 0

    wait_until(lambda: len(airflow.runs_of_days(INCREMENT, DAYS[0], DAYS[-1])) == len(DAYS))
    runs = [history, by_hand, *airflow.runs_of_days(INCREMENT, DAYS[0], DAYS[-1])]
    assert ended(airflow, runs) == ["success"] * len(runs)
    airflow.close_backfill(backfill)
    tasks = airflow.tasks(HISTORY, [history.run_id])
    assert max(task.try_number for task in tasks) > 1, "the kill met nothing"
    for run in runs:
        names = {task.task_id for task in airflow.tasks(run.dag_id, [run.run_id])}
        assert {name for name in names if "marts." in name} == {f"marts.{m}" for m in MODELS}

    assert returned(airflow, by_hand, "print_info") == str(DAYS[1])
    for run, day in zip(runs[2:], DAYS, strict=True):
        assert returned(airflow, run, "print_info") == str(day)

    airflow._call(
        "POST",
        f"/dags/{INCREMENT}/clearTaskInstances",
        json={
            "dry_run": False,
            "dag_run_id": runs[2].run_id,
            "task_ids": ["marts.f_sales"],
            "only_failed": False,
        },
    )
    assert ended(airflow, [runs[2]]) == ["success"]
    assert prove(stack.settings.for_programs())
    with psycopg2.connect(
        host=stack.settings.warehouse["PGHOST"],
        port=stack.settings.warehouse["PGPORT"],
        user=stack.settings.warehouse["PGUSER"],
        password=stack.settings.warehouse["PGPASSWORD"],
        dbname=stack.settings.warehouse["PGDATABASE"],
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("select count(*), count(distinct date_id) from mart.f_sales")
        ((rows, days),) = cursor.fetchall()
        assert days == 23 + len(DAYS) and rows > 1000
        cursor.execute(
            "select count(*) from staging.delivery_day inner join staging.delivery"
            " using (delivery_id) where kind = 'increment'"
        )
        assert cursor.fetchall() == [(len(DAYS),)]


def test_the_business_day_of_a_manual_run(stack: Stack, airflow: AirflowApi) -> None:
    # At a moment: the day before it, as the schedule would have run it then.
    at_a_moment = trigger(airflow, INCREMENT, logical_date="2024-02-29T00:00:00Z")
    # Without one: the day before today, which the stand-in's report does not know. No retry helps.
    without = trigger(airflow, INCREMENT)
    assert ended(airflow, [at_a_moment, without]) == ["success", "failed"]
    assert returned(airflow, at_a_moment, "print_info") == "2024-02-28"
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert returned(airflow, without, "print_info") in (
        str(yesterday),
        str(yesterday - timedelta(days=1)),
    )
    failed = {
        task.task_id: task.try_number
        for task in airflow.tasks(INCREMENT, [without.run_id])
        if task.state == "failed"
    }
    assert failed == {"get_increment": 1}

"""A real Airflow: every way to start a run, overlaps and a kill, and then a proof of the marts."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow_runs import (
    MODELS,
    PATIENCE_SECONDS,
    backfill,
    clear,
    ended,
    listening,
    local_stack,
    of_service,
    query,
    returned,
    runs_of_days,
    start_airflow,
    task_state,
    trigger,
    wait_until,
)
from receivers import datagrams, webhook
from samples import FEBRUARY_2024, SAMPLES, needs_samples
from support import write_orders
from telling import assert_nothing_is_told

from local.airflow_api import AirflowApi, DagRun
from local.airflow_parts import PARTS
from local.pipeline import HISTORY, INCREMENT, Pipeline, PipelineError
from local.ports import HOST
from local.settings import BIN, ROOT
from local.stack import Stack
from local.summary import summary
from shop_api.generated import GeneratedSource
from shop_api.recorded import RecordedSource
from shop_api.server import serve
from shop_api.shop import Shop

# All tests share one Airflow, and the last test stops it.
pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("airflow")]

KEY = "the key of the service under test"

DAYS_BY_KIND = """
    select kind, count(*) from staging.delivery_day inner join staging.delivery using (delivery_id)
    group by kind order by kind
"""
EMPTY = """
    truncate staging.user_order_log, staging.delivery, staging.delivery_day, staging.quarantine,
        mart.f_sales, mart.f_customer_retention, mart.f_shop_retention, mart.f_customer_cohort,
        mart.f_item_cohort, mart.f_delivery_day, mart.restatement_log, mart.d_item, mart.d_city,
        mart.d_customer
"""


# Raises PostgreSQL's error for one of two runs that block each other.
ONE_DEADLOCK = (
    "create sequence deadlocks",
    """
    create function deadlock_once() returns trigger language plpgsql as $$ begin
        if nextval('deadlocks') = 1 then raise sqlstate '40P01'; end if;
        return null;
    end $$
    """,
    "create trigger deadlock_once before delete on mart.f_sales execute function deadlock_once()",
)


@dataclass(frozen=True)
class Received:
    """What Airflow has sent: alerts, metrics as datagrams, lineage events as lines of a file."""

    alerts: list[dict[str, Any]]
    metrics: list[str]
    lineage: Path
    settings: dict[str, str]

    def told(self, number: int) -> list[list[str]]:
        """Wait for so many alerts; return the lines of each."""
        wait_until(lambda: len(self.alerts) >= number)
        return [alert["text"].splitlines() for alert in self.alerts]


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    lineage = tmp_path_factory.mktemp("lineage") / "events"
    transport = {"type": "file", "log_file_path": str(lineage), "append": True}
    with webhook() as (url, alerts), datagrams() as (port, metrics):
        settings = {
            "ALERT_WEBHOOK_URL": url,
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": HOST,
            "AIRFLOW__METRICS__STATSD_PORT": str(port),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "test",
        }
        yield Received(alerts, metrics, lineage, settings)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, received: Received) -> Iterator[Stack]:
    """A stack with a service of its own, which activates the schedule; each test serves it."""
    now = datetime.now(UTC)
    tomorrow = datetime.combine(now + timedelta(days=1), datetime.min.time(), UTC)
    if tomorrow - now < timedelta(minutes=10):
        # Around midnight the schedule would begin another day during the tests.
        time.sleep((tomorrow - now).total_seconds())
    settings = {**of_service(KEY), **received.settings}
    with local_stack(tmp_path_factory.mktemp("state"), **settings) as stack:
        yield stack


@pytest.fixture(scope="module")
def airflow(stack: Stack) -> AirflowApi:
    return start_airflow(stack)


@contextmanager
def service(stack: Stack, source: Any, today: date | None) -> Iterator[None]:
    """Serve reports of `today` (None: the real day) at the address that Airflow knows."""
    port = int(stack.settings.report_api["REPORT_API_URL"].rpartition(":")[2])
    shop = Shop(source, today=today, api_key=KEY, running_seconds=1)
    with serve(shop, HOST, port):
        yield


def written_by(stack: Stack) -> list[Path]:
    """Where Airflow of this stack, and the programs beside it, write what they have to say."""
    return [stack.settings.state / "logs", stack.airflow.home / "logs"]


def kill_running_tasks(stack: Stack) -> int:
    """SIGKILL every task process of the scheduler's workers; return their number."""
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
    stack: Stack, airflow: AirflowApi, received: Received
) -> None:
    today = datetime.now(UTC).date()
    one, two, three, four = (today - timedelta(days=back) for back in (1, 2, 3, 4))

    def by_schedule() -> list[DagRun]:
        return runs_of_days(airflow, INCREMENT, one, one)

    def of_backfill() -> list[DagRun]:
        return runs_of_days(airflow, INCREMENT, three, two)

    with service(stack, GeneratedSource(), today=None):
        wait_until(by_schedule)
        (scheduled,) = by_schedule()
        assert scheduled.run_id.startswith("scheduled__")
        # At the same time that day by hand, and a backfill with a day that also runs by hand.
        plain = trigger(airflow, INCREMENT)
        assert backfill(airflow, INCREMENT, three, two) == 2
        chosen = trigger(airflow, INCREMENT, conf={"date": str(two)})
        too_early = trigger(airflow, INCREMENT, conf={"date": "2024-02-25"})
        misspelt = trigger(airflow, INCREMENT, conf={"dat": str(two)})

        wait_until(lambda: task_state(airflow, scheduled, "marts.f_sales") == "running")
        assert kill_running_tasks(stack) > 0

        wait_until(lambda: len(of_backfill()) == 2)
        runs = [scheduled, plain, chosen, *of_backfill()]
        assert ended(airflow, runs) == ["success"] * 5
        tasks = airflow.tasks(INCREMENT, [scheduled.run_id])
        assert max(task.try_number for task in tasks) > 1, "the kill met nothing"

        # A run succeeds even if the page cannot be written.
        page = stack.settings.report_page
        assert page.read_text().startswith("<!doctype html>")
        page.unlink()
        page.mkdir()

        # Their common week was built before this run. It has a logical date, like a scheduled run.
        for statement in ONE_DEADLOCK:
            query(stack, statement)
        moment = trigger(airflow, INCREMENT, logical_date=f"{three}T06:00:00Z")
        history = trigger(airflow, HISTORY)
        assert ended(airflow, [moment, history]) == ["success"] * 2
        for run, task in ((plain, "upload_user_order_inc"), (runs[-1], "marts.f_sales")):
            clear(airflow, run, task)
        assert ended(airflow, [plain, runs[-1]]) == ["success"] * 2
    runs.append(moment)
    assert [task_state(airflow, run, "report_page") for run in (plain, history)] == ["failed"] * 2
    page.rmdir()
    models = [airflow.tasks(run.dag_id, [run.run_id]) for run in (moment, history)]
    tries = [task.try_number for run in models for task in run if task.task_id == "marts.f_sales"]
    assert sorted(tries) == [1, 2], "the deadlock met nothing"

    days = [returned(airflow, run, "print_info") for run in runs]
    assert days == [str(day) for day in (one, one, two, three, two, four)]
    for run in [*runs, history]:
        names = {task.task_id for task in airflow.tasks(run.dag_id, [run.run_id])}
        assert {name for name in names if "marts." in name} == {f"marts.{m}" for m in MODELS}
    # Airflow has not retried an error that no retry can mend.
    assert ended(airflow, [too_early, misspelt]) == ["failed"] * 2
    for run, task in ((too_early, "get_increment"), (misspelt, "print_info")):
        tasks = airflow.tasks(INCREMENT, [run.run_id])
        assert {t.task_id: t.try_number for t in tasks if t.state == "failed"} == {task: 1}

    # Each of the two was told once, and nobody of the kill and the deadlock, which were overcome.
    assert sorted(lines[:-1] for lines in received.told(2)) == [
        [
            f"{INCREMENT} failed",
            f"print_info: unknown parameter '…': {INCREMENT} takes allow_empty and date",
            f"do: airflow dags trigger {INCREMENT}",
        ],
        [
            f"{INCREMENT} failed for 2024-02-25",
            "get_increment: no increment for 2024-02-25: Date is too early",
            f"""do: airflow dags trigger {INCREMENT} --conf '{{"date": "2024-02-25"}}'""",
        ],
    ]
    assert f"see: {stack.airflow.url}/dags/{INCREMENT}/runs/" in received.told(2)[0][-1]
    # Hours later the day is still not there.
    with closing(stack.settings.postgres.connect("airflow")) as metadata, metadata:
        metadata.cursor().execute(
            "update deadline set deadline_time = now() - interval '1 minute' from dag_run"
            " where dag_run.id = dagrun_id and run_id = %s",
            (too_early.run_id,),
        )
    late = received.told(3)[2]
    assert late[0] == f"2024-02-25 did not come: {INCREMENT} has not succeeded"
    assert late[2] == "do: python -m checks doctor"

    what_was_done = returned(airflow, plain, "upload_user_order_inc")
    assert what_was_done["days"] == [str(one)] and what_was_done["outcome"] == "loaded"
    lines = [what_was_done[name] for name in ("loaded", "repeated", "rejected")]
    assert what_was_done["received"] == sum(lines) > lines[0] > 0
    covered = returned(airflow, history, "upload_user_order")
    covered = {name: covered[name] for name in ("first_day", "last_day")}
    assert all(said == [covered] for said in asset_events(airflow, history).values())
    whole = examined(stack)
    assert whole["report API"]["state"] == "broken", "it is served while runs ask for it"
    for check in ("scheduler", "dag-processor", "DAGs", "paused", "ledger", "due"):
        assert whole[check]["state"] == "well", whole[check]

    assert stack.program("python", "-m", "checks", "prove") == 0
    assert query(stack, DAYS_BY_KIND) == [("history", 23), ("increment", 4)]
    assert query(stack, "select count(distinct date_id) from mart.f_sales") == [(27,)]
    assert_all_was_sent_and_nothing_private(stack, received)
    assert_nothing_is_told(stack, written_by(stack))


def asset_events(api: AirflowApi, run: DagRun) -> dict[str, list[dict[str, str]]]:
    """What the events of a run's assets say, by the name of the asset."""
    found = api._call("GET", "/assets/events", params={"source_run_id": run.run_id})
    said: dict[str, list[dict[str, str]]] = {}
    for event in found["asset_events"]:
        said.setdefault(event["name"], []).append(event["extra"])
    assert set(said) == {"mart.f_sales", "mart.f_customer_retention"}
    return said


def examined(stack: Stack) -> dict[str, dict[str, str]]:
    """What the doctor finds, by the name of the check."""
    done = subprocess.run(
        [BIN / "python", "-m", "checks", "doctor", "--json"],
        cwd=ROOT,
        env=stack.airflow.environment(schedule=True),
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    return {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def assert_all_was_sent_and_nothing_private(stack: Stack, received: Received) -> None:
    """By a run of each DAG, a failed one, and a run by the schedule."""
    section = (ROOT / "docs" / "runbook.md").read_text().partition("## What to watch\n")[2]
    cells = re.findall(r"^\| (`.*?) \|", section.partition("\n## ")[0], re.M)
    watched = {f"airflow.{name}" for cell in cells for name in re.findall("`(.*?)`", cell)}
    assert len(watched) == 10

    def sent() -> set[str]:
        lines = [line for packet in received.metrics for line in packet.splitlines()]
        return {line.partition(":")[0] for line in lines}

    wait_until(lambda: watched <= sent())
    events = [json.loads(line) for line in received.lineage.read_text().splitlines()]
    ends = {(event["job"]["name"], event["eventType"]) for event in events}
    assert {(HISTORY, "COMPLETE"), (INCREMENT, "COMPLETE"), (INCREMENT, "FAIL")} <= ends
    assert (f"{INCREMENT}.marts.f_sales", "COMPLETE") in ends
    tables = {
        what: {table["name"] for event in events for table in event.get(what, ())}
        for what in ("inputs", "outputs")
    }
    database = stack.settings.warehouse["PGDATABASE"]
    assert {f"{database}.staging.user_order_log", f"{database}.mart.f_sales"} <= tables["inputs"]
    assert {f"{database}.mart.{model}" for model in MODELS} <= tables["outputs"]

    names = query(stack, "select first_name from mart.d_customer union select last_name from"
                         " mart.d_customer")  # fmt: skip
    told = "\n".join([*received.metrics, str(events), str(received.alerts)])
    for private in [*(name for (name,) in names), KEY, stack.settings.warehouse["PGPASSWORD"]]:
        assert private not in told


@needs_samples
def test_the_main_job_on_real_deliveries_in_either_order(
    stack: Stack,
    airflow: AirflowApi,
    received: Received,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # Where the stack has left its manifest, as for `make run`.
    monkeypatch.delenv("DBT_TARGET_PATH")
    job = Pipeline(stack.airflow, airflow, time.monotonic() + PATIENCE_SECONDS)
    day = date(2024, 2, 25)
    with service(stack, RecordedSource(SAMPLES), today=date(2024, 3, 3)):
        job.make_ready(fresh=False, since=datetime.now(UTC))
        run_increment = partial(job.run_increments, [day])
        for order in ((run_increment, job.run_history), (job.run_history, run_increment)):
            query(stack, EMPTY)
            runs = [run for step in order for run in step()]
            assert [run.state for run in runs] == ["success"] * 2
            assert {question: query(stack, question) for question in FEBRUARY_2024} == FEBRUARY_2024
        said = capsys.readouterr().out
        assert said.count(f"{INCREMENT} {day}: success in") == 2
        told = summary(stack.settings.warehouse, runs, stack.settings.report_page)
        assert re.search(r"f_sales +5,279\n", told) and "2024-W08" in told
        assert re.search(rf"{INCREMENT} {day} success +[0-9.]+\n", told)

        written = stack.settings.report_page.read_text()
        assert '"lastDay":"2024-02-25"' in written

        # There is no recording of this day.
        before = len(received.alerts)
        with pytest.raises(PipelineError, match=r"2024-02-26: task get_increment failed") as error:
            job.run_increments([date(2024, 2, 26)])
        assert "no increment for 2024-02-26" in str(error.value), "the end of its log"
        assert received.told(before + 1)[before][0] == f"{INCREMENT} failed for 2024-02-26"
        # If marts are missing, the page stays as it is.
        assert stack.settings.report_page.read_text() == written

    write_orders(tmp_path / f"increment_{day}__user_order_log_inc.csv", [])
    with service(stack, RecordedSource(tmp_path), today=date(2024, 3, 3)):
        refused = Pipeline(stack.airflow, airflow, time.monotonic() + PATIENCE_SECONDS)
        with pytest.raises(PipelineError, match="would empty 2024-02-25, which has order lines"):
            refused.run_increments([day])
        alert = received.told(before + 2)[before + 1]
        assert alert[0] == f"{INCREMENT} failed for 2024-02-25"
        assert re.match("upload_user_order_inc: increment 2024-02-25 .*: it would empty", alert[1])
        assert alert[2] == "do: python -m loaders quarantine list"
        (run,) = refused.begun.values()
        found = returned(airflow, run, "upload_user_order_inc")
        assert (found["outcome"], found["days"], found["received"]) == ("refused", [], 0)
        assert "it would empty 2024-02-25" in found["refusal"]
        meant = {"date": str(day), "allow_empty": True}
        assert ended(airflow, [trigger(airflow, INCREMENT, conf=meant)]) == ["success"]
        assert query(stack, "select max(date_id) from mart.f_sales") == [(20240224,)]
    assert_nothing_is_told(stack, written_by(stack))


def test_what_make_up_starts_listens_on_this_machine_only(
    stack: Stack, airflow: AirflowApi
) -> None:
    found = listening(stack)
    assert {name for name, addresses in found.items() if addresses} >= {"postgres", "api_server"}
    # 127.0.0.1 and ::1.
    loopback = {"0100007F", "00000000000000000000000001000000"}
    assert set().union(*found.values()) <= loopback, found


def test_dags_test(stack: Stack, airflow: AirflowApi) -> None:
    # `dags test` runs the tasks in its own process. A scheduler would run them too, so this test
    # comes last and stops it.
    stack.processes.stop(*PARTS)
    query(stack, EMPTY)
    with service(stack, GeneratedSource(), today=date(2024, 3, 3)):
        # Like the command `airflow` in the shell of `make env`.
        local = [str(BIN / "python"), "-m", "local", "--state", str(stack.settings.state)]
        done = subprocess.run(
            [*local, "airflow", "dags", "test", INCREMENT, "2024-02-29"],
            cwd=ROOT,
            # Airflow cannot end such a run of a DAG that has a deadline.
            env={**stack.settings.caller, "ALERT_WEBHOOK_URL": ""},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert query(stack, "select distinct date_id from mart.f_sales") == [(20240228,)]
    assert '"lastDay":"2024-02-28"' in stack.settings.report_page.read_text()

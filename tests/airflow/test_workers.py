"""Both DAGs on two workers that share no disk: at once, and with one of them gone in the middle."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from airflow_runs import ended, local_stack, of_service, query, trigger, wait_until
from cluster import REDIS, WORKERS, Cluster, cluster
from known_shop import KnownShop, lines
from support import Warehouse, write_orders
from telling import assert_nothing_is_told

from local.airflow_api import AirflowApi, DagRun
from local.pipeline import HISTORY, INCREMENT
from local.ports import HOST
from local.postgres import connect
from local.stack import Stack
from shop_api.recorded import RecordedSource
from shop_api.server import serve
from shop_api.shop import Shop

pytestmark = [
    pytest.mark.workers,
    pytest.mark.skipif(not REDIS.exists(), reason="Debian's redis-server is not installed"),
]

KEY = "the key of a service for two workers"
TODAY = date(2024, 3, 3)
# Of one ISO week, 2024-W09.
WEEK = ("2024-02-26", "2024-02-27", "2024-02-28")


class _TheirWarehouse(Warehouse):
    """The warehouse of a stack, whatever the environment of this process says."""

    def connect(self) -> "psycopg2.extensions.connection":
        return connect(self.env)


class _RecordedShop:
    """A service that delivers what files hold, and what the marts must hold then."""

    def __init__(self, folder: Path, warehouse: Warehouse) -> None:
        self.folder, self.truth = folder, KnownShop(warehouse, _no_delivery)

    def record(self, day: str, *, seed: int = 0) -> None:
        """Offer an increment of the day, from now on."""
        write_orders(
            self.folder / f"increment_{day}__user_order_log_inc.csv", lines(day, seed=seed)
        )
        self.truth.accepted(day, lines(day, seed=seed))

    def record_history(self, days: tuple[str, ...]) -> None:
        orders = [line for day in days for line in lines(day)]
        write_orders(self.folder / f"report_{TODAY}__user_order_log.csv", orders)


def _no_delivery(*_arguments: Any, **_options: Any) -> Any:
    raise AssertionError("what is delivered here, Airflow loads")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with local_stack(tmp_path_factory.mktemp("state"), **of_service(KEY)) as stack:
        yield stack


@pytest.fixture(scope="module")
def airflow(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cluster, AirflowApi]]:
    with cluster(stack, tmp_path_factory.mktemp("machines")) as started:
        yield started


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_RecordedShop]:
    folder = tmp_path_factory.mktemp("deliveries")
    recorded = _RecordedShop(folder, _TheirWarehouse(stack.settings.warehouse))
    port = int(stack.settings.report_api["REPORT_API_URL"].rpartition(":")[2])
    service = Shop(RecordedSource(folder), today=TODAY, api_key=KEY, running_seconds=1)
    with serve(service, HOST, port):
        yield recorded


def tasks_of(api: AirflowApi, *runs: DagRun) -> list[dict[str, Any]]:
    """Airflow's records of the tasks of these runs."""
    found = []
    for run in runs:
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}/taskInstances"
        answer = api._call("GET", path)
        assert answer["total_entries"] == len(answer["task_instances"])
        found += answer["task_instances"]
    return found


def test_overlapping_runs_of_one_week_on_both_workers(
    stack: Stack, airflow: tuple[Cluster, AirflowApi], shop: _RecordedShop
) -> None:
    _, api = airflow
    history = ("2024-02-19", "2024-02-20")
    shop.record_history(history)
    for day in WEEK[:2]:
        shop.record(day)
    runs = [trigger(api, INCREMENT, conf={"date": day}) for day in WEEK[:2]]
    runs.append(trigger(api, HISTORY))
    assert ended(api, runs) == ["success"] * 3

    for run in runs:
        assert {task["hostname"] for task in tasks_of(api, run)} == set(WORKERS), run.dag_id
    ((first, last),) = query(
        stack, "select first_day, last_day from staging.delivery where kind = 'history'"
    )
    orders = [line for day in history for line in lines(day)]
    shop.truth.accepted(str(first), orders, str(last))
    shop.truth.assert_marts_equal_a_fresh_build()


def test_a_worker_that_is_gone_in_the_middle(
    airflow: tuple[Cluster, AirflowApi], shop: _RecordedShop
) -> None:
    machines, api = airflow
    lost, other = WORKERS
    shop.record(WEEK[2])
    # A day of the same week is delivered anew.
    shop.record(WEEK[0], seed=1)
    runs = [trigger(api, INCREMENT, conf={"date": day}) for day in (WEEK[2], WEEK[0])]

    def at_work() -> list[str]:
        return [
            task["task_id"]
            for task in tasks_of(api, *runs)
            if task["hostname"] == lost
            and task["state"] == "running"
            and task["task_id"].startswith("marts.")
        ]

    wait_until(at_work)
    machines.kill(lost)
    assert ended(api, runs) == ["success"] * 2

    again = [task for task in tasks_of(api, *runs) if task["try_number"] > 1]
    assert again and {task["hostname"] for task in again} == {other}, "the kill met nothing"
    shop.truth.assert_marts_equal_a_fresh_build()


def test_no_machine_has_told_a_secret_or_a_name(
    stack: Stack, airflow: tuple[Cluster, AirflowApi]
) -> None:
    machines, _ = airflow
    logs = [machine.home / "logs" for machine in machines.machines.values()]
    broker = {"password of the broker": machines.broker_password}
    assert_nothing_is_told(stack, [stack.settings.state / "logs", *logs], broker)

"""Helpers of tests: databases, dbt, order lines, deliveries. conftest.py has the fixtures."""

import copy
import csv
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from loaders import landing
from loaders.deliveries import Delivery
from loaders.landing import LoadResult
from loaders.order_file import REQUIRED_COLUMNS, OrderFile
from loaders.warehouse import clock
from local.postgres import EmbeddedPostgres, connect

ROOT = Path(__file__).resolve().parents[1]
# One name for all tests, because dbt keeps it in the parsed project.
DATABASE = "warehouse_under_test"


class Warehouse:
    """The database of one test."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)

    def connect(self) -> Any:
        return psycopg2.connect("")

    def query(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Run one statement, commit, and return its rows."""
        with closing(self.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, parameters: Any = None) -> Any:
        """Return the one value of a query."""
        ((value,),) = self.query(statement, parameters)
        return value

    def marts(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every row of the marts and staging, in one order."""
        tables = (
            "staging.user_order_log mart.d_item mart.d_city mart.d_customer mart.f_sales"
            " mart.f_customer_retention mart.f_shop_retention mart.f_customer_cohort"
            " mart.f_item_cohort"
        )
        return {
            table: sorted(self.query(f"select t.*::text from {table} as t"))
            for table in tables.split()
        }


def command(*arguments: str, env: Mapping[str, str] | None = None) -> list[str]:
    """Return the command line of a program of this environment."""
    return [str(Path(sys.executable).with_name(arguments[0])), *arguments[1:]]


def run_command(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment from the root, like a user."""
    done = subprocess.run(command(*arguments), cwd=ROOT, text=True, capture_output=True)
    if check and done.returncode:
        raise AssertionError(
            f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done


def _statement(server: EmbeddedPostgres, statement: str) -> None:
    with closing(connect(server.env("postgres"))) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement)


@contextmanager
def database(server: EmbeddedPostgres, template: str, keep_as: str = "") -> Iterator[Warehouse]:
    """Yield the database under test, made from a template; drop it, or keep it as another."""
    _statement(server, f"create database {DATABASE} template {template}")
    env = server.env(DATABASE)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in env.items():
                patch.setenv(variable, value)
            yield Warehouse(env)
        if keep_as:
            _statement(server, f"create database {keep_as} template {DATABASE}")
    finally:
        _statement(server, f"drop database {DATABASE} with (force)")


@dataclass(frozen=True)
class DbtDone:
    """The end of a dbt command; `result` is dbt's own, of a type by command."""

    success: bool
    exception: BaseException | None
    result: Any


class Dbt:
    """dbt in this process. It parses the project once, so a run takes half a second."""

    def __init__(self) -> None:
        # Not at the top, because the import takes a second and most tests need no dbt.
        from dbt.adapters.base import impl as adapter
        from dbt.cli.main import dbtRunner

        self._adapter, self._runner = adapter, dbtRunner
        parsed = dbtRunner().invoke(["--quiet", "parse"])
        assert parsed.success, parsed.exception
        self._manifest: Any = parsed.result
        self._flag_count = len(self._adapter.DEFAULT_BASE_BEHAVIOR_FLAGS)

    def invoke(self, *arguments: str, **variables: Any) -> DbtDone:
        """Run a dbt command with these variables; return its end."""
        options = ["--vars", str(variables)] if variables else []
        # dbt changes the manifest, so it gets a copy. Copied lookups are wrong; dbt makes new ones.
        manifest = copy.deepcopy(self._manifest)
        for name in vars(manifest):
            if name.endswith("_lookup"):
                setattr(manifest, name, None)
        # Every run lengthens this list, and each entry makes later runs inspect the call stack once
        # more (dbt-labs/dbt-adapters issue 2136).
        del self._adapter.DEFAULT_BASE_BEHAVIOR_FLAGS[self._flag_count :]
        done = self._runner(manifest=manifest).invoke(["--quiet", *arguments, *options])
        return DbtDone(done.success, done.exception, done.result)

    def run(self, *arguments: str, **variables: Any) -> None:
        """Build the models for the window that the variables name."""
        done = self.invoke("run", *arguments, **variables)
        assert done.success, [
            (result.node.name, result.message) for result in (done.result or [])
        ] or done.exception


def order(uniq_id: str, day: str, **values: Any) -> dict[str, Any]:
    """Return one order line as delivered: a plain sale, except for the given values."""
    return {
        "uniq_id": uniq_id,
        "date_time": f"{day}T00:00:00" if len(day) == 10 else day,
        "city_id": 1,
        "city_name": "Казань",
        "customer_id": 100,
        "first_name": "Вера",
        "last_name": "Орлова",
        "item_id": 1,
        "item_name": "Кефир 1%",
        "quantity": 2,
        "payment_amount": 180,
        **values,
    }


def write_orders(path: Path, orders: Sequence[Mapping[str, Any]]) -> Path:
    """Write order lines like the service, with a status column if any line has a status."""
    columns = ["id", *REQUIRED_COLUMNS]
    if any("status" in line for line in orders):
        columns.append("status")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", restval="")
        writer.writeheader()
        for number, line in enumerate(orders, start=1):
            writer.writerow({"id": number, **line})
    return path


Deliver = Callable[..., LoadResult]


def deliverer(folder: Path) -> Deliver:
    """Return a function that lands order lines, or a file, as an increment or a history."""

    def land(
        first_day: str,
        orders: Sequence[Mapping[str, Any]] | Path,
        last_day: str | None = None,
        **options: Any,
    ) -> LoadResult:
        kind = "history" if last_day else "increment"
        first, last = date.fromisoformat(first_day), date.fromisoformat(last_day or first_day)
        path = orders if isinstance(orders, Path) else write_orders(folder / "orders.csv", orders)
        delivery = Delivery(
            kind, "report", None if last_day else f"increment of {first}", first, last, "address"
        )
        return landing.land(
            delivery,
            lambda: OrderFile(path, first, last),
            **{
                "source_file": path.name,
                "sha256": "0" * 64,
                "started_at": clock(),
                "max_rejected_share": 0.05,
                **options,
            },
        )

    return land

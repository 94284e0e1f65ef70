"""Measures building the marts of a day or a year with dbt, and with SQL written by hand.

Both have to end with the same rows, or the measurement fails.
"""

from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from bench.data import OrdersFile, write_orders
from bench.landing import command, prepare
from bench.measure import Sample, Server, Side, fresh_server, say, scratch, take_turns
from checks import dbt

SQL = Path(__file__).with_name("sql")
# Like the DAG: builds the models, each with its tests.
BUILD = (
    "build",
    "--select", "path:models/mart",
    "--exclude", "resource_type:unit_test", "tag:at_rest",
    "--indirect-selection", "buildable",
)  # fmt: skip
# dbt alone makes the calendar, and only its models log which published figures a run has changed.
NOT_BY_HAND = ["d_calendar", "restatement_log"]
# Number of days, and lines a day.
HISTORIES = ((10, 1_000), (100, 1_000), (1_000, 1_000), (7, 500_000))
QUICK_HISTORIES = ((2, 100), (4, 100))
LAST_DAY = date(2026, 11, 1)


def measure_day(*, quick: bool, rounds: int) -> dict[str, list[Sample]]:
    """Measure one day after 10, 100 and 1,000 days of 1,000 lines, and after 7 days of 500,000.

    `start` is the same command without any order line: the cost of dbt itself.
    """
    histories = QUICK_HISTORIES if quick else HISTORIES
    with scratch() as folder, fresh_server(folder) as server:
        marts = Marts(server, folder)
        marts.create("start")
        sides = {"start": Side(partial(_on_day, marts.build, "start"))}
        for days, lines in histories:
            history = f"{days}x{lines}"
            first_day = LAST_DAY - timedelta(days=days - 1)
            file = write_orders(folder / "orders.csv", days, lines, first_day=first_day)
            marts.create(history, file)
            marts.run(history)
            marts.by_hand(history, file.first_day, file.last_day)
            marts.assert_equal(history)
            marts.vacuum(history)
            sides |= {
                f"{name}@{history}": Side(partial(_on_day, take, history))
                for name, take in (("dbt", marts.build), ("hand", marts.by_hand))
            }
        samples = take_turns(sides, rounds)
        for days, lines in histories:
            marts.assert_equal(f"{days}x{lines}")
    return samples


def _on_day(take: Callable[[str, date], Sample], database: str, number: int) -> Sample:
    """Take another day in each round, as in production: dbt parses again for another `ds`."""
    return take(database, LAST_DAY - timedelta(days=1 - number % 2))


def measure_backfill(*, quick: bool, rounds: int) -> dict[str, list[Sample]]:
    """Measure a year of 10 million lines by one run into empty marts; then some daily runs."""
    days, lines, daily_runs = (10, 100, 1) if quick else (365, 27_400, 12)
    with scratch() as folder, fresh_server(folder) as server:
        marts = Marts(server, folder)
        file = write_orders(folder / "orders.csv", days, lines)
        marts.create("year", file)
        marts.vacuum("year")
        window = (file.first_day, file.last_day)

        def backfill(schema: str, take: Callable[..., Sample]) -> Sample:
            tables = ", ".join(f"{schema}.{name}" for name in made_by_hand(server, "year"))
            server.query("year", f"truncate {tables} cascade")
            return take("year", *window)

        samples = take_turns(
            {
                "dbt": Side(lambda _: backfill("mart", marts.run)),
                "hand": Side(lambda _: backfill("hand", marts.by_hand)),
            },
            rounds,
        )
        marts.assert_equal("year")
        marts.vacuum("year")
        step = timedelta(days=days // daily_runs)
        daily = Side(lambda number: marts.run("year", file.first_day + number * step))
        samples |= take_turns({f"daily@{days}": daily}, daily_runs)
        marts.assert_equal("year")
    return samples


class Marts:
    """Databases with staging, the marts made by dbt, and in schema `hand` those made by hand."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self._folder = server, folder
        prepare(server, "prepared")
        self._dbt("prepared", "run", "--empty")
        server.program(hand_tables(server), "prepared")

    def create(self, database: str, file: OrdersFile | None = None) -> None:
        """Create a database with empty marts; land the file in it."""
        self._server.query("postgres", f'create database "{database}" template prepared')
        if file:
            say(f"Landing {file.lines:,} lines of {(file.last_day - file.first_day).days + 1} days")
            self._server.worker(command(file), database)

    def build(self, database: str, day: date) -> Sample:
        """Build a day like the DAG, with tests."""
        return self._dbt(database, *BUILD, "--vars", f"{{ds: {day}}}")

    def run(self, database: str, first: date | None = None, last: date | None = None) -> Sample:
        """Build a day, a range of days, or everything, without tests."""
        window = f"ds_start: {first}, ds_end: {last}" if last else f"ds: {first}" if first else ""
        return self._dbt(database, "run", "--vars", f"{{{window}}}")

    def by_hand(self, database: str, first: date, last: date | None = None) -> Sample:
        """Build a day or a range of days by SQL written by hand, in one transaction."""
        return self._server.program(by_hand(self._server, first, last or first), database)

    def assert_equal(self, database: str) -> None:
        """Fail unless dbt and the SQL by hand have made the same rows."""
        if differing := differences(self._server, database):
            raise AssertionError(f"{database}: dbt and bench/sql differ in {', '.join(differing)}")

    def vacuum(self, database: str) -> None:
        """Do what autovacuum would do a minute after so many rows were written."""
        self._server.query(database, "vacuum (analyze)")

    def _dbt(self, database: str, *arguments: str) -> Sample:
        # One folder a database, as in production: dbt keeps there what it has parsed.
        folders = {
            name: str(self._folder / database / name)
            for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH")
        }
        return self._server.program(dbt.command(*arguments), database, **folders)


def differences(server: Server, database: str) -> list[str]:
    """Return the names of marts with different rows in schemas `mart` and `hand`."""
    return [
        name
        for name in made_by_hand(server, database)
        if _checksum(server, database, f"mart.{name}")
        != _checksum(server, database, f"hand.{name}")
    ]


def made_by_hand(server: Server, database: str) -> list[str]:
    """Return the names of marts in schema `hand`: all but those that dbt alone makes."""
    rows = server.query(
        database,
        "select schemaname, tablename from pg_tables where schemaname in ('mart', 'hand')",
    )
    marts, hand = ({name for schema, name in rows if schema == one} for one in ("mart", "hand"))
    if marts - hand != set(NOT_BY_HAND):
        raise AssertionError(f"bench/sql makes no {', '.join(marts - hand - set(NOT_BY_HAND))}")
    return sorted(hand)


def _checksum(server: Server, database: str, table: str) -> list[tuple[Any, ...]]:
    return server.query(
        database,
        # A column by which dbt's dimensions find their rows. The SQL by hand needs none.
        "select count(*), sum(hashtextextended("
        f"cast(to_jsonb(made) - 'latest_order_date' as text), 0)) from {table} as made",
    )


def hand_tables(server: Server) -> list[str | Path]:
    """Return the command line that makes the empty tables of schema `hand`."""
    return server.psql("-f", SQL / "hand_tables.sql")


def by_hand(server: Server, first: date, last: date) -> list[str | Path]:
    """Return the command line that builds these days in schema `hand`, in one transaction."""
    window = ("-v", f"first={first}", "-v", f"last={last}")
    return server.psql("--single-transaction", *window, "-f", SQL / "hand.sql")

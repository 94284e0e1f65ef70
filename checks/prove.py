"""Proves the promise on the user's own warehouse: the marts equal a fresh build from staging.

The proof runs the models of the last days again: one after the other, at the same time, and with a
kill in the middle. Then it builds every mart afresh in a scratch schema and compares row for row.
It asks the report API for nothing and changes no order line. If the promise holds, the marts hold
afterwards what they held before.

In a warehouse taken over from the old pipeline it leaves out the days that still differ from
staging as the old pipeline left them: nobody has asked to rebuild them.
"""

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from psycopg2 import sql

from checks import dbt
from checks.ledger import unbalanced
from checks.session import open_session
from loaders.errors import TerminalError
from loaders.warehouse import explained
from migrations import takeover
from migrations.takeover.tables import CALENDAR, COLUMNS

SCRATCH = "mart_proof"
# Only a schema with this comment is ever dropped.
SCRATCH_COMMENT = "Scratch of `make prove`: may be dropped."
DAYS = 3
# At most this many differing rows of each mart are shown.
SHOWN_ROWS = 5
SHOWN_RANGES = 5
KILL_TRIES = 3
# The forms of period ids: weeks and months.
FORMS = ("%G-W%V", "%Y-%m")


# Days whose sales differ from staging because they were loaded later, as the numbers of the
# transactions say. A day that differs without a later load is wrong, and the proof has to show it.
UNBUILT = """
    with staged as (
        select cast(date_time as date) as day, sum(hashtextextended(cast(row(
            uniq_id, item_id, customer_id, city_id,
            case when status = 'refunded' then -quantity else quantity end,
            case when status = 'refunded' then -payment_amount else payment_amount end
        ) as text), 0)) as checksum
        from staging.user_order_log group by 1
    ),
    sold as (
        select to_date(cast(date_id as text), 'YYYYMMDD') as day, sum(hashtextextended(cast(row(
            uniq_id, item_id, customer_id, city_id, quantity, payment_amount
        ) as text), 0)) as checksum, min(age(xmin)) as age
        from mart.f_sales group by date_id
    )
    select day
    from staging.delivery_day
    inner join staging.delivery using (delivery_id)
    left join staged using (day)
    left join sold using (day)
    where staged.checksum is distinct from sold.checksum
        and (sold.age is null or least(age(delivery_day.xmin), age(delivery.xmin)) < sold.age)
        and day != all(cast(%(old_days)s as date[]))
    order by day
"""


class ProofError(TerminalError):
    """The proof could not be carried out; the text is one sentence for a person."""


@dataclass(frozen=True)
class Difference:
    """Rows of a mart that the fresh build does not have, and the other way round."""

    mart: str
    rows: int
    only_in_mart: list[str]
    only_in_fresh: list[str]

    @property
    def identical(self) -> bool:
        return not (self.only_in_mart or self.only_in_fresh)


def prove(days: int = DAYS) -> bool:
    """Carry out the proof on the warehouse that libpq's PG* variables name; print it; return
    whether it holds.

    Args:
        days: how many of the last days to run again.

    Raises:
        ProofError: if a run failed, if staging changed meanwhile, or if days are not built yet.
        TerminalError, TransientError: if the warehouse is not prepared, or cannot be reached.
    """
    with (
        explained(),
        tempfile.TemporaryDirectory(prefix="proof-") as folder,
        _Proof(Path(folder)) as proof,
    ):
        return proof.carry_out(days)


class _Proof:
    def __init__(self, folder: Path) -> None:
        self._marts = [mart.name for mart in dbt.marts()]
        self._column_names = {mart.name: set(mart.columns) for mart in dbt.marts()}
        # A mart without a key is a log that only grows: a fresh build cannot know its rows.
        self._rebuilt = [mart.name for mart in dbt.marts() if mart.key]
        self._folder = folder
        self._number = 0

    def __enter__(self) -> "_Proof":
        self._connection = open_session("prove")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def carry_out(self, number: int) -> bool:
        if not self._value("select pg_try_advisory_lock(hashtext('make prove'))"):
            raise ProofError("Another proof is at work on this warehouse.")
        self._taken_over = takeover.was_taken_over(self._connection)
        self._old_days = (
            takeover.days_left_as_they_were(self._connection) if self._taken_over else []
        )
        days = [
            day
            for (day,) in self._rows(
                # No range of days may contain a day that is left out.
                "select distinct cast(date_time as date) from staging.user_order_log"
                " where date_time >= %s order by 1 desc limit %s",
                (max(self._old_days, default=date.min) + timedelta(days=1), number),
            )
        ]
        if not days:
            raise ProofError("Staging holds no day of this pipeline: nothing to prove yet.")
        self._refuse_unbuilt()
        self._drop_scratch()  # now, to notice somebody else's schema before minutes of work
        days.reverse()
        staged = self._checksum("staging", "user_order_log")
        before = {mart: self._checksum("mart", mart) for mart in self._marts}
        changed = {
            "days again, one after the other": self._again(before, lambda: self._in_turn(days)),
            "days again, all at once": self._again(before, lambda: self._at_once(days)),
            "killed in the middle, run again": self._again(before, lambda: self._killed(days)),
        }
        _say("Building every mart afresh")
        with self._scratch():
            self._dbt(f"{{mart_schema: {SCRATCH}}}").wait_well()
            differences = [self._compare(mart) for mart in self._rebuilt]
        if self._checksum("staging", "user_order_log") != staged:
            raise ProofError("Staging changed meanwhile (a load came in): prove again.")
        with contextlib.closing(self._connection.cursor()) as cursor:
            return self._report(changed, differences, unbalanced(cursor))

    def _refuse_unbuilt(self) -> None:
        """Raise ProofError if days were loaded since their marts were built."""
        self._columns("mart", "f_sales")
        ranges: list[list[date]] = []
        for (day,) in self._rows(UNBUILT, {"old_days": self._old_days}):
            if ranges and ranges[-1][-1] == day - timedelta(days=1):
                ranges[-1].append(day)
            else:
                ranges.append([day])
        if not ranges:
            return
        lines = []
        for days in ranges[:SHOWN_RANGES]:
            first, last = days[0], days[-1]
            window = f"ds: {first}" if first == last else f"ds_start: {first}, ds_end: {last}"
            what = f"{first}" if first == last else f"{first} to {last}"
            lines.append(f"  {what}: dbt run --vars '{{{window}}}'")
        if more := sum(map(len, ranges[SHOWN_RANGES:])):
            lines.append(f"  and {more} days more, up to {ranges[-1][-1]}")
        raise ProofError(
            "Loaded and not built into the marts yet; build these days, then prove again:\n"
            + "\n".join(lines)
        )

    # ---------------------------------------------------------- running again

    def _again(self, before: dict[str, Any], run: Callable[[], None]) -> list[str]:
        """Run the days again; return the marts that this changed."""
        run()
        return [mart for mart in self._marts if self._checksum("mart", mart) != before[mart]]

    def _in_turn(self, days: list[date]) -> None:
        _say(f"Running the models of {days[0]} to {days[-1]} again, one day after the other")
        for day in days:
            self._dbt(f"{{ds: {day}}}").wait_well()

    def _at_once(self, days: list[date]) -> None:
        _say("... all at once")
        runs = [self._dbt(f"{{ds: {day}}}") for day in days]
        for run in runs:
            run.wait_well()

    def _killed(self, days: list[date]) -> None:
        _say("... killed while it replaces mart.f_sales, then once more")
        variables = f"{{ds_start: {days[0]}, ds_end: {days[-1]}}}"
        for _ in range(KILL_TRIES):
            run = self._dbt(variables)
            # While the mart's lock is held, its run is between deleting old rows and inserting new
            # ones.
            while run.process.poll() is None and not self._value(
                "select exists (select from pg_locks where locktype = 'advisory' and granted"
                " and database = (select oid from pg_database where datname = current_database())"
                " and (classid::bigint << 32 | objid::bigint) = hashtext('mart.f_sales')::bigint)"
            ):
                time.sleep(0.005)
            run.process.kill()
            if run.process.wait() == -signal.SIGKILL:
                break
            run.wait_well()
        else:
            raise ProofError("Every run ended before it could be killed: prove again.")
        self._dbt(variables).wait_well()

    def _dbt(self, variables: str) -> "_DbtRun":
        # A separate target folder, because the manifest that the DAGs read must not change.
        self._number += 1
        return _DbtRun(variables, self._folder / str(self._number))

    # -------------------------------------------------------------- comparing

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[None]:
        self._execute(sql.SQL("create schema {}").format(sql.Identifier(SCRATCH)))
        self._execute(
            sql.SQL("comment on schema {} is {}").format(
                sql.Identifier(SCRATCH), sql.Literal(SCRATCH_COMMENT)
            )
        )
        try:
            yield
        finally:
            self._drop_scratch()

    def _drop_scratch(self) -> None:
        comments = self._rows(
            "select obj_description(oid) from pg_namespace where nspname = %s", (SCRATCH,)
        )
        if not comments:
            return
        if comments != [(SCRATCH_COMMENT,)]:
            raise ProofError(f"There is a schema {SCRATCH} that no proof has made: rename it.")
        with contextlib.closing(self._connection.cursor()) as cursor:
            cursor.execute("set client_min_messages = warning")
            cursor.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(SCRATCH)))

    def _columns(self, schema: str, table: str) -> sql.Composed:
        """Return the columns that a fresh build has: tables of an old warehouse also have an id."""
        names = self._rows(
            "select attname::text from pg_attribute where attrelid = to_regclass(%s)"
            " and attnum > 0 and not attisdropped and attname != 'id' order by attname",
            (f"{schema}.{table}",),
        )
        if not names:
            raise ProofError(f"There is no table {schema}.{table}: `make warehouse` creates it.")
        return sql.SQL(", ").join(sql.Identifier(name) for (name,) in names)

    def _checksum(self, schema: str, table: str) -> tuple[Any, ...]:
        query = sql.SQL(
            "select count(*), sum(hashtextextended(cast(row({}) as text), 0)) from {}"
        ).format(self._columns(schema, table), sql.Identifier(schema, table))
        return self._rows(query)[0]

    def _compare(self, mart: str) -> Difference:
        columns = self._columns(SCRATCH, mart)
        if mart == "d_calendar" and self._taken_over:
            # Its days keep the descriptions that the old pipeline gave them.
            columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS[CALENDAR]))
        provable = self._provable(mart)

        def missing(one: str, other: str) -> list[str]:
            query = sql.SQL(
                "select cast(row({0}) as text) from {1} where {4} except all"
                " select cast(row({0}) as text) from {2} where {4} limit {3}"
            ).format(
                columns,
                sql.Identifier(one, mart),
                sql.Identifier(other, mart),
                sql.Literal(SHOWN_ROWS),
                provable,
            )
            return [row for (row,) in self._rows(query)]

        rows = self._value(sql.SQL("select count(*) from {}").format(sql.Identifier("mart", mart)))
        return Difference(mart, rows, missing("mart", SCRATCH), missing(SCRATCH, "mart"))

    def _provable(self, mart: str) -> sql.Composable:
        """Return the condition for rows that do not depend on a day that is left out."""
        if mart == "d_calendar" or not self._old_days:
            return sql.SQL("true")
        if "first_period_id" in self._column_names[mart]:
            # An order on such a day may be a customer's first, and then all later periods differ.
            return sql.SQL("period_id < case period_name when 'weekly' then {} else {} end").format(
                *(sql.Literal(min(self._old_days).strftime(form)) for form in FORMS)
            )
        if "period_id" in self._column_names[mart]:
            periods = [day.strftime(form) for day in self._old_days for form in FORMS]
            return sql.SQL("period_id != all({})").format(sql.Literal(periods))
        if "date_id" in self._column_names[mart]:
            days = [int(f"{day:%Y%m%d}") for day in self._old_days]
            return sql.SQL("date_id != all({})").format(sql.Literal(days))
        # Only sales of the old pipeline may mention an id.
        key = sql.Identifier(mart.replace("d_", "") + "_id")
        return sql.SQL("{0} in (select {0} from {1})").format(key, sql.Identifier(SCRATCH, mart))

    def _report(
        self,
        changed: dict[str, list[str]],
        differences: list[Difference],
        unbalanced: list[str],
    ) -> bool:
        print()
        for what, marts in changed.items():
            print(f"  {what:<34} {'changed ' + ', '.join(marts) if marts else 'nothing changed'}")
        for difference in differences:
            what = f"mart.{difference.mart}, {difference.rows} rows"
            print(f"  {what:<34} {'identical' if difference.identical else 'DIFFERS'}")
            for label, rows in (
                ("only in mart", difference.only_in_mart),
                ("only in a fresh build", difference.only_in_fresh),
            ):
                for row in rows:
                    print(f"      {label}: {row}")
        print(f"  {'ledger':<34} {'; '.join(unbalanced) or 'balances'}")
        if self._old_days:
            days = ", ".join(str(day) for day in self._old_days)
            print(f"  left out, as the old pipeline left them: {days}")
        holds = not unbalanced and not any(changed.values())
        holds = holds and all(difference.identical for difference in differences)
        verdict = "identical" if holds else "NOT identical: `dbt run --vars` rebuilds days"
        print(f"\n  The marts and a fresh build are {verdict}\n", flush=True)
        return holds

    # ---------------------------------------------------------------- database

    def _rows(self, query: str | sql.Composable, parameters: Any = None) -> list[tuple[Any, ...]]:
        with contextlib.closing(self._connection.cursor()) as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall()

    def _value(self, query: str | sql.Composable) -> Any:
        return self._rows(query)[0][0]

    def _execute(self, statement: sql.Composable) -> None:
        with contextlib.closing(self._connection.cursor()) as cursor:
            cursor.execute(statement)


class _DbtRun:
    """One `dbt run` in a separate process."""

    def __init__(self, variables: str, folder: Path) -> None:
        folder.mkdir()
        self._log = folder / "output"
        paths = ("--target-path", str(folder), "--log-path", str(folder))
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                dbt.command("--quiet", "run", "--vars", variables, *paths),
                cwd=dbt.ROOT,
                stdout=output,
                stderr=output,
            )

    def wait_well(self) -> None:
        """Wait for the end; raise ProofError with what dbt said if it failed."""
        if self.process.wait() != 0:
            raise ProofError(f"dbt run failed:\n{self._log.read_text()}")


def _say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)

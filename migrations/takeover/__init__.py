"""Takes over a warehouse of the old pipeline: brings it to the shape of this one, in place.

Run: `python -m migrations takeover --plan`, then without `--plan`; the walk-through is
docs/takeover.md. The way back: `python -m migrations takeover --back`.

The takeover is a list of changes. Each change asks the catalogue whether it is still to be done. So
the next run finishes what a killed run began, and one run too many changes nothing. Order lines and
sales come first, the ledger last: without the ledger no load of this pipeline starts.

No step stops readers while it works. Steps that read or write every row take locks that let readers
pass, and writers except for a moment. Steps that need a table for themselves only change the
catalogue. If somebody is reading, they give up within `READERS_WAIT` and try again later.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from checks.session import open_session
from loaders.errors import TerminalError, TransientError
from migrations.takeover import back, changes
from migrations.takeover.old_warehouse import PATIENCE_SECONDS, OldWarehouse
from migrations.takeover.refusals import (
    names_taken,
    refuse_rebuilding_nothing,
    refuse_strangers,
    refuse_what_does_not_fit,
)
from migrations.takeover.tables import ORDERS, REPORT_ID, SALES

# The last statement of a killed run goes on until the server notices (CONNECTION_CHECK).
CONNECTION_CHECK = "5s"
OTHER_RUN_SECONDS = 15


def take_over(
    *, plan: bool = False, rebuild: Sequence[date] = (), say: Callable[[str], None] = print
) -> None:
    """Take over the warehouse that libpq's PG* variables name.

    Args:
        plan: say what would change, and in how many rows; change nothing.
        rebuild: days of the marts to build again from staging, afterwards.
        say: is called with every line of the report.

    Raises:
        TerminalError: if this is no warehouse, or holds what the new shape cannot hold, or a day
            cannot be rebuilt. Nothing was changed.
        TransientError: if another session blocks a change, or the warehouse went away. The next run
            continues from there.
    """
    with _warehouse(say, alone=not plan, readonly=plan) as warehouse:
        refuse_strangers(warehouse)
        refuse_what_does_not_fit(warehouse, names_taken())
        refuse_rebuilding_nothing(warehouse, rebuild)
        _tell_differences(warehouse)
        _go(warehouse, plan=plan)
        for day in rebuild:
            say(f"rebuilding {day}{' (not now: --plan)' if plan else ''}")
            if not plan:
                changes.rebuild(day)


def go_back(say: Callable[[str], None] = print) -> None:
    """Bring a warehouse that was taken over, as a whole or in part, back to the old shape.

    Raises:
        TerminalError: if something was loaded since.
        TransientError: if another session blocks it; nothing was changed except for an index.
    """
    with _warehouse(say, alone=True, readonly=False) as warehouse:
        back.go(warehouse)


@contextmanager
def _warehouse(
    say: Callable[[str], None], *, alone: bool, readonly: bool
) -> Iterator[OldWarehouse]:
    # dbt needs these variables, and runs late: check them now.
    if missing := [name for name in ("PGHOST", "PGUSER", "PGDATABASE") if name not in os.environ]:
        raise TerminalError(f"not set in the environment: {', '.join(missing)}")
    settings = {
        # Let the server end statements that a killed run has left.
        "client_connection_check_interval": CONNECTION_CHECK,
        "lock_timeout": f"{PATIENCE_SECONDS}s",
        # For sorting the rows that are compared.
        "work_mem": "128MB",
        "default_transaction_read_only": "on" if readonly else "off",
    }
    try:
        with closing(open_session("takeover", settings)) as connection:
            warehouse = OldWarehouse(connection, say)
            if alone:
                warehouse.be_the_only_one(OTHER_RUN_SECONDS)
            yield warehouse
    except psycopg2.OperationalError as error:
        raise TransientError(
            f"the warehouse went away: {error}; run this again to go on".strip()
        ) from error
    except psycopg2.Error as error:
        raise TerminalError(
            f"the warehouse refused: {str(error).strip()}; what was done stays, and the next run"
            " goes on from there"
        ) from error


def _go(warehouse: OldWarehouse, *, plan: bool) -> None:
    heading = "to do:" if plan else None
    done = 0
    for change in changes.CHANGES:
        if (what := change.pending(warehouse)) is None:
            continue
        if heading:
            warehouse.say(heading)
            heading = None
        done += 1
        warehouse.say(f"  {what}" if plan else what)
        if not plan:
            change.run(warehouse)
    if not done:
        warehouse.say("this warehouse has the new shape: nothing to do")
    elif plan:
        warehouse.say("nothing was changed")
    else:
        warehouse.say("done: this warehouse has the new shape")


def was_taken_over(connection: Connection) -> bool:
    """Return whether this is a warehouse of the old pipeline that was taken over."""
    query = "select exists (select from staging.delivery where report_id = %s)"
    taken_over: bool = OldWarehouse(connection, print).value(query, (REPORT_ID,))
    return taken_over


def days_left_as_they_were(connection: Connection) -> list[date]:
    """Return the days of a taken over warehouse that still differ from staging as the old pipeline
    left them."""
    warehouse = OldWarehouse(connection, print)
    delivered_since = {
        day
        for (day,) in warehouse.rows(
            "select day from staging.delivery_day inner join staging.delivery using (delivery_id)"
            " where report_id != %s",
            (REPORT_ID,),
        )
    }
    return [day for day, *_ in _differences(warehouse) if day not in delivered_since]


def _differences(warehouse: OldWarehouse) -> list[tuple[Any, ...]]:
    statement = (changes.SQL / "differences.sql").read_text()
    return warehouse.rows(statement.format(refunded=changes.refunded(warehouse)))


def _tell_differences(warehouse: OldWarehouse) -> None:
    """Report the days whose sales differ from staging; they change only on request."""
    warehouse.say(
        f"{ORDERS}: {warehouse.row_count(ORDERS):,} rows;"
        f" {SALES}: {warehouse.row_count(SALES):,} rows"
    )
    days = _differences(warehouse)
    if not days:
        warehouse.say(f"every day of {SALES} agrees with staging")
        return
    warehouse.say(
        f"days on which {SALES} and staging differ; each stays as it is until you ask for it by"
        " --rebuild DAY:"
    )
    for day, sold, staged, only_sold, only_staged in days:
        warehouse.say(
            f"  {day}  {SALES} {sold:,} rows, {only_sold:,} not in staging;"
            f" staging {staged:,} rows, {only_staged:,} not in {SALES}"
        )

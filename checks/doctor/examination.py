"""All checks in their order, each on its own: what one runs into does not keep the others back."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import date

import psycopg2
from psycopg2.extensions import cursor as Cursor

from checks.doctor import orchestrator, surroundings, warehouse
from checks.doctor.finding import Finding, State
from checks.session import open_session
from loaders.errors import LoaderError
from loaders.warehouse import explained

# Whoever asks how things are should not wait for a warehouse that is at its limit.
SESSION = {"default_transaction_read_only": "on", "statement_timeout": "30s"}
_LATE = (psycopg2.errors.QueryCanceled, psycopg2.errors.LockNotAvailable)
_UNPREPARED = (
    psycopg2.errors.InvalidSchemaName,
    psycopg2.errors.UndefinedColumn,
    psycopg2.errors.UndefinedTable,
)

CheckOfWarehouse = Callable[[Cursor, date | None], Iterator[Finding]]
_OF_WAREHOUSE: dict[str, CheckOfWarehouse] = {
    "server": warehouse.server,
    "rights": warehouse.rights,
    "migrations": warehouse.migrations,
    "marts": warehouse.marts,
    "ledger": warehouse.ledger,
    "days": warehouse.days,
    "freshness": warehouse.freshness,
    "refused": warehouse.refused,
    "quarantine": warehouse.quarantine,
    "locks": warehouse.locks,
    "disk": warehouse.disk,
}


def examine(today: date | None = None) -> list[Finding]:
    """Look at everything; return what was found, in one order.

    Args:
        today: the day on which to judge whether days are due; without, that of the warehouse's
            clock, in UTC.
    """
    return [
        *surroundings.versions(),
        *surroundings.settings(),
        *surroundings.manifest(),
        *surroundings.report_api(),
        *_warehouse(today),
        *surroundings.disk(),
        *orchestrator.airflow(),
    ]


def show(findings: Sequence[Finding], *, as_json: bool = False) -> int:
    """Print the findings; return the exit status: 0 all well, 1 look at it, 2 broken."""
    worst = max(0, *(finding.state for finding in findings))
    if as_json:
        told = [{**asdict(finding), "state": str(finding.state)} for finding in findings]
        print(json.dumps({"state": str(State(worst)), "findings": told}, ensure_ascii=False))
    else:
        print("\n".join(map(str, findings)))
    return int(worst)


def _warehouse(today: date | None) -> Iterator[Finding]:
    try:
        with explained(), closing(open_session("doctor", SESSION, autocommit=False)) as connection:
            for name, check in _OF_WAREHOUSE.items():
                yield from _carried_out(name, check, connection.cursor(), today)
    except LoaderError as error:
        server = "make warehouse" if os.environ.get("PGHOST", "127.0.0.1") == "127.0.0.1" else ""
        yield Finding("server", State.BROKEN, _one_line(error), server)
        others = ", ".join(name for name in _OF_WAREHOUSE if name != "server")
        yield Finding(others, State.NOT_LOOKED_AT, "the warehouse cannot be reached")


def _carried_out(
    name: str, check: CheckOfWarehouse, cursor: Cursor, today: date | None
) -> Iterable[Finding]:
    cursor.execute("savepoint a_check")
    try:
        with explained():
            return list(check(cursor, today))
    except LoaderError as error:
        cursor.execute("rollback to savepoint a_check")
        cause = error.__cause__
        if isinstance(cause, psycopg2.errors.InsufficientPrivilege):
            return [Finding(name, State.NOT_LOOKED_AT, _one_line(error))]
        if isinstance(cause, _LATE):
            late = f"no answer within {SESSION['statement_timeout']}"
            return [Finding(name, State.LOOK, late, "make prove" if name == "ledger" else "")]
        command = "make warehouse" if isinstance(cause, _UNPREPARED) else ""
        return [Finding(name, State.BROKEN, _one_line(error), command)]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

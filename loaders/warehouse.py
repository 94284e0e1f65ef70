"""The warehouse as a client sees it: connections, transactions, another try, and its answers told.

The one home of these for everything here that speaks to PostgreSQL in Python.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from loaders import settings
from loaders.errors import LoaderError, TerminalError, TransientError

# One load replaces its days in about a second; a longer wait means something hangs.
LOCK_TIMEOUT = "5min"
# How often a transaction is tried when PostgreSQL itself asks for another try.
TRIES = 4
RETRIED = (
    psycopg2.errors.DeadlockDetected,
    psycopg2.errors.SerializationFailure,
)

T = TypeVar("T")


def connect(application_name: str = "loaders") -> Connection:
    """Connect to the warehouse that libpq's PG* variables name.

    Raises:
        TransientError: if it cannot be reached.
        TerminalError: as `settings.check_connection`.
    """
    settings.check_connection()
    try:
        connection = psycopg2.connect(
            "", application_name=application_name, client_encoding="utf8", connect_timeout=10
        )
    except psycopg2.OperationalError as error:
        hint = "" if "PGHOST" in os.environ else "PGHOST is not set; "
        raise TransientError(f"the warehouse cannot be reached: {hint}{error}".strip()) from error
    # The locks need it: whoever waited for one has to see what the other committed. The database's
    # own default may be another.
    connection.set_session(isolation_level="READ COMMITTED")
    return connection


def clock() -> datetime:
    """Return the warehouse's own time: the clocks of several workers need not agree."""
    with explained(), transaction() as cursor:
        cursor.execute("select clock_timestamp()")
        return row(cursor)[0]  # type: ignore[no-any-return]


@contextmanager
def transaction(*, commit: bool = True) -> Iterator[Cursor]:
    """Give a cursor on a connection of its own; commit on success, roll back on any error."""
    connection = connect()
    try:
        yield connection.cursor()
        if commit:
            connection.commit()
    finally:
        connection.close()


def rows(statement: str, parameters: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Give the rows of one query as they are read, so that memory stays flat.

    Raises:
        TransientError, TerminalError: as `connect`; if the warehouse goes away or is not prepared.
    """
    with explained(), closing(connect()) as connection, connection.cursor("rows") as cursor:
        cursor.execute(statement, parameters)
        yield from cursor


def tried_again(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns; try it again where PostgreSQL asks for another try."""
    with explained():
        for number in range(1, TRIES + 1):
            try:
                return attempt()
            except RETRIED as error:
                if number == TRIES:
                    raise TransientError(f"gave up after {TRIES} tries: {error}".strip()) from error
                time.sleep(0.1 * 2**number)
    raise AssertionError("unreachable")


class _Answer(NamedTuple):
    """What it means if the SQLSTATE begins with one of `states`, and what to do, if that is known.

    `kind` says whether another try may help.
    """

    states: tuple[str, ...]
    kind: type[LoaderError]
    meaning: str
    advice: str = ""


# The first that fits is told.
_ANSWERS = (
    _Answer(
        ("57014",),
        TransientError,
        "the warehouse cancelled a statement",
        "if nobody did that by hand, the account's statement_timeout is too short for a load"
        " (alter role ... set statement_timeout)",
    ),
    _Answer(
        ("25P03", "25P04", "57P05"),
        TransientError,
        "the warehouse ended the connection",
        "the account's idle_in_transaction_session_timeout, transaction_timeout or"
        " idle_session_timeout is too short (alter role ... set ...)",
    ),
    # Also without a state: the connection broke, so there was no answer.
    _Answer(("08", "57"), TransientError, "the warehouse went away"),
    _Answer(
        ("25006",),
        TerminalError,
        "the warehouse is read-only",
        "PGHOST names a standby, or default_transaction_read_only is on",
    ),
    _Answer(("53100",), TransientError, "the warehouse's disk is full"),
    _Answer(("53",), TransientError, "the warehouse is short of memory or connections"),
    _Answer(("55P03",), TransientError, "somebody holds a lock on a table of the warehouse"),
    _Answer(("40",), TransientError, "the warehouse gave the transaction up"),
    _Answer(
        ("42P01", "42703", "3F000"), TerminalError, "the warehouse is not prepared (make warehouse)"
    ),
    _Answer(("58", "XX"), TerminalError, "the warehouse has a fault", "its server's log says more"),
    _Answer(("",), TerminalError, "the warehouse refused"),
)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the warehouse may answer at any time into a sentence."""
    try:
        yield
    except psycopg2.Error as error:
        broken = (psycopg2.OperationalError, psycopg2.InterfaceError)
        if error.pgcode is None and not (
            isinstance(error, broken) or type(error) is psycopg2.DatabaseError
        ):
            raise  # the driver's complaint about us
        raise _told(error) from error


def _told(error: psycopg2.Error) -> LoaderError:
    # Without the details, which may quote a row.
    said = (error.diag.message_primary or str(error)).strip()
    state = error.pgcode or "08"
    answer = next(answer for answer in _ANSWERS if state.startswith(answer.states))
    return answer.kind(f"{answer.meaning}: {said}{answer.advice and '; '}{answer.advice}")


def row(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row


def lock(cursor: Cursor, name: str) -> None:
    """Let one transaction at a time replace rows of the table `name`; held to its end."""
    cursor.execute("select set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
    try:
        cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (name,))
    except psycopg2.errors.LockNotAvailable as error:
        raise TransientError(f"another load has held {name} for over {LOCK_TIMEOUT}") from error

"""The warehouse for a client: connections, transactions, retries, and explained errors.

Every Python module that talks to PostgreSQL gets these from here.
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

# A load replaces its days in about a second. A much longer wait means that something hangs.
LOCK_TIMEOUT = "5min"
# How many times a transaction is tried if PostgreSQL asks for another try.
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
    # The locks need READ COMMITTED: a session that waited for a lock has to see what the other has
    # committed. The database may have another default.
    connection.set_session(isolation_level="READ COMMITTED")
    return connection


def clock() -> datetime:
    """Return the warehouse's time, because the clocks of several workers may differ."""
    with explained(), transaction() as cursor:
        cursor.execute("select clock_timestamp()")
        return row(cursor)[0]  # type: ignore[no-any-return]


@contextmanager
def transaction(*, commit: bool = True) -> Iterator[Cursor]:
    """Yield a cursor on a new connection; commit on success, roll back on any error."""
    connection = connect()
    try:
        yield connection.cursor()
        if commit:
            connection.commit()
    finally:
        connection.close()


def rows(statement: str, parameters: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of one query as they are read, so that memory does not grow.

    Raises:
        TransientError, TerminalError: as `connect`; if the warehouse goes away or is not prepared.
    """
    with explained(), closing(connect()) as connection, connection.cursor("rows") as cursor:
        cursor.execute(statement, parameters)
        yield from cursor


def tried_again(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns; call it again if PostgreSQL asks for another try."""
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
    """The meaning of a SQLSTATE that begins with one of `states`, and what to do, if known.

    `kind` says whether another try may help.
    """

    states: tuple[str, ...]
    kind: type[LoaderError]
    meaning: str
    advice: str = ""


# The first entry that fits counts.
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
    # Also errors without a state: the connection broke before there was an answer.
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
    """Turn an error that the warehouse may give at any time into a sentence."""
    try:
        yield
    except psycopg2.Error as error:
        broken = (psycopg2.OperationalError, psycopg2.InterfaceError)
        if error.pgcode is None and not (
            isinstance(error, broken) or type(error) is psycopg2.DatabaseError
        ):
            raise  # the driver's complaint about our code
        raise _told(error) from error


def _told(error: psycopg2.Error) -> LoaderError:
    # Leave out the details, which may quote a row.
    said = (error.diag.message_primary or str(error)).strip()
    state = error.pgcode or "08"
    answer = next(answer for answer in _ANSWERS if state.startswith(answer.states))
    return answer.kind(f"{answer.meaning}: {said}{answer.advice and '; '}{answer.advice}")


def row(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    assert row is not None
    return row


def lock(cursor: Cursor, name: str) -> None:
    """Let one transaction at a time replace rows of table `name`; held to the transaction's end."""
    cursor.execute("select set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
    try:
        cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (name,))
    except psycopg2.errors.LockNotAvailable as error:
        raise TransientError(f"another load has held {name} for over {LOCK_TIMEOUT}") from error

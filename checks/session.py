"""A connection for work that takes its time, whatever the server's own defaults are."""

from collections.abc import Mapping

from psycopg2.extensions import connection as Connection

from loaders.warehouse import connect

SETTINGS = {
    # The locks need it: whoever waited for one has to see what the other committed.
    "default_transaction_isolation": "read committed",
    # A database or an account may have short limits, meant for the questions of an application.
    # Between two statements of such work dbt may run for minutes.
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",  # since PostgreSQL 17
}


def open_session(
    application_name: str, settings: Mapping[str, str] | None = None, *, autocommit: bool = True
) -> Connection:
    """Connect, with these settings of PostgreSQL beside those that all such work has.

    Raises:
        TransientError: if the warehouse cannot be reached.
    """
    connection = connect(application_name)
    connection.autocommit = True
    wanted = {**SETTINGS, **(settings or {})}
    with connection.cursor() as cursor:
        cursor.execute(
            "select set_config(name, value, false)"
            " from unnest(%s, %s) as wanted (name, value) inner join pg_settings using (name)",
            (list(wanted), list(wanted.values())),
        )
    connection.autocommit = autocommit
    return connection

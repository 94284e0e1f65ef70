"""A connection for long work, independent of the defaults of server, database and account."""

from collections.abc import Mapping

from psycopg2.extensions import connection as Connection

from loaders.warehouse import connect

SETTINGS = {
    # A session that waited for a lock has to see what the other session has committed.
    "default_transaction_isolation": "read committed",
    # A database or an account may have short limits, which are meant for queries of an application.
    # During long work dbt may run for minutes between two statements.
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",  # since PostgreSQL 17
}


def open_session(
    application_name: str, settings: Mapping[str, str] | None = None, *, autocommit: bool = True
) -> Connection:
    """Connect with SETTINGS and, in addition, these settings of PostgreSQL.

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

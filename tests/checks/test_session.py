"""Long work does not fail because of defaults of a database or an account."""

from contextlib import closing

from support import DATABASE, Warehouse

from checks.session import open_session


def test_the_defaults_of_a_database_do_not_hold(empty_database: Warehouse) -> None:
    for name, value in {
        "default_transaction_isolation": "serializable",
        "statement_timeout": "7s",
        "idle_session_timeout": "7s",
        "idle_in_transaction_session_timeout": "7s",
        "transaction_timeout": "7s",
    }.items():
        empty_database.query(f"alter database {DATABASE} set {name} = '{value}'")
    for autocommit in (True, False):
        with (
            closing(open_session("test", {"lock_timeout": "3s"}, autocommit=autocommit)) as session,
            session.cursor() as cursor,
        ):
            cursor.execute("select name, setting from pg_settings where setting = '7000'")
            assert cursor.fetchall() == []
            cursor.execute("begin")
            cursor.execute("show transaction_isolation")
            assert cursor.fetchall() == [("read committed",)]
            cursor.execute("show lock_timeout")
            assert cursor.fetchall() == [("3s",)]

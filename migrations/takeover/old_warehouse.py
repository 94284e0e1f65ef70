"""The warehouse during a takeover: its catalogue, and changes that stop readers only briefly."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import quote_ident

from loaders.errors import TransientError

# How long a statement that needs a table for itself may wait: new readers queue behind it.
READERS_WAIT = "200ms"
# How long to keep trying such a statement, or to wait for another run to end.
PATIENCE_SECONDS = 600

Parameters = Sequence[Any] | Mapping[str, Any] | None


class OldWarehouse:
    """One connection in autocommit mode: every change is a transaction of its own."""

    def __init__(self, connection: Connection, say: Callable[[str], None]) -> None:
        self._connection = connection
        self.say = say
        # Counted once, because ten million rows take a while.
        self.row_count = cache(lambda table: self.value(f"select count(*) from {table}"))  # noqa: S608

    def rows(self, statement: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own; return its rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, parameters: Parameters = None) -> Any:
        """Return the one value of a query."""
        ((value,),) = self.rows(statement, parameters)
        return value

    def be_the_only_one(self, seconds: float) -> None:
        """Wait until no other takeover runs, then keep others out; give up after the time limit."""
        # Polling instead of waiting: a waiting session holds a snapshot, and CREATE INDEX
        # CONCURRENTLY waits for that snapshot to end.
        deadline = time.monotonic() + seconds
        while not self.value("select pg_try_advisory_lock(hashtext('takeover'))"):
            if time.monotonic() > deadline:
                raise TransientError("another takeover is at work here: wait for its end")
            time.sleep(0.5)

    def quoted(self, name: str) -> str:
        """Return a name that is not ours, quoted for a statement."""
        return quote_ident(name, self._connection)

    def write(self, lock: str, statement: str, parameters: Parameters = None) -> None:
        """Write rows while no run of this pipeline replaces rows of `lock`; readers pass."""
        self._committed(lock, [(statement, parameters)])

    def alter(self, table: str, *statements: str) -> None:
        """Change the catalogue by statements that read no rows; readers wait for `READERS_WAIT`."""
        self._committed(
            table,
            [
                # This lock queues, and makes autovacuum give way, without stopping readers.
                (f"lock table {table} in share update exclusive mode", None),
                ("select set_config('lock_timeout', %s, true)", (READERS_WAIT,)),
                *((statement, None) for statement in statements),
            ],
        )

    def alone(self, statement: str) -> None:
        """Run a statement outside a transaction; its lock lets readers pass."""
        try:
            self.rows(statement)
        except psycopg2.errors.LockNotAvailable as error:
            raise TransientError(
                f"others have worked without a pause for over {PATIENCE_SECONDS} s: run this again"
                f" when they have ended ({statement})"
            ) from error

    def _committed(self, lock: str, statements: Sequence[tuple[str, Parameters]]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.rows("begin")
                # The lock that loader and marts take (macro lock_mart).
                self.rows("select pg_advisory_xact_lock(hashtext(%s))", (lock,))
                for statement, parameters in statements:
                    self.rows(statement, parameters)
                self.rows("commit")
                return
            except (
                psycopg2.errors.LockNotAvailable,
                psycopg2.errors.DeadlockDetected,
            ) as error:
                self.rows("rollback")
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"{lock} was in use for over {PATIENCE_SECONDS} s"
                        f" ({self._users_of(lock)}): run this again when they have ended"
                    ) from error
            except BaseException:
                if not self._connection.closed:
                    self.rows("rollback")
                raise
            time.sleep(0.5)

    def _users_of(self, table: str) -> str:
        return self.value(  # type: ignore[no-any-return]
            """
            select coalesce(string_agg(distinct format(
                '%%s, process %%s, since %%s', application_name, pid, xact_start
            ), '; '), 'nobody now')
            from pg_locks inner join pg_stat_activity using (pid)
            where relation = cast(%s as regclass) and pid != pg_backend_pid()
            """,
            (table,),
        )

    # Changes of several steps. A killed run may have stopped after any of them.

    def add_check(self, table: str, name: str, condition: str) -> None:
        """Add a check constraint, and check the rows that are there."""
        state = self.constraint_state(table, name)
        if state is None:
            self.alter(
                table, f"alter table {table} add constraint {name} check ({condition}) not valid"
            )
        if not state:
            self.alone(f"alter table {table} validate constraint {name}")

    def add_not_null(self, table: str, column: str) -> None:
        """Make a column not null."""
        # SET NOT NULL alone would read the table and lock everybody out. With a validated check of
        # the same condition it reads nothing.
        name = f"{column}_is_known"
        self.add_check(table, name, f"{column} is not null")
        self.alter(
            table,
            f"alter table {table} alter column {column} set not null",
            f"alter table {table} drop constraint {name}",
        )

    def add_reference(self, table: str, column: str, to: str) -> None:
        """Add a foreign key on one column, and check the rows that are there."""
        name = self.constraint(table, "f", column, to=to)
        if not name:
            name = f"{table.partition('.')[2]}_{column}_fkey"
            self.alter(
                table,
                f"alter table {table} add constraint {name}"
                f" foreign key ({column}) references {to} ({column}) not valid",
            )
        if not self.constraint_state(table, name):
            self.alone(f"alter table {table} validate constraint {self.quoted(name)}")

    def add_index(self, table: str, name: str, on: str, *, unique: bool = False) -> None:
        """Add an index with this name."""
        schema = table.partition(".")[0]
        state = self.index_state(f"{schema}.{name}")
        if state is False:  # an unfinished index of a killed run
            self.alone(f"drop index concurrently {schema}.{name}")
        if not state:
            kind = "unique index" if unique else "index"
            self.alone(f"create {kind} concurrently {name} on {table} ({on})")
            # The planner has no statistics of an expression before this.
            self.alone(f"analyze {table}")

    def add_unique(self, table: str, name: str, *columns: str) -> None:
        """Add a unique constraint with an index of the same name."""
        self.add_index(table, name, ", ".join(columns), unique=True)
        self.alter(table, f"alter table {table} add constraint {name} unique using index {name}")

    # Questions to the catalogue.

    def has_table(self, table: str) -> bool:
        return self.value("select to_regclass(%s) is not null", (table,))  # type: ignore[no-any-return]

    def columns(self, table: str) -> dict[str, tuple[str, int, bool]]:
        """Return type, length and NOT NULL of every column; nothing unless it is a plain table."""
        return {
            name: (kind, length, required)
            for name, kind, length, required in self.rows(
                """
                select attname,
                    case when atttypid = cast('varchar' as regtype) then 'character varying'
                        else format_type(atttypid, atttypmod) end,
                    -- PostgreSQL counts the length word in; -1 is no limit.
                    case when atttypmod < 0 then 1000000 else atttypmod - 4 end,
                    attnotnull
                from pg_attribute inner join pg_class on pg_class.oid = attrelid
                where attrelid = to_regclass(%s) and relkind = 'r' and attnum > 0
                    and not attisdropped
                """,
                (table,),
            )
        }

    def has_default(self, table: str, column: str) -> bool:
        return self.value(  # type: ignore[no-any-return]
            "select atthasdef from pg_attribute where attrelid = to_regclass(%s) and attname = %s",
            (table, column),
        )

    def constraint(
        self, table: str, kinds: str, *columns: str, to: str | None = None
    ) -> str | None:
        """Return the name of a constraint of one of these kinds on exactly these columns.

        `to` is the table that a foreign key points to.
        """
        names = self.rows(
            """
            select conname from pg_constraint
            where conrelid = to_regclass(%s) and contype = any(%s) and (
                select array_agg(attname::text order by position)
                from unnest(conkey) with ordinality as keys (number, position)
                inner join pg_attribute on attrelid = conrelid and attnum = number
            ) = %s and (%s is null or confrelid = to_regclass(%s))
            order by conname limit 1
            """,
            (table, list(kinds), list(columns), to, to),
        )
        return names[0][0] if names else None

    def constraint_state(self, table: str, name: str) -> bool | None:
        """Return whether a constraint was checked for every row; None if there is none."""
        states = self.rows(
            "select convalidated from pg_constraint"
            " where conrelid = to_regclass(%s) and conname = %s",
            (table, name),
        )
        return states[0][0] if states else None

    def index_state(self, name: str) -> bool | None:
        """Return whether an index is complete; None if there is none."""
        states = self.rows(
            "select indisvalid from pg_index where indexrelid = to_regclass(%s)", (name,)
        )
        return states[0][0] if states else None

    def is_indexed(self, table: str, *columns: str) -> bool:
        """Return whether an index, complete and of all rows, is on exactly these columns."""
        return self.value(  # type: ignore[no-any-return]
            """
            select exists (
                select from pg_index
                where indrelid = to_regclass(%s) and indisvalid and indpred is null and array(
                    select pg_get_indexdef(indexrelid, number, true)
                    from generate_series(1, indnkeyatts) as numbers (number)
                ) = %s
            )
            """,
            (table, list(columns)),
        )

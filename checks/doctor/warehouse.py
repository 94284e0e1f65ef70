"""Checks of the warehouse itself. Each takes a cursor in a read-only transaction."""

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from checks import dbt
from checks.doctor.finding import Finding, State
from checks.doctor.surroundings import room
from checks.ledger import unbalanced
from checks.preflight import MIGRATIONS
from loaders.deliveries import INCREMENT_DAYS
from loaders.quarantine import WAITING

SUPPORTED = range(15, 19)
# Of clocks that differ more than that, the schedule's midnight is another one.
SKEW, LARGE_SKEW = timedelta(seconds=5), timedelta(minutes=5)
# So long a run waits for another one: whoever holds a lock for longer keeps runs from their work.
LONG_HELD = timedelta(minutes=10)
# A run that has loaded a day is building its marts meanwhile.
BUILDING = timedelta(hours=1)
# The hour, in UTC, by which the day before has come where all is well.
DUE_HOUR = 6
# Fewer rejected lines in a week are chance.
GROWING_LINES = 20
# What is named of a longer list.
SHOWN = 5
TABLES = ("user_order_log", "delivery", "delivery_day", "quarantine")
# Taken under these names by loader, migrations and proof; the models' are those of the marts.
LOCKS = ("staging.user_order_log", "migrations", "make prove")
# The ids of weeks and months.
FORMS = {"weekly": "%G-W%V", "monthly": "%Y-%m"}


def server(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """The server's version, whether the way to it is encrypted, and its clock."""
    before = datetime.now(UTC)
    clock, number, version, account, database, address, encrypted = _row(
        cursor,
        """
        select clock_timestamp(), current_setting('server_version_num')::integer / 10000,
            current_setting('server_version'), current_user::text, current_database()::text,
            host(inet_server_addr()),
            coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)
        """,
    )
    after = datetime.now(UTC)
    text = f"PostgreSQL {version}, database {database} as {account}"
    if number not in SUPPORTED:
        state = State.BROKEN if number < SUPPORTED.start else State.LOOK
        yield Finding("server", state, f"{text}: PostgreSQL 15 to 18 is supported")
    elif not encrypted and address not in (None, "127.0.0.1", "::1"):
        text += f", without TLS to {address}"
        yield Finding("server", State.LOOK, text, "export PGSSLMODE=verify-full")
    else:
        yield Finding("server", State.WELL, text)
    # Its clock was read somewhere between the two looks at ours.
    skew = max(before - clock, clock - after, timedelta())
    state = State.BROKEN if skew > LARGE_SKEW else State.LOOK if skew > SKEW else State.WELL
    text = f"{skew.total_seconds():.1f} s between this machine's and the server's"
    yield Finding("clock", state, text, "" if state is State.WELL else "timedatectl status")


def rights(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """Whether loader and dbt may do what they do; both are this account unless DBT_USER is set."""
    (account,) = _row(cursor, "select current_user::text")
    builder = os.environ.get("DBT_USER") or account
    lacking = {
        "the loader": _lacking(cursor, account, LOADER_RIGHTS),
        "dbt": _lacking(cursor, builder, BUILDER_RIGHTS),
    }
    found = [f"{what}: {', '.join(rights)}" for what, rights in lacking.items() if rights]
    if builder != account and (refused := _refused_login(builder)):
        found.append(refused)
    if not found:
        who = account if builder == account else f"{account} and {builder}"
        yield Finding("rights", State.WELL, f"{who} may load and build")
        return
    # Where each program has its own settings, an account has the rights of one of them.
    one_of_two = builder == account and not all(lacking.values())
    text = "; ".join(found) + (": is DBT_USER set elsewhere?" if one_of_two else "")
    yield Finding("rights", State.LOOK if one_of_two else State.BROKEN, text, "make roles")


LOADER_RIGHTS = """
    select format('%%s lacks %%s on staging.%%s', %(account)s, wanted, name)
    from unnest(%(tables)s) as tables (name)
    cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as rights (wanted)
    where not has_schema_privilege(%(account)s, 'staging', 'USAGE')
        or not has_table_privilege(%(account)s, 'staging.' || name, wanted)
    order by name, wanted
"""
BUILDER_RIGHTS = """
    select format('%%s lacks SELECT on staging.%%s', %(account)s, name)
    from unnest(%(tables)s) as tables (name)
    where not has_schema_privilege(%(account)s, 'staging', 'USAGE')
        or not has_table_privilege(%(account)s, 'staging.' || name, 'SELECT')
    union all
    -- To add a column or an index one has to own the table.
    select format('%%s does not own mart.%%I', %(account)s, relname)
    from pg_class
    where relnamespace = to_regnamespace('mart') and relkind = 'r'
        and not pg_has_role(%(account)s, relowner, 'USAGE')
    order by 1
"""


def _lacking(cursor: Cursor, account: str, query: str) -> list[str]:
    cursor.execute(query, {"account": account, "tables": list(TABLES)})
    return _some([text for (text,) in cursor.fetchall()])


def _refused_login(account: str) -> str:
    """What keeps dbt's own account from connecting, if anything does."""
    password = os.environ.get("DBT_ENV_SECRET_PGPASSWORD")
    try:
        psycopg2.connect("", user=account, password=password, connect_timeout=10).close()
    except psycopg2.OperationalError as error:
        return f"{account} cannot connect: {' '.join(str(error).split())}"
    return ""


def migrations(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """The migrations of this code beside the last one that the database has."""
    known = sorted(file.name[:4] for file in MIGRATIONS.glob("[0-9]*.py"))
    cursor.execute("select version_num from staging.alembic_version")
    applied = [revision for (revision,) in cursor.fetchall()]
    if len(applied) != 1 or applied[0] not in known:
        text = f"{', '.join(applied) or 'none'} is not of this code: is a newer one in use?"
        yield Finding("migrations", State.BROKEN, text, "git pull")
    elif pending := [revision for revision in known if revision > applied[0]]:
        text = f"pending: {', '.join(pending)}"
        yield Finding("migrations", State.BROKEN, text, "alembic upgrade head")
    else:
        yield Finding("migrations", State.WELL, f"all applied, up to {applied[0]}")


def ledger(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """Whether staging holds what the ledger says."""
    if sentences := unbalanced(cursor):
        yield Finding("ledger", State.BROKEN, "; ".join(_some(sentences)), "make prove")
    else:
        yield Finding("ledger", State.WELL, "balances")


def days(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """Days missing between the first and the last, and days that are due and have not come."""
    cursor.execute("select min(day), max(day), count(*) from staging.delivery_day")
    ((first, last, count),) = cursor.fetchall()
    if first is None:
        yield Finding("days", State.LOOK, "none was delivered yet", "python -m loaders history")
        return
    today = today or _today(cursor)
    cursor.execute(
        "select cast(day as date) from generate_series(%s::timestamp, %s, '1 day') as days (day)"
        " except select day from staging.delivery_day order by 1",
        (first, last),
    )
    if missing := [day for (day,) in cursor.fetchall()]:
        text = f"{len(missing)} missing between {first} and {last}: {_listed(missing)}"
        yield Finding("days", State.LOOK, text, _load(missing[-1], today))
    else:
        yield Finding("days", State.WELL, f"{count} from {first} to {last}, none missing")
    if (late := (today - last).days - 1) > 0:
        state = State.BROKEN if late > 1 else State.LOOK
        due = last + timedelta(days=1)
        text = f"{late} due and not here: {due}{f' to {today - timedelta(days=1)}' * (late > 1)}"
        yield Finding("due", state, text, _load(due, today))
    else:
        yield Finding("due", State.WELL, f"{last} is here")


def _today(cursor: Cursor) -> date:
    """The day whose yesterday is due, by the warehouse's clock."""
    (clock,) = _row(cursor, "select clock_timestamp()")
    moment: datetime = clock.astimezone(UTC) - timedelta(hours=DUE_HOUR)
    return moment.date()


def _load(day: date, today: date) -> str:
    if (today - day).days > INCREMENT_DAYS:
        return "python -m loaders history"
    return f"python -m loaders increment --date {day} && dbt run --vars '{{ds: {day}}}'"


def marts(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """Whether every mart is there."""
    names = [mart.name for mart in _marts()]
    if not names:
        yield Finding("marts", State.NOT_LOOKED_AT, "the manifest that names them is not there")
        return
    cursor.execute(
        "select name from unnest(%s) as marts (name)"
        " where to_regclass(format('mart.%%I', name)) is null",
        (names,),
    )
    if absent := [name for (name,) in cursor.fetchall()]:
        text = f"not there: {', '.join(absent)}"
        yield Finding("marts", State.BROKEN, text, "make warehouse")
    else:
        yield Finding("marts", State.WELL, f"all {len(names)} are there")


def freshness(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """Marts that end before the order lines do, and days that were loaded and not built."""
    cursor.execute(UNBUILT, {"building": BUILDING})
    if unbuilt := [day for (day,) in cursor.fetchall()]:
        text = f"{len(unbuilt)} days loaded and not built: {_listed(unbuilt)}"
        yield Finding("freshness", State.LOOK, text, _build(unbuilt))
    cursor.execute(LAST_DAY, {"building": BUILDING})
    found = cursor.fetchall()
    if not found:
        if not unbuilt:
            yield Finding("freshness", State.WELL, "no order lines that were due to be built")
        return
    ((last,),) = found
    # The log of changes is as old as the last change.
    ends = {mart.name: _end(cursor, mart, last) for mart in _marts() if mart.key}
    behind = {name: end for name, end in ends.items() if end is not None}
    for name, end in behind.items():
        text = f"ends with {end}, staging with {last}"
        yield Finding(f"mart.{name}", State.LOOK, text, _build([last]))
    if not behind and not unbuilt:
        yield Finding("freshness", State.WELL, f"every mart holds {last}, the last of staging")


UNBUILT = """
    select day
    from staging.delivery_day
    inner join staging.delivery using (delivery_id)
    left join mart.f_delivery_day on date_id = cast(to_char(day, 'YYYYMMDD') as integer)
    where finished_at < clock_timestamp() - %(building)s
        and (
            f_delivery_day.delivery_id is distinct from delivery_day.delivery_id
            -- Rejected lines were replayed since.
            or loaded_count != loaded
        )
    order by day
"""
LAST_DAY = """
    select day
    from staging.delivery_day
    inner join staging.delivery using (delivery_id)
    where finished_at < clock_timestamp() - %(building)s
        and exists (select from staging.user_order_log where cast(date_time as date) = day)
    order by day desc
    limit 1
"""


def _end(cursor: Cursor, mart: dbt.Mart, last: date) -> str | None:
    """Where a mart ends, if that is before the day `last`."""

    def maximum(column: str, condition: str = "true") -> Any:
        cursor.execute(
            sql.SQL("select max({}) from mart.{} where {}").format(
                sql.Identifier(column), sql.Identifier(mart.name), sql.SQL(condition)
            )
        )
        ((value,),) = cursor.fetchall()
        return value

    if "period_id" in mart.columns:
        cursor.execute(
            sql.SQL("select period_name, max(period_id) from mart.{} group by 1").format(
                sql.Identifier(mart.name)
            )
        )
        ends = dict(cursor.fetchall())
        return next(
            (end for name, end in ends.items() if end < last.strftime(FORMS[name])),
            None if ends else "nothing",
        )
    if "date_id" in mart.columns:
        end = maximum("date_id")
        return None if end and end >= int(f"{last:%Y%m%d}") else str(end or "nothing")
    end = maximum("latest_order_date")
    return None if end and end >= last else str(end or "nothing")


def _build(days: Sequence[date]) -> str:
    first, last = days[0], days[-1]
    window = f"ds: {first}" if first == last else f"ds_start: {first}, ds_end: {last}"
    return f"dbt run --vars '{{{window}}}'"


def refused(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """Deliveries that were refused, and whose days have not come in another way."""
    cursor.execute(
        "select delivery_id, kind, first_day, last_day from staging.delivery"  # noqa: S608
        f" where {WAITING} order by delivery_id desc"
    )
    waiting = [
        f"delivery {number} ({kind} {first}{f' to {last}' if kind == 'history' else ''})"
        for number, kind, first, last in cursor.fetchall()
    ]
    if waiting:
        text = f"{len(waiting)} waiting: {', '.join(_some(waiting))}"
        yield Finding("refused", State.LOOK, text, "python -m loaders quarantine list")
    else:
        yield Finding("refused", State.WELL, "no delivery waits")


def quarantine(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """Rejected lines of the last seven days beside those of the seven before."""
    total, lately, before = _row(
        cursor,
        """
        select
            coalesce(sum(rejected), 0),
            coalesce(sum(rejected) filter (where age < interval '7 days'), 0),
            coalesce(sum(rejected) filter (
                where age between interval '7 days' and interval '14 days'
            ), 0)
        from (
            select rejected, clock_timestamp() - finished_at as age from staging.delivery
        ) as deliveries
        """,
    )
    text = f"{total} lines, {lately} of the last 7 days, {before} of the 7 before"
    if lately >= GROWING_LINES and lately > 2 * before:
        yield Finding("quarantine", State.LOOK, text, "python -m loaders quarantine list")
    else:
        yield Finding("quarantine", State.WELL, text)


def locks(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """Sessions that have held a lock of ours, or a change of a table of ours, for long."""
    names = [*LOCKS, *(f"mart.{mart.name}" for mart in _marts())]
    cursor.execute(HELD, {"names": names, "long": LONG_HELD})
    held = cursor.fetchall()
    for pid, program, account, address, activity, since, names in held:
        if since is None:
            text = (
                f"{', '.join(_some(names))} held by process {pid} of {account}, which is not ours"
            )
            look = "grant pg_monitor to this account"
            yield Finding("locks", State.NOT_LOOKED_AT, f"{text} to look at: {look}")
            continue
        idle = activity.startswith("idle")
        text = (
            f"{', '.join(_some(names))} held since {since:%Y-%m-%d %H:%M}"
            f" by {program or 'a program'} of {account} on {address or 'the same machine'},"
            f" process {pid}: {activity}"
        )
        # What does nothing will not end by itself.
        state = State.BROKEN if idle else State.LOOK
        yield Finding("locks", state, text, f"psql -c 'select pg_terminate_backend({pid})'")
    if not held:
        minutes = LONG_HELD.total_seconds() / 60
        yield Finding("locks", State.WELL, f"none held for over {minutes:g} minutes")


HELD = """
    with held as (
        select pid, name
        from pg_locks
        inner join unnest(%(names)s) as names (name)
            -- An advisory key of 64 bits shows as its two halves.
            on classid::bigint << 32 | objid::bigint = hashtext(name)::bigint
        where locktype = 'advisory' and objsubid = 1 and granted
            and database = (select oid from pg_database where datname = current_database())
        union
        select pid, format('%%s.%%s', relnamespace::regnamespace, relname)
        from pg_locks
        inner join pg_class on pg_class.oid = relation
        where locktype = 'relation' and granted and mode ~ 'Exclusive' and relkind = 'r'
            and database = (select oid from pg_database where datname = current_database())
            and relnamespace in (to_regnamespace('staging'), to_regnamespace('mart'))
    )
    select pid, application_name, usename::text, host(client_addr), state,
        xact_start, array_agg(name order by name)
    from held inner join pg_stat_activity using (pid)
    -- Unknown of the sessions of other accounts, for who may not look at them.
    where xact_start < clock_timestamp() - %(long)s or xact_start is null and state is null
    group by 1, 2, 3, 4, 5, 6
    order by xact_start
"""


def disk(cursor: Cursor, today: date | None) -> Iterator[Finding]:
    """Room on the server's disk, where that is this machine and may be looked at."""
    (size,) = _row(cursor, "select pg_database_size(current_database())")
    cursor.execute("select setting from pg_settings where name = 'data_directory'")
    folder = Path(next((setting for (setting,) in cursor.fetchall()), None) or "/nonexistent")
    known = f"the database takes {size / 2**30:.1f} GiB"
    try:
        here = folder.exists()
    except PermissionError:
        here = False
    if here:
        found = room("disk", [folder])
        yield Finding(found.check, found.state, f"{known}; {found.text}", found.command)
    else:
        text = f"{known}; where it keeps them is another machine, or for members of pg_monitor"
        yield Finding("disk", State.NOT_LOOKED_AT, text)


def _marts() -> tuple[dbt.Mart, ...]:
    """As the manifest has them, even an old one: to write a new one is not for who only looks."""
    return dbt.marts_of(dbt.manifest()) if dbt.manifest().exists() else ()


def _row(cursor: Cursor, query: str) -> tuple[Any, ...]:
    cursor.execute(query)
    (row,) = cursor.fetchall()
    return row


def _some(texts: Sequence[str]) -> list[str]:
    more = len(texts) - SHOWN
    return [*texts[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _listed(days: Sequence[date]) -> str:
    return ", ".join(_some([str(day) for day in days]))

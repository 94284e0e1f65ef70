"""Measures how long readers wait during a takeover; the figures are in docs/takeover.md.

It makes an old warehouse with SQL, reads from its tables all the time during the takeover, and
reports the slowest answer and the longest time for which a lock stopped readers. 10 million rows
take about 10 GB of disk.
"""

import contextlib
import subprocess
import sys
import threading
import time

from bench.measure import ROOT, Sample, Server, fresh_server, say, scratch
from local.postgres import EmbeddedPostgres, connect

OLD_SCHEMA = ROOT / "tests" / "migrations" / "takeover" / "old_schema.sql"
# Two years of days. As in a shop, there are few items and cities, and many customers.
ROWS = """
    insert into mart.d_calendar
    select to_char(d, 'YYYYMMDD')::int, d, extract(epoch from d), to_char(d, 'FMDDth'),
        to_char(d, 'FMDay'), extract(isodow from d), extract(day from d), 1, extract(doy from d),
        to_char(d, 'W')::int, extract(week from d), to_char(d, 'IYYY-"W"IW-ID'),
        extract(month from d), to_char(d, 'FMMonth'), to_char(d, 'Mon'), extract(quarter from d),
        'First', extract(year from d), d, d, d, d, d, d, d, d, to_char(d, 'MMYYYY'),
        to_char(d, 'MMDDYYYY'), extract(isodow from d) > 5
    from generate_series(timestamp '2020-01-01', '2029-12-31', '1 day') as days (d);

    insert into staging.user_order_log
    select md5(n::text), timestamp '2022-01-01' + n %% 730 * interval '1 day', n %% 3, 'city',
        (n::bigint * 7919) %% 100000, 'first', 'last', n %% 12, 'item', n %% 5 + 1,
        (n %% 5 + 1) * 90
    from generate_series(1, %(rows)s) as lines (n) order by n %% 730, n;

    insert into mart.d_item (item_id, item_name)
    select distinct item_id, item_name from staging.user_order_log;
    insert into mart.d_city (city_id, city_name)
    select distinct city_id, city_name from staging.user_order_log;
    insert into mart.d_customer (customer_id, first_name, last_name, city_id)
    select distinct on (customer_id) customer_id, first_name, last_name, city_id
    from staging.user_order_log;

    -- Checked at once afterwards: row by row it would take most of the time.
    alter table mart.f_sales
    drop constraint f_sales_date_id_fkey,
    drop constraint f_sales_item_id_fkey,
    drop constraint f_sales_customer_id_fkey;
    insert into mart.f_sales (date_id, item_id, customer_id, city_id, quantity, payment_amount)
    select to_char(date_time, 'YYYYMMDD')::int, item_id, customer_id, city_id, quantity,
        payment_amount
    from staging.user_order_log;
    alter table mart.f_sales
    add foreign key (date_id) references mart.d_calendar,
    add foreign key (item_id) references mart.d_item (item_id),
    add foreign key (customer_id) references mart.d_customer (customer_id);
"""
READS = {
    "mart.f_sales": "select sum(payment_amount) from mart.f_sales where date_id = 20230214",
    "staging.user_order_log": "select * from staging.user_order_log where customer_id = 4711",
    "mart.d_customer": "select * from mart.d_customer where customer_id = 4711",
    "mart.d_city": "select * from mart.d_city",
}
# Locks that stop a reader.
LOCKS = """
    select relation::regclass::text, virtualtransaction from pg_locks
    where mode = 'AccessExclusiveLock' and granted and locktype = 'relation'
        and relation in (
            'mart.f_sales'::regclass, 'staging.user_order_log'::regclass, 'mart.d_city'::regclass,
            'mart.d_item'::regclass, 'mart.d_customer'::regclass, 'mart.d_calendar'::regclass
        )
"""


def measure_takeover(*, quick: bool, rounds: int) -> dict[str, list[Sample]]:
    """Take over, once, a warehouse of 10 million order lines and as many sales."""
    with scratch() as folder, fresh_server(folder) as server:
        return {"takeover": [_measured(server, 20_000 if quick else 10_000_000)]}


def _measured(server: Server, rows: int) -> Sample:
    postgres = server.postgres
    run(postgres, OLD_SCHEMA.read_text())
    started = time.monotonic()
    run(postgres, ROWS, {"rows": rows})
    for table in ("staging.user_order_log", "mart.f_sales"):
        run(postgres, f"vacuum (analyze) {table}")
    say(f"{rows:,} rows made in {time.monotonic() - started:.0f} s; {sizes(postgres)}")

    stop = threading.Event()
    slowest: dict[str, float] = {}
    reads: dict[str, int] = {}
    held: dict[str, float] = {}
    threads = [
        threading.Thread(target=keep_reading, args=(postgres, table, stop, slowest, reads))
        for table in READS
    ]
    threads.append(threading.Thread(target=watch_locks, args=(postgres, stop, held)))
    for thread in threads:
        thread.start()
    try:
        time.sleep(5)
        calm = dict(slowest)
        slowest.clear()
        sample = _take_over(server)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    say(f"afterwards: {sizes(postgres)}")
    for table in READS:
        say(
            f"{table}: {reads[table]:,} reads, the slowest {slowest[table] * 1000:.0f} ms"
            f" (before the takeover {calm[table] * 1000:.0f} ms)"
        )
    say("longest an access exclusive lock was seen held, by table:")
    for table, seconds in held.items():
        say(f"  {table}: {seconds * 1000:.0f} ms")
    return sample


def _take_over(server: Server) -> Sample:
    """Take the warehouse over, printing times; return the seconds, without CPU."""
    before, started = 0.0, time.monotonic()
    command = [sys.executable, "-u", "-m", "migrations", "takeover"]
    env = server.env(server.postgres.env()["PGDATABASE"])
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as takeover:
        assert takeover.stdout
        for line in takeover.stdout:
            now = time.monotonic() - started
            say(f"{now:7.1f} s (+{now - before:.1f})  {line.rstrip()}")
            before = now
    if takeover.returncode:
        raise subprocess.CalledProcessError(takeover.returncode, command)
    return Sample(time.monotonic() - started, 0)


def run(server: EmbeddedPostgres, statement: str, parameters: object = None) -> None:
    with contextlib.closing(connect(server.env())) as connection:
        connection.autocommit = True
        connection.cursor().execute(statement, parameters)  # type: ignore[arg-type]


def sizes(server: EmbeddedPostgres) -> str:
    with contextlib.closing(connect(server.env())) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select format('%s %s MB', t, pg_total_relation_size(t::regclass) / 1000000)"
            " from unnest(array['staging.user_order_log', 'mart.f_sales']) as t"
        )
        return ", ".join(text for (text,) in cursor.fetchall())


def keep_reading(
    server: EmbeddedPostgres,
    table: str,
    stop: threading.Event,
    slowest: dict[str, float],
    reads: dict[str, int],
) -> None:
    with contextlib.closing(connect(server.env())) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while not stop.is_set():
            started = time.monotonic()
            cursor.execute(READS[table])
            slowest[table] = max(slowest.get(table, 0), time.monotonic() - started)
            reads[table] = reads.get(table, 0) + 1
            time.sleep(0.02)


def watch_locks(server: EmbeddedPostgres, stop: threading.Event, held: dict[str, float]) -> None:
    since: dict[tuple[str, str], float] = {}
    with contextlib.closing(connect(server.env())) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while not stop.is_set():
            cursor.execute(LOCKS)
            now, seen = time.monotonic(), set(cursor.fetchall())
            since = {lock: since.get(lock, now) for lock in seen}
            for (table, _), first in since.items():
                held[table] = max(held.get(table, 0), now - first)
            time.sleep(0.002)

"""Landing a file of order lines, beside psql's \\copy and what else loads files; and a dirty one.

python -m bench.landing FILE FIRST_DAY LAST_DAY     # one landing, as measured here
"""

import sys
from datetime import date
from functools import partial
from pathlib import Path

from bench.data import HEADER, OrdersFile, write_orders
from bench.measure import Sample, Server, Side, fresh_server, own_work, say, scratch, take_turns
from bench.peers import TABLE, Peers
from loaders import landing
from loaders.deliveries import Delivery
from loaders.order_file import OrderFile
from loaders.warehouse import clock

DATABASE = "landing"
DAYS = 400
SIZES, QUICK_SIZES = (1_000_000, 10_000_000), (2_000, 4_000)
REPEATED_SHARE, REJECTED_SHARE = 0.6, 0.01
STAGING = "staging.user_order_log, staging.delivery, staging.delivery_day, staging.quarantine"


def measure_landing(*, quick: bool, rounds: int) -> dict[str, list[Sample]]:
    """Measure files of 1 and 10 million lines. The slow peers load only the smaller one, in two
    rounds: pandas would need 29 GB for the larger one."""
    sizes = QUICK_SIZES if quick else SIZES
    samples: dict[str, list[Sample]] = {}
    with scratch() as folder, fresh_server(folder) as server:
        prepare(server, DATABASE)
        server.query(DATABASE, TABLE.format(name="copied"))
        peers = Peers(server, DATABASE, folder)
        peers.prepare(write_orders(folder / "orders.csv", 1, 100).path)
        for lines in sizes:
            file = write_orders(folder / "orders.csv", DAYS, lines // DAYS)
            say(f"Landing {file.lines:,} lines, {file.path.stat().st_size / 1e6:,.0f} MB")
            sides = _sides(server, peers if lines == sizes[0] else None, file)
            taken = take_turns(sides, rounds if lines == sizes[0] else min(rounds, 3))
            samples |= {f"{name}@{lines}": side for name, side in taken.items()}
    return samples


def _sides(server: Server, peers: Peers | None, file: OrdersFile) -> dict[str, Side]:
    sides = {
        "copy": Side(lambda _: copy(server, DATABASE, file)),
        "ours": Side(lambda _: land(server, DATABASE, file)),
    }
    if peers:
        for name in peers.NAMES:
            load = partial(peers.load, name, file)
            sides[name] = Side(load, rounds=2)
    return sides


def measure_dirty(*, quick: bool, rounds: int) -> dict[str, list[Sample]]:
    """Measure a dirty file, and a clean one with as many lines."""
    lines = 20_000 if quick else SIZES[0]
    with scratch() as folder, fresh_server(folder) as server:
        prepare(server, DATABASE)
        clean = write_orders(folder / "clean.csv", DAYS, lines // DAYS)
        dirty = write_orders(
            folder / "dirty.csv",
            DAYS,
            lines // DAYS,
            repeated_share=REPEATED_SHARE,
            rejected_share=REJECTED_SHARE,
        )
        say(f"dirty file: {dirty.repeated:,} repeated, {dirty.rejected.total():,} rejected lines")
        return take_turns(
            {
                "clean": Side(lambda _: land(server, DATABASE, clean)),
                "dirty": Side(lambda _: land(server, DATABASE, dirty)),
            },
            rounds,
        )


def prepare(server: Server, database: str) -> None:
    """Make a database with the loader's empty tables."""
    server.postgres.create_database(database)
    server.program([Path(sys.executable).with_name("alembic"), "upgrade", "head"], database)


def land(server: Server, database: str, file: OrdersFile) -> Sample:
    """Land the file in empty tables in a separate process; check the result."""
    server.query(database, f"truncate {STAGING}")
    sample = server.worker(command(file), database)
    counts = server.query(database, "select received, repeated, rejected from staging.delivery")
    expected = [(file.lines, file.repeated, file.rejected.total())]
    if counts != expected:
        raise AssertionError(f"{file.path.name} was landed as {counts}, not as {expected}")
    return sample


def command(file: OrdersFile) -> list[str | Path]:
    """Return the command line that lands the file."""
    days = (str(file.first_day), str(file.last_day))
    return [sys.executable, "-m", "bench.landing", file.path, *days]


def copy(server: Server, database: str, file: OrdersFile) -> Sample:
    """Copy the file, as it is, into a table like the loader's."""
    server.query(database, "truncate beside.copied")
    copied = f"\\copy beside.copied ({HEADER}) from '{file.path}' with (format csv, header)"
    return server.program(server.psql("-c", copied), database)


def main(path: Path, first_day: date, last_day: date) -> None:
    """Land a file as a history of these days, and print what that took."""
    delivery = Delivery("history", "bench", None, first_day, last_day, str(path))
    with own_work():
        landing.land(
            delivery,
            lambda: OrderFile(path, first_day, last_day),
            source_file=path.name,
            sha256="0" * 64,
            started_at=clock(),
            max_rejected_share=0.05,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(date.fromisoformat, sys.argv[2:4]))

"""Other ways to load a file into PostgreSQL: pandas, as in the old DAG, and dlt.

They are installed in a separate environment, and run in it:

    python -m bench.peers dlt_merge FILE
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.data import HEADER, OrdersFile
from bench.measure import ROOT, Sample, Server, own_work

ENVIRONMENT = ROOT / ".local" / "bench"
UV = ROOT / ".local" / "tools" / "bin" / "uv"

# Like the loader's table, with its indexes and checks, plus the one column that only a file has.
TABLE = """
    create schema if not exists beside;
    create table beside.{name} (like staging.user_order_log including all);
    alter table beside.{name} add column id bigint;
"""
# The same indexes for a table that dlt has made.
INDEXES = """
    create {unique} index on {name} (cast(date_time as date), uniq_id);
    create index on {name} (customer_id);
    create index on {name} (item_id);
    truncate {name};
"""


class Peers:
    """The peers, ready to load into `database`, which has the loader's tables."""

    NAMES = (
        # pandas inserts the columns of the frame as they were read.
        "pandas",
        # pyarrow reads and types the rows, and writes CSV for COPY: the way that dlt documents as
        # fast.
        "dlt_append",
        # The same into a staging table, then each key replaced and kept once: the nearest to our
        # landing.
        "dlt_merge",
        # dlt hands the file to COPY without reading it.
        "dlt_import",
    )

    def __init__(self, server: Server, database: str, folder: Path) -> None:
        self._server, self._database, self._folder = server, database, folder
        subprocess.run(
            [
                UV,
                "sync",
                "--quiet",
                "--frozen",
                "--only-group",
                "bench",
                "--python",
                sys.executable,
            ],
            cwd=ROOT,
            env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT)},
            check=True,
        )

    def prepare(self, sample: Path) -> None:
        """Make the tables. dlt makes its own ones from the rows of a small file."""
        self._server.query(self._database, TABLE.format(name="pandas"))
        for name in self.NAMES[1:]:
            self._run(name, sample)
            # dlt does not know the keys, so a file that it appends may repeat them.
            unique = "unique" if name == "dlt_merge" else ""
            self._server.query(self._database, INDEXES.format(name=f"{name}.orders", unique=unique))

    def load(self, name: str, file: OrdersFile, _round: int) -> Sample:
        """Load the file into an empty table; check that all its lines have arrived."""
        table = "beside.pandas" if name == "pandas" else f"{name}.orders"
        self._server.query(self._database, f"truncate {table}")
        sample = self._run(name, file.path)
        ((count,),) = self._server.query(self._database, f"select count(*) from {table}")
        if count != file.lines:
            raise AssertionError(f"{name} has loaded {count} of {file.lines} lines")
        return sample

    def _run(self, name: str, path: Path) -> Sample:
        return self._server.worker(
            [ENVIRONMENT / "bin" / "python", "-m", "bench.peers", name, path],
            self._database,
            DLT_DATA_DIR=str(self._folder / "dlt"),
            RUNTIME__DLTHUB_TELEMETRY="false",
        )


def load_by_pandas(path: Path) -> None:
    import pandas as pd
    import sqlalchemy

    engine = sqlalchemy.create_engine(_address("postgresql+psycopg2"))
    with own_work():
        frame = pd.read_csv(path)
        frame.to_sql("pandas", engine, schema="beside", if_exists="append", index=False)


def load_by_dlt(name: str, path: Path) -> None:
    import dlt
    import pyarrow as pa
    from pyarrow import csv

    types = {
        "date_time": pa.timestamp("us"),
        "payment_amount": pa.decimal128(10, 2),
        **dict.fromkeys(("id", "city_id", "customer_id", "item_id", "quantity"), pa.int64()),
    }

    def tables() -> Iterator[Any]:
        reading = csv.ReadOptions(block_size=16 * 2**20)
        converting = csv.ConvertOptions(column_types=types)
        with csv.open_csv(path, read_options=reading, convert_options=converting) as batches:
            for batch in batches:
                yield pa.Table.from_batches([batch])

    def file() -> Iterator[Any]:
        kinds = dict.fromkeys(HEADER.split(","), "text") | dict.fromkeys(types, "bigint")
        kinds |= {"date_time": "timestamp", "payment_amount": "decimal"}
        columns: list[dict[str, Any]] = [
            {"name": name, "data_type": kind, "timezone": False} for name, kind in kinds.items()
        ]
        yield dlt.mark.with_file_import(
            str(path), "csv", 0, hints=dlt.mark.make_hints(columns=columns)
        )

    resource = dlt.resource(
        file if name == "dlt_import" else tables,
        name="orders",
        primary_key=("date_time", "uniq_id") if name == "dlt_merge" else None,
        write_disposition="merge" if name == "dlt_merge" else "append",
        columns={"date_time": {"data_type": "timestamp", "timezone": False}},
    )
    pipeline = dlt.pipeline(
        name,
        destination=dlt.destinations.postgres(_address("postgresql")),
        dataset_name=name,
    )
    with own_work():
        pipeline.run(resource, loader_file_format="csv").raise_on_failed_jobs()


def _address(driver: str) -> str:
    pg = {
        name: os.environ[f"PG{name}"] for name in ("USER", "PASSWORD", "HOST", "PORT", "DATABASE")
    }
    return f"{driver}://{pg['USER']}:{pg['PASSWORD']}@{pg['HOST']}:{pg['PORT']}/{pg['DATABASE']}"


if __name__ == "__main__":
    name, path = sys.argv[1], Path(sys.argv[2])
    if name == "pandas":
        load_by_pandas(path)
    else:
        load_by_dlt(name, path)

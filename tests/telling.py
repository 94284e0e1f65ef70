"""What Airflow has written anywhere, searched for what it must not tell.

Logs of its parts and of tasks, and its whole database: XComs, rendered templates, parameters, notes
and the audit log among them.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from local.airflow_parts import DATABASE as METADATA
from local.postgres import connect
from local.stack import Stack

_NAMES = "select distinct unnest(array[first_name, last_name]) from mart.d_customer"


def secrets_of(stack: Stack) -> dict[str, str]:
    """Every secret of this Airflow, by what it is."""
    env = stack.airflow.environment(schedule=False)
    secret = ("PASSWORD", "SECRET", "FERNET", "API_KEY")
    found = {
        name: value
        for name, value in env.items()
        if any(word in name for word in secret) and not name.endswith(("_FILE", "_URL"))
    }
    return {**found, "password of the UI": stack.airflow.password}


def customers_of(warehouse: Mapping[str, str]) -> list[str]:
    """Every first and last name that the marts hold."""
    with closing(connect(warehouse)) as connection, connection.cursor() as cursor:
        cursor.execute(_NAMES)
        return [name for (name,) in cursor.fetchall() if name]


def assert_nothing_is_told(
    stack: Stack, folders: Iterable[Path], more_secrets: Mapping[str, str] | None = None
) -> None:
    """Search the files below these folders and Airflow's database."""
    secrets = {**secrets_of(stack), **(more_secrets or {})}
    names = customers_of(stack.settings.warehouse)
    assert len(secrets) > 4 and names
    # Whole words: a short name may be a part of any other one.
    told_names = re.compile(rf"\b({'|'.join(map(re.escape, sorted(names)))})\b")
    sources = [*_files(folders), ("Airflow's database", _dump(stack))]
    assert len(sources) > 4
    for source, text in sources:
        for what, secret in secrets.items():
            assert secret not in text, f"{what} in {source}"
        if found := told_names.search(text) or told_names.search(_unescaped(text)):
            around = found.string[max(0, found.start() - 100) : found.end() + 100]
            raise AssertionError(f"a customer's name in {source}: {told_names.sub('***', around)}")


def _files(folders: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for folder in folders:
        files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
        assert files, f"nothing was written to {folder}"
        for path in files:
            yield str(path), path.read_text(errors="replace")


def _dump(stack: Stack) -> str:
    postgres = stack.settings.postgres
    done = subprocess.run(
        [postgres.bin_dir / "pg_dump", "--data-only", "--exclude-table-data=serialized_dag"],
        env=postgres.env(METADATA), capture_output=True, text=True, check=True,
    )  # fmt: skip
    # That it holds what runs leave behind, XComs among it.
    assert re.search(r"^COPY public\.xcom .*\n(?!\\\.)", done.stdout, re.M)
    return done.stdout


def _unescaped(text: str) -> str:
    r"""Read \u0412 as JSON means it."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda m: str(json.loads(f'"\\u{m[1]}"')), text)

"""Runs dbt as a separate program, and reads the marts from its manifest."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from loaders.errors import TerminalError

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "dbt_project"
# The schema of the marts. A run may name another one, to compare with.
SCHEMA = "mart"


@dataclass(frozen=True)
class Reference:
    """A foreign key of a mart: `columns` here, `to_columns` of the mart `to`."""

    columns: tuple[str, ...]
    to: str
    to_columns: tuple[str, ...]


@dataclass(frozen=True)
class Mart:
    """One table of schema mart, as its model declares it.

    `columns` maps a name to its type; `key` are the columns of the primary key; `indexes` are the
    columns of the other indexes; `model` is the whole entry of the manifest.
    """

    name: str
    columns: Mapping[str, str]
    required: frozenset[str]
    key: tuple[str, ...]
    references: tuple[Reference, ...]
    indexes: tuple[tuple[str, ...], ...]
    model: Mapping[str, Any]


def command(*arguments: str) -> list[str]:
    """Return the command line of this environment's dbt for this project, for any folder."""
    program = str(Path(sys.executable).with_name("dbt"))
    return [program, *arguments, "--project-dir", str(PROJECT), "--profiles-dir", str(ROOT)]


def run(*arguments: str) -> None:
    """Run dbt to its end.

    Raises:
        TerminalError: if it failed, with what it said.
    """
    done = subprocess.run(
        command("--quiet", *arguments), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise TerminalError(
            f"dbt {' '.join(arguments)} failed:\n" + (done.stdout + done.stderr).strip()
        )


def manifest() -> Path:
    """Return where dbt writes what it has made of the project; it may not be there."""
    return Path(os.environ.get("DBT_TARGET_PATH") or PROJECT / "target") / "manifest.json"


def is_current(manifest: Path) -> bool:
    """Return whether no file of the project is newer than its manifest."""
    return manifest.exists() and manifest.stat().st_mtime >= max(_changed())


@cache
def marts() -> tuple[Mart, ...]:
    """Return the marts that dbt builds, dimensions before facts.

    If a file of the project is newer than the manifest, dbt writes the manifest first.

    Raises:
        TerminalError: if dbt cannot parse the project.
    """
    if not is_current(manifest()):
        run("parse", "--write-json")
    return marts_of(manifest())


def marts_of(manifest: Path) -> tuple[Mart, ...]:
    """Return the marts that a manifest tells of, as `marts`."""
    nodes = json.loads(manifest.read_text())["nodes"].values()
    models = [
        node
        for node in nodes
        if node["resource_type"] == "model" and node["config"]["materialized"] != "ephemeral"
    ]
    models.sort(key=lambda model: str(model["original_file_path"]))
    return tuple(_mart(model) for model in models)


def mart(name: str) -> Mart:
    """Return one of `marts`."""
    return next(mart for mart in marts() if mart.name == name)


def _changed() -> Iterator[float]:
    """Yield when each file and folder was changed; removing a file changes its folder."""
    yield (ROOT / "profiles.yml").stat().st_mtime
    for path in PROJECT.iterdir():
        if path.name not in ("target", "logs"):
            yield path.stat().st_mtime
            yield from (below.stat().st_mtime for below in path.rglob("*"))


def _mart(model: Mapping[str, Any]) -> Mart:
    constraints = {
        kind: [entry for entry in model["constraints"] if entry["type"] == kind]
        for kind in ("primary_key", "foreign_key")
    }
    return Mart(
        name=model["name"],
        columns={name: column["data_type"] for name, column in model["columns"].items()},
        required=frozenset(
            name
            for name, column in model["columns"].items()
            if any(entry["type"] == "not_null" for entry in column["constraints"])
        ),
        key=_first(constraints["primary_key"]),
        references=tuple(
            # `to` is either ref('d_item'), as in the file, or "warehouse"."mart"."d_item", as dbt
            # makes it.
            Reference(
                tuple(entry["columns"]),
                re.findall(r"\w+", entry["to"])[-1],
                tuple(entry["to_columns"]),
            )
            for entry in constraints["foreign_key"]
        ),
        indexes=tuple(tuple(entry["columns"]) for entry in model["config"].get("indexes") or ()),
        model=model,
    )


def _first(constraints: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(constraints[0]["columns"]) if constraints else ()

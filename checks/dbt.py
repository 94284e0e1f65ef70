"""dbt as a program of its own, and what its manifest says of the marts."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from loaders.errors import TerminalError

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "dbt_project"


@dataclass(frozen=True)
class Mart:
    """One table of schema mart, as its model declares it.

    `columns` maps a name to its type; `model` is the whole entry of the manifest.
    """

    name: str
    columns: Mapping[str, str]
    model: Mapping[str, Any]


def command(*arguments: str) -> list[str]:
    """Return the command line of this environment's dbt for this project, whatever the folder."""
    program = str(Path(sys.executable).with_name("dbt"))
    return [program, *arguments, "--project-dir", str(PROJECT), "--profiles-dir", str(ROOT)]


@cache
def marts() -> tuple[Mart, ...]:
    """Return the marts that dbt builds, dimensions before facts.

    Raises:
        TerminalError: if dbt has not parsed the project yet.
    """
    manifest = Path(os.environ.get("DBT_TARGET_PATH") or PROJECT / "target") / "manifest.json"
    try:
        nodes = json.loads(manifest.read_text())["nodes"].values()
    except FileNotFoundError:
        raise TerminalError(
            "dbt has not parsed its project yet: `make warehouse`, or `dbt parse`, does"
        ) from None
    models = [
        node
        for node in nodes
        if node["resource_type"] == "model" and node["config"]["materialized"] != "ephemeral"
    ]
    models.sort(key=lambda model: str(model["original_file_path"]))
    return tuple(
        Mart(
            model["name"],
            {name: column["data_type"] for name, column in model["columns"].items()},
            model,
        )
        for model in models
    )

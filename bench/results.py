"""Keeps measurements, one JSON file per benchmark: the source of docs/performance.md."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from bench.measure import ROOT, Sample

FOLDER = ROOT / "bench" / "results"


@dataclass(frozen=True)
class Result:
    """The samples of one benchmark by the name of their side, and the machine they are from.

    A side's name may end with a size: `ours@1000000`.
    """

    day: str
    commit: str
    machine: str
    samples: Mapping[str, Sequence[Sample]]


def save(folder: Path, name: str, samples: Mapping[str, Sequence[Sample]]) -> None:
    """Save what a benchmark has measured in this checkout, now, on this machine."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    result = Result(date.today().isoformat(), commit, _machine(), samples)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(_rounded(asdict(result)), indent=1) + "\n")


def load(folder: Path) -> dict[str, Result]:
    """Return the results in the folder, by benchmark."""
    results = {}
    for path in sorted(folder.glob("*.json")):
        kept = json.loads(path.read_text())
        samples = {
            side: [Sample(**sample) for sample in taken] for side, taken in kept["samples"].items()
        }
        results[path.stem] = Result(**{**kept, "samples": samples})
    return results


def _machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), {memory:.0f} GB,"
        f" Python {platform.python_version()}"
    )


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return value

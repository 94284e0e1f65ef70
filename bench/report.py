"""Writes docs/performance.md and its picture from the results: `python -m bench report`.

This module makes the tables of the page, each between two marks, and the picture. People write the
rest.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.growth import picture
from bench.measure import ROOT, Sample
from bench.results import Result, load

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "growth.svg"

Samples = Mapping[str, Sequence[Sample]]
Results = Mapping[str, Result]

# `make run` of version 0.1.0, CPU seconds: the middle of 680 to 780 on a busy machine, not measured
# by this bench.
RUN_CPU_BEFORE = 730.0

NOT_YET = "*Not measured yet: `make bench`.*"


@dataclass(frozen=True)
class Goal:
    """A goal: `figures`, one a round, shall be at most or at least `bound`, in `unit`."""

    what: str
    beside: str
    figures: Sequence[float]
    bound: float
    unit: str = "×"
    at_least: bool = False

    @property
    def row(self) -> str:
        middle = median(self.figures)
        reached = middle >= self.bound if self.at_least else middle <= self.bound
        sign = "≥" if self.at_least else "≤"
        return (
            f"| {self.what} | {self.beside} | {sign} {self.bound:g} {self.unit}"
            f" | {_spread(self.figures, self.unit)} | {'reached' if reached else '**missed**'} |"
        )


def write(folder: Path) -> None:
    """Write the page and the picture again."""
    results = load(folder)
    PAGE.write_text(render(PAGE.read_text(), results))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture({name: result.samples for name, result in results.items()}))


def render(page: str, results: Results) -> str:
    """Return the page with the tables of the results between its marks.

    Raises:
        ValueError: if a mark names no table.
    """

    def block(match: re.Match[str]) -> str:
        name = match[1]
        if name not in {"goals", *SIDES}:
            raise ValueError(f"<!-- {name} --> is no table of the bench")
        if name == "goals":
            text = _goals_table(results)
        else:
            text = _sides_table(SIDES[name], results[name]) if name in results else NOT_YET
        return f"<!-- {name} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- ([a-z]+) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def _goals_table(results: Results) -> str:
    found = goals(results)
    if not found:
        return NOT_YET
    head = ["| what | measured beside it | to reach | measured | |", "|---|---|---|---|---|"]
    return "\n".join(head + [goal.row for goal in found])


def _sides_table(described: Mapping[str, str], result: Result) -> str:
    lines = [
        "| | rounds | seconds | CPU s of the process | CPU s of PostgreSQL | MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, samples in result.samples.items():
        side, _, size = name.partition("@")
        cells = [
            f"{described[side]}{f' ({_size(size)})' if size else ''}",
            f"{len(samples)}",
            _spread([sample.seconds for sample in samples]),
            _spread([sample.cpu for sample in samples]),
            _spread([sample.server_cpu for sample in samples]),
            _spread([sample.peak_mb for sample in samples if sample.peak_mb]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{result.day}, commit {result.commit}; {result.machine}."])


def _size(size: str) -> str:
    return _history(size) if "x" in size else f"{int(size):,}"


def _spread(values: Sequence[float], unit: str = "") -> str:
    """Return the median, and in brackets the extremes."""
    if not any(values):
        return ""
    middle, least, most = (_shown(value) for value in (median(values), min(values), max(values)))
    text = middle if least == most else f"{middle} ({least}–{most})"
    return f"{text} {unit}".strip()


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


# The sides of each benchmark, in the order of the tables.
SIDES = {
    "landing": {
        "copy": r"`\copy` of the same file into a table with the same indexes and checks",
        "ours": "the loader: judged, repetitions and conflicts told apart, quarantine, ledger",
        "pandas": "pandas `read_csv`, `to_sql` into such a table",
        "dlt_append": "dlt, Arrow and CSV, appended to a table with such indexes",
        "dlt_merge": "dlt, Arrow and CSV, merged by key into a table with such indexes",
        "dlt_import": "dlt, the file handed to COPY as it is",
    },
    "dirty": {"clean": "clean file", "dirty": "dirty file of as many lines"},
    "day": {
        "start": "dbt where there is no line: its own start, and that of every model and test",
        "dbt": "dbt, models and tests",
        "hand": "SQL by hand",
    },
    "backfill": {
        "dbt": "one run of the whole range",
        "hand": "SQL by hand",
        "daily": "a run of one day, some of the year's",
    },
    "airflow": {
        "increment": "`sales_mart_increment`, every model a task with its tests",
        "peer": "one load task and one `dbt build` task",
        "week": "increments of a week, asked for at once",
        "idle": "Airflow while nothing runs",
    },
    "run": {"install": "installing, packages cached", "run": "`make run`"},
    "ci": {"ci": "`.ci/run`"},
}


def goals(results: Results) -> list[Goal]:
    """Return the goals of the benchmarks that were run."""
    return [
        goal
        for name, made in _GOALS.items()
        if name in results
        for goal in made(results[name].samples)
    ]


def _landing(samples: Samples) -> list[Goal]:
    found = []
    for size in _sizes(samples, "ours"):
        ours, lines = samples[f"ours@{size}"], f"{int(size):,} lines"
        copied = _ratios(ours, samples[f"copy@{size}"])
        found.append(Goal(f"landing {lines}", r"`\copy` of the same file", copied, 1.5))
        peaks = [sample.peak_mb or 0 for sample in ours]
        found.append(Goal(f"memory of landing {lines}", "–", peaks, 120, "MB"))
        for side, beside, bound in (
            ("pandas", "pandas", 25),
            ("dlt_append", "dlt, appending", 4),
            ("dlt_merge", "dlt, merging", 4),
        ):
            if peer := samples.get(f"{side}@{size}"):
                times = _ratios(peer, ours)
                found.append(Goal(f"landing {lines}", beside, times, bound, "× faster", True))
    return found


def _dirty(samples: Samples) -> list[Goal]:
    ratios = _ratios(samples["dirty"], samples["clean"])
    return [Goal("landing a dirty file", "a clean one of as many lines", ratios, 1.3)]


def _day(samples: Samples) -> list[Goal]:
    histories = _sizes(samples, "dbt")
    growing = [history for history in histories if history.endswith("x1000")]
    least, most = growing[0], growing[-1]
    found = [
        Goal(
            f"one day after {_history(most)}",
            f"after {_history(least)}",
            _ratios(samples[f"dbt@{most}"], samples[f"dbt@{least}"]),
            1.1,
        )
    ]
    for history in histories:
        floor = [
            start.seconds + hand.seconds
            for start, hand in zip(samples["start"], samples[f"hand@{history}"], strict=True)
        ]
        taken = [sample.seconds for sample in samples[f"dbt@{history}"]]
        ratios = [a / b for a, b in zip(taken, floor, strict=True)]
        beside = "SQL by hand on top of dbt's start"
        found.append(Goal(f"one day after {_history(history)}", beside, ratios, 1.15))
    return found


def _backfill(samples: Samples) -> list[Goal]:
    ranged = samples["dbt"]
    (days,) = _sizes(samples, "daily")
    daily = int(days) * median(sample.seconds for sample in samples[f"daily@{days}"])
    return [
        Goal(f"backfill of {days} days", "SQL by hand", _ratios(ranged, samples["hand"]), 1.15),
        Goal(
            f"backfill of {days} days",
            f"{days} daily runs, reckoned from the median of some",
            [daily / sample.seconds for sample in ranged],
            20,
            "× faster",
            True,
        ),
    ]


def _airflow(samples: Samples) -> list[Goal]:
    increment, peer = samples["increment"], samples["peer"]
    (runs,) = _sizes(samples, "week")
    together = [ratio / int(runs) for ratio in _ratios(samples[f"week@{runs}"], increment)]
    beside = "a load task and a `dbt build` task"
    return [
        Goal("one increment DAG run, time", beside, _ratios(increment, peer), 1.5),
        Goal("one increment DAG run, CPU", beside, _ratios(increment, peer, _cpu), 2),
        Goal(f"{runs} increments at once", f"{runs} times one alone", together, 0.6),
    ]


def _run(samples: Samples) -> list[Goal]:
    both = zip(samples["install"], samples["run"], strict=True)
    seconds = [install.seconds + run.seconds for install, run in both]
    cpu = [100 * _cpu(run) / RUN_CPU_BEFORE for run in samples["run"]]
    return [
        Goal("`make run` from a clone, installing included", "–", seconds, 90, "s"),
        Goal("`make run`, CPU", "0.1.0: 680 to 780 s on a busy machine", cpu, 40, "%"),
    ]


def _ci(samples: Samples) -> list[Goal]:
    return [Goal("`.ci/run`", "–", [sample.seconds / 60 for sample in samples["ci"]], 20, "min")]


_GOALS: Mapping[str, Callable[[Samples], list[Goal]]] = {
    "landing": _landing,
    "dirty": _dirty,
    "day": _day,
    "backfill": _backfill,
    "airflow": _airflow,
    "run": _run,
    "ci": _ci,
}


def _cpu(sample: Sample) -> float:
    return sample.cpu + sample.server_cpu


def _ratios(
    ours: Sequence[Sample],
    beside: Sequence[Sample],
    of: Callable[[Sample], float] = lambda sample: sample.seconds,
) -> list[float]:
    """Return the ratio of each round; the slower side may have fewer rounds."""
    return [of(a) / of(b) for a, b in zip(ours, beside, strict=False)]


def _sizes(samples: Samples, side: str) -> list[str]:
    return [name.partition("@")[2] for name in samples if name.startswith(f"{side}@")]


def _history(history: str) -> str:
    days, lines = map(int, history.split("x"))
    return f"{days:,} days of {lines:,} lines"

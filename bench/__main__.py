"""Command line of the bench: `python -m bench`, `python -m bench landing --quick`, `… report`."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import clone, dag_runs, landing, models, report, takeover
from bench.measure import Sample, say
from bench.results import FOLDER, save

BENCHMARKS: dict[str, Callable[..., dict[str, list[Sample]]]] = {
    "landing": landing.measure_landing,
    "dirty": landing.measure_dirty,
    "day": models.measure_day,
    "backfill": models.measure_backfill,
    "airflow": dag_runs.measure_airflow,
    "run": clone.measure_run,
    "ci": clone.measure_ci,
    "takeover": takeover.measure_takeover,
}
ROUNDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, keep the results, and write the page; return 0 unless something broke."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}; report: the page only"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, no results: does it work?"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--results", type=Path, default=FOLDER, metavar="FOLDER")
    options = parser.parse_args(arguments)
    names = options.names or list(BENCHMARKS)
    if unknown := set(names) - {*BENCHMARKS, "report"}:
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    rounds = 1 if options.quick else options.rounds
    for name in (name for name in names if name != "report"):
        began = time.monotonic()
        say(f"{name}: {rounds} round{'s' * (rounds > 1)}")
        samples = BENCHMARKS[name](quick=options.quick, rounds=rounds)
        say(f"{name}: done in {time.monotonic() - began:.0f} s")
        if not options.quick:
            save(options.results, name, samples)
    if not options.quick:
        report.write(options.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())

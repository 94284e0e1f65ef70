"""Measures runs of the increment DAG, and of a DAG of two tasks that does the same work.

A run's time is from its start to its end as Airflow reports them. Its CPU seconds are those of the
scheduler with every task below it, of the API server that the tasks talk to, and of PostgreSQL,
which holds Airflow's metadata too. The DAG processor is left out, because it parses at fixed
intervals whether or not anything runs.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from bench.measure import ROOT, Sample, Side, say, scratch, take_turns, tree_cpu
from local.airflow_api import AirflowApi, DagRun
from local.pipeline import HISTORY, INCREMENT, Pipeline, PipelineError
from local.settings import Settings
from local.stack import USER, Stack

# One DAG file, which has the name of its DAG.
(PEER,) = (path.stem for path in (ROOT / "bench" / "airflow").glob("*.py"))
PATIENCE_SECONDS = 900


def measure_airflow(*, quick: bool, rounds: int) -> dict[str, list[Sample]]:
    """Measure one increment alone, and all increments of a week triggered at once."""
    with scratch() as folder, _airflow(folder) as (stack, api):
        days = stack.settings.increment_days
        sides = {
            "increment": Side(lambda n: _take(stack, api, INCREMENT, [days[n % len(days)]])),
            "peer": Side(lambda n: _take(stack, api, PEER, [days[n % len(days)]])),
        }
        if not quick:
            say(f"{HISTORY} first, so that the marts hold what they hold in `make run`")
            _take(stack, api, HISTORY, [None])
            week = Side(lambda _: _take(stack, api, INCREMENT, days), rounds=3)
            sides[f"week@{len(days)}"] = week
        samples = take_turns(sides, rounds)
        samples |= take_turns({"idle": Side(lambda _: _idle(stack, 2 if quick else 30))}, 1)
    return samples


@contextmanager
def _airflow(folder: Path) -> Iterator[tuple[Stack, AirflowApi]]:
    """Start Airflow like `make up`, with the DAG of the bench beside those of the project."""
    folder.chmod(0o755)
    dags = folder / "dags"
    dags.mkdir()
    for source in (ROOT / "airflow" / "dags", ROOT / "bench" / "airflow"):
        for file in source.iterdir():
            if file.is_file():
                (dags / file.name).symlink_to(file)
    caller = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    stack = Stack(Settings(caller, state=folder / "state", dags=dags))
    with stack.lock("bench"):
        try:
            stack.start_warehouse(USER)
            stack.start_report_api(USER)
            stack.start_airflow(USER)
            api = stack.airflow.wait()
            _wait_until(lambda: all(api.dag(name) for name in (HISTORY, INCREMENT, PEER)))
            yield stack, api
        finally:
            stack.stop_everything()


def _take(stack: Stack, api: AirflowApi, dag_id: str, days: Sequence[date | None]) -> Sample:
    """Trigger a DAG for these days at once; return what all runs together took.

    Raises:
        PipelineError: if one of them failed.
    """
    before = _cpu(stack)
    asked_for = [api.trigger(dag_id, str(day) if day else None, note="bench") for day in days]
    runs: list[DagRun] = []

    def all_ended() -> bool:
        runs[:] = [api.run(dag_id, run.run_id) for run in asked_for]
        return all(run.ended for run in runs)

    _wait_until(all_ended)
    cpu, server_cpu = (now - then for now, then in zip(_cpu(stack), before, strict=True))
    if failed := [run for run in runs if run.state != "success"]:
        # The message holds the ends of the tasks' logs, because the measurement removes their
        # folder.
        raise PipelineError(Pipeline(stack.airflow, api, 0)._explain(dag_id, failed))
    begun = min(run.started_at for run in runs if run.started_at)
    ended = max(run.ended_at for run in runs if run.ended_at)
    return Sample((ended - begun).total_seconds(), cpu, server_cpu)


def _idle(stack: Stack, seconds: float) -> Sample:
    """Measure an idle Airflow: every run includes this much."""
    before = _cpu(stack)
    time.sleep(seconds)
    return Sample(seconds, *(now - then for now, then in zip(_cpu(stack), before, strict=True)))


def _cpu(stack: Stack) -> tuple[float, float]:
    """Return the CPU seconds so far of Airflow (without its DAG processor) and of PostgreSQL."""
    records = [stack.processes.running(part) for part in ("scheduler", "api_server")]
    postgres = stack.settings.postgres.pid()
    assert postgres
    return sum(tree_cpu(record.pid) for record in records if record), tree_cpu(postgres)


def _wait_until(happened: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > give_up_at:
            raise PipelineError(f"Airflow took longer than {PATIENCE_SECONDS} s")
        time.sleep(0.5)

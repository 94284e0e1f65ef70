"""The main job: lets Airflow run the history, then a week of increments, and watches."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import requests

from local.airflow_api import AirflowApi, DagRun, Task
from local.airflow_parts import AirflowParts
from local.text import say, tail

HISTORY = "sales_mart_history"
INCREMENT = "sales_mart_increment"

_POLL_SECONDS = 1.0
_COUNT_SECONDS = 15.0
_PARSE_SECONDS = 180
# The server may be busy for a moment. After a longer silence it counts as gone.
_SILENCE_SECONDS = 30


class PipelineError(RuntimeError):
    """The job cannot go on or has failed; the text is for a person, its first line a sentence."""


@dataclass
class Pipeline:
    """Runs both DAGs through the Airflow behind `api`, until `deadline` (of time.monotonic)."""

    airflow: AirflowParts
    api: AirflowApi
    deadline: float
    begun: dict[str, DagRun] = field(default_factory=dict)

    def run_history(self) -> list[DagRun]:
        return self._watch([self._begin(HISTORY)])

    def run_increments(self, days: Sequence[date]) -> list[DagRun]:
        """Run the increments of these days, as many at a time as the DAG allows.

        A backfill would not do: Airflow accepts only one at a time, and if somebody clears a run of
        a cancelled backfill later, that run stays queued for ever.
        """
        return self._watch([self._begin(INCREMENT, str(day)) for day in days])

    def _begin(self, dag_id: str, day: str | None = None) -> DagRun:
        run = self.api.trigger(dag_id, day, note="make run")
        self.begun[run.run_id] = run
        return run

    def abandon(self) -> None:
        """End the runs that this job has begun and not finished."""
        for run in self.begun.values():
            if not self.api.run(run.dag_id, run.run_id).ended:
                self.api.fail_run(run)

    def make_ready(self, *, fresh: bool, since: datetime) -> None:
        """Wait until both DAGs are parsed as they are now, and nothing else works on them.

        `fresh` means that this Airflow started for this job after `since`. Then unfinished runs in
        its database were left by a killed Airflow.
        """
        for dag_id in (HISTORY, INCREMENT):
            known = None if fresh else self.api.dag(dag_id)
            if known:
                since = datetime.now(UTC)
                self.api.parse_again(known["file_token"])
            self._await_parsing(dag_id, since)
            unfinished = self.api.unfinished_runs(dag_id)
            if unfinished and not fresh:
                names = ", ".join(run.run_id for run in unfinished)
                raise PipelineError(
                    f"{dag_id} is at work in the running Airflow ({names}):"
                    " wait for it, or end it in the UI."
                )
            for run in unfinished:
                self.api.fail_run(run)
            dag = self.api.dag(dag_id)
            if dag and dag["is_paused"]:
                # A paused DAG would accept runs and never start them.
                say(f"Unpausing {dag_id}")
                self.api.unpause(dag_id)

    # -------------------------------------------------------------- waiting

    def _await_parsing(self, dag_id: str, since: datetime) -> None:
        deadline = min(self.deadline, time.monotonic() + _PARSE_SECONDS)
        while True:
            self.airflow.check_alive()
            dag = self.api.dag(dag_id)
            if dag and not dag["is_stale"] and _is_after(dag["last_parsed_time"], since):
                return
            for error in self.api.import_errors():
                if Path(error["filename"]).stem.startswith(dag_id) and _is_after(
                    error["timestamp"], since
                ):
                    raise PipelineError(
                        f"{error['filename']} does not load:\n{error['stack_trace'].rstrip()}"
                    )
            if time.monotonic() > deadline:
                raise PipelineError(
                    f"Airflow has not found the DAG {dag_id}:"
                    f" see {self.airflow.log('dag_processor')}."
                )
            time.sleep(0.5)

    def _watch(self, asked_for: Sequence[DagRun]) -> list[DagRun]:
        """Print changes until these runs of one DAG have ended; return the ended runs.

        Raises PipelineError, with the failed tasks and the ends of their logs, if one has failed.
        """
        dag_id = asked_for[0].dag_id
        say(f"{dag_id}: {len(asked_for)} run{'s' * (len(asked_for) > 1)} asked for")
        runs = list(asked_for)
        counted_at = answered_at = time.monotonic()
        while not all(run.ended for run in runs):
            time.sleep(_POLL_SECONDS)
            now = time.monotonic()
            try:
                # One call for all unfinished runs, instead of one for each.
                going_on = {run.run_id: run for run in self.api.unfinished_runs(dag_id)}
                for number, known in enumerate(runs):
                    if known.ended:
                        continue
                    run = going_on.get(known.run_id) or self.api.run(dag_id, known.run_id)
                    runs[number] = run
                    if run.state != known.state:
                        say(_describe(run))
                answered_at = now
            except requests.RequestException:
                self.airflow.check_alive()
                if now - answered_at > _SILENCE_SECONDS:
                    raise
            if now > self.deadline:
                raise PipelineError(
                    f"The time is up: {dag_id} has {sum(run.ended for run in runs)} of {len(runs)}"
                    " runs done. Set DEADLINE_MINUTES higher, or look in `make up` where it stands."
                )
            if now - counted_at > _COUNT_SECONDS:
                counted_at = now
                self.airflow.check_alive()
                tasks = self.api.tasks(dag_id, [run.run_id for run in runs])
                say(f"  {sum(task.ended for task in tasks)} of {len(tasks)} tasks done")
        failed = [run for run in runs if run.state == "failed"]
        if failed:
            raise PipelineError(self._explain(dag_id, failed))
        return runs

    def _explain(self, dag_id: str, failed: Sequence[DagRun]) -> str:
        tasks = self.api.tasks(dag_id, [run.run_id for run in failed])
        broken = [task for task in tasks if task.state == "failed"]
        days = {run.run_id: _name(run) for run in failed}
        parts = [f"{len(failed)} of the runs failed: {', '.join(days.values())}."]
        for task in broken:
            log = self._task_log(task)
            parts.append(f"{days[task.run_id]}: task {task.task_id} failed; the end of {log}:")
            parts.append(tail(log))
        if not broken:
            parts.append(f"No task failed by itself: see {self.airflow.log('scheduler')}.")
        return "\n".join(parts)

    def _task_log(self, task: Task) -> Path:
        folder = self.airflow.home / "logs" / f"dag_id={task.dag_id}" / f"run_id={task.run_id}"
        return folder / f"task_id={task.task_id}" / f"attempt={task.try_number}.log"


def _name(run: DagRun) -> str:
    return f"{run.dag_id} {run.day}" if run.day else run.dag_id


def _describe(run: DagRun) -> str:
    took = f" in {run.seconds:.0f} s" if run.ended and run.seconds is not None else ""
    return f"{_name(run)}: {run.state}{took}"


def _is_after(moment: str | None, since: datetime) -> bool:
    return moment is not None and datetime.fromisoformat(moment) >= since

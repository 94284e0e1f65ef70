"""The calls of Airflow's REST API (v2) that the main job needs.

The `airflow` command line could do the same, at about five seconds a call.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import requests

_TIMEOUT_SECONDS = 30
_PAGE = 100  # the server's own limit

ENDED = ("success", "failed")


class AirflowApiError(RuntimeError):
    """Airflow refused a request; the text names the request and quotes the answer."""


@dataclass(frozen=True)
class DagRun:
    dag_id: str
    run_id: str
    # The run's parameter `date`, if it has one.
    day: str | None
    state: str
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def seconds(self) -> float | None:
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True)
class Task:
    """The latest try of one task of one run."""

    dag_id: str
    run_id: str
    task_id: str
    state: str | None
    try_number: int

    @property
    def ended(self) -> bool:
        return self.state in ("success", "failed", "skipped", "upstream_failed", "removed")


class AirflowApi:
    """A client of the API server at `url`. Network trouble raises requests' own errors."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._credentials = {"username": user, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy between two programs of the same machine

    def log_in(self) -> None:
        answer = self._session.post(
            f"{self._url}/auth/token", json=self._credentials, timeout=_TIMEOUT_SECONDS
        )
        if not answer.ok:
            raise AirflowApiError(f"Airflow refused the login: {answer.status_code}")
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def health(self) -> dict[str, str]:
        """Return the state of each part by its name; "healthy" is good."""
        answer: dict[str, Any] = self._call("GET", "/monitor/health")
        return {part: (info or {}).get("status") or "unknown" for part, info in answer.items()}

    # ------------------------------------------------------------------ DAGs

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return the DAG as the server describes it, or None while the server does not know it."""
        answer: dict[str, Any] | None = self._call("GET", f"/dags/{dag_id}", missing=(404,))
        return answer

    def unpause(self, dag_id: str) -> None:
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def parse_again(self, file_token: str) -> None:
        """Ask the server to parse a DAG's file ahead of its turn."""
        self._call("PUT", f"/parseDagFile/{file_token}", missing=(409,))

    def import_errors(self) -> list[dict[str, Any]]:
        answer = self._call("GET", "/importErrors", params={"limit": _PAGE})
        return list(answer["import_errors"])

    # ------------------------------------------------------------------ runs

    def trigger(self, dag_id: str, day: str | None = None, *, note: str) -> DagRun:
        """Start a run without a logical date, for `day` if that is given."""
        run_id = f"manual__{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"
        body = {
            # The UI's list of runs shows their names, not their parameters.
            "dag_run_id": f"{run_id}__{day}" if day else run_id,
            "logical_date": None,
            "conf": {"date": day} if day else {},
            "note": note,
        }
        return _dag_run(self._call("POST", f"/dags/{dag_id}/dagRuns", json=body))

    def run(self, dag_id: str, run_id: str) -> DagRun:
        return _dag_run(self._call("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"))

    def unfinished_runs(self, dag_id: str) -> list[DagRun]:
        params = {"state": ["queued", "running"], "limit": str(_PAGE)}
        answer = self._call("GET", f"/dags/{dag_id}/dagRuns", params=params)
        return [_dag_run(run) for run in answer["dag_runs"]]

    def fail_run(self, run: DagRun) -> None:
        """End a run and its running tasks."""
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}"
        self._call("PATCH", path, json={"state": "failed"})

    def tasks(self, dag_id: str, run_ids: Sequence[str]) -> list[Task]:
        found: list[dict[str, Any]] = []
        while True:
            body = {
                "dag_ids": [dag_id],
                "dag_run_ids": list(run_ids),
                "page_limit": _PAGE,
                "page_offset": len(found),
            }
            answer = self._call("POST", "/dags/~/dagRuns/~/taskInstances/list", json=body)
            found += answer["task_instances"]
            if not answer["task_instances"] or len(found) >= answer["total_entries"]:
                break
        return [
            Task(t["dag_id"], t["dag_run_id"], t["task_id"], t["state"], t["try_number"])
            for t in found
        ]

    # -------------------------------------------------------------- requests

    def _call(
        self, method: str, path: str, *, missing: tuple[int, ...] = (), **arguments: Any
    ) -> Any:
        """Send one request; return None if the answer's status is in `missing`."""
        url = f"{self._url}/api/v2{path}"
        answer = self._session.request(method, url, timeout=_TIMEOUT_SECONDS, **arguments)
        if answer.status_code == 401:  # a token lives for a day
            self.log_in()
            answer = self._session.request(method, url, timeout=_TIMEOUT_SECONDS, **arguments)
        if answer.status_code in missing:
            return None
        if not answer.ok:
            raise AirflowApiError(
                f"Airflow answered {answer.status_code} to {method} {path}: {answer.text[:500]}"
            )
        return answer.json() if answer.content else None


def _dag_run(answer: dict[str, Any]) -> DagRun:
    return DagRun(
        dag_id=answer["dag_id"],
        run_id=answer["dag_run_id"],
        day=(answer["conf"] or {}).get("date"),
        state=answer["state"],
        started_at=_moment(answer["start_date"]),
        ended_at=_moment(answer["end_date"]),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

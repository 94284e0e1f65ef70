"""Tells people of a run that has failed or is late, in one message: what, why, and what to do.

Off until ALERT_WEBHOOK_URL (an incoming webhook of Slack, or of what understands the same) or
ALERT_EMAIL_TO says whom to tell; mail goes by Airflow's connection smtp_default. A message holds
nothing that came in a delivery: what a reason quotes stays in the task's log.
"""

from __future__ import annotations

import os
import re
from datetime import date, datetime, timedelta
from html import escape
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseNotifier, Context
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

WEBHOOK, EMAIL = "ALERT_WEBHOOK_URL", "ALERT_EMAIL_TO"
# A report takes a minute, retries a quarter of an hour: by then somebody is waiting.
LATE = timedelta(hours=6)
# The key under which a failed task leaves its reason.
FAILURE = "failure"
WEBHOOK_SECONDS = 10
LONGEST_REASON = 500
# As Python shows a text that came from outside.
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


class AlertNotSent(RuntimeError):
    """Nobody was told; the text has no address in it, which is a secret."""


def note_failure(context: Context) -> None:
    """Leave the reason of a failed task, and what to do about it, for the notifier of its run."""
    error = context.get("exception")
    # Only what was read has rejected lines to look at.
    refused = getattr(getattr(error, "__cause__", None), "summary", None)
    note = {"reason": reason(error), "do": "python -m loaders quarantine list" if refused else ""}
    context["ti"].xcom_push(FAILURE, note)


def reason(error: object) -> str:
    """Return what may be said of an error elsewhere: our own sentence, or only its name.

    Other programs' messages may quote a row; so may ours, in quotes.
    """
    from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout

    from loaders.errors import LoaderError

    if not isinstance(error, (AirflowFailException, AirflowSensorTimeout, LoaderError)):
        return f"{type(error).__name__}: the task's log says more"
    sentence = _QUOTED.sub("'…'", str(error).partition("\n")[0])
    return sentence[:LONGEST_REASON]


class RunNotifier(BaseNotifier):
    """Of a DAG's `on_failure_callback`: tells of a failed run once, with all that failed in it."""

    def notify(self, context: Context) -> None:
        """Send the message, if anybody is to be told.

        Raises:
            AlertNotSent: if it could not be delivered.
        """
        if not is_wanted():
            return
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        task: Any = context.get("ti")
        notes: dict[str, dict[str, str]] = {}
        day = None
        if task is not None:
            states = task.get_task_states(dag_id, run_ids=[run_id]).get(run_id, {})
            for name in sorted(name for name, state in states.items() if state == "failed"):
                notes[name] = task.xcom_pull(task_ids=name, key=FAILURE) or {
                    "reason": "it was killed, or its worker was lost"
                }
            day = task.xcom_pull(task_ids="print_info")
        of_day = f" for {day}" if day and dag_id == "sales_mart_increment" else ""
        reasons = [f"{name}: {note['reason']}" for name, note in notes.items()]
        todo = next((note["do"] for note in notes.values() if note.get("do")), "")
        send(
            f"{dag_id} failed{of_day}",
            reasons or [str(context.get("reason", "no task says why"))],
            todo or run_again(dag_id, day if of_day else None),
            dag_id,
            run_id,
        )


def tell_late(context: dict[str, Any]) -> None:
    """Of a DAG's deadline: tell that the run has not succeeded by then.

    Args:
        context: `dag_run` as Airflow's API describes it.
    """
    if not is_wanted():
        return
    run = context["dag_run"]
    day = _day(run)
    hours = LATE.total_seconds() / 3600
    send(
        f"{day} did not come: {run['dag_id']} has not succeeded",
        [f"its run was due {hours:g} hours ago and is {run['state']}"],
        "python -m checks doctor",
        run["dag_id"],
        run["dag_run_id"],
    )


def _day(run: dict[str, Any]) -> date:
    if chosen := (run["conf"] or {}).get("date"):
        return date.fromisoformat(chosen)
    if start := run["data_interval_start"]:
        return datetime.fromisoformat(start).date()
    return datetime.fromisoformat(run["run_after"]).date() - timedelta(days=1)


def late() -> DeadlineAlert | None:
    """Return the deadline of a run: LATE after it was queued, whenever that was.

    None if nobody is to be told: `airflow dags test` ends with an error of Airflow's own if a DAG
    has a deadline.
    """
    if not is_wanted():
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=LATE,
        callback=SyncCallback(tell_late),
        name="late",
    )


def run_again(dag_id: str, day: str | None) -> str:
    """Return the command that runs the DAG again, for a day if it is known."""
    conf = f""" --conf '{{"date": "{day}"}}'""" if day else ""
    return f"airflow dags trigger {dag_id}{conf}"


def is_wanted() -> bool:
    """Return whether anybody is to be told."""
    return bool(os.environ.get(WEBHOOK) or os.environ.get(EMAIL))


def send(what: str, why: list[str], command: str, dag_id: str, run_id: str) -> None:
    """Send one message to whom the settings name: what happened, why, and what to do.

    Raises:
        AlertNotSent: if it could not be delivered.
    """
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
    run = f"{base}/dags/{dag_id}/runs/{quote(run_id, safe='')}"
    text = "\n".join([what, *why, f"do: {command}", f"see: {run}"])
    if url := os.environ.get(WEBHOOK):
        _post(url, text)
    if to := os.environ.get(EMAIL):
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        # Not called but notified: nothing in the text is a template.
        SmtpNotifier(to=to, subject=what, html_content=f"<pre>{escape(text)}</pre>").notify({})


def _post(url: str, text: str) -> None:
    import requests

    try:
        # Slack's three: what else is in the text is for it no markup.
        answer = requests.post(
            url, json={"text": escape(text, quote=False)}, timeout=WEBHOOK_SECONDS
        )
    except requests.RequestException as error:
        raise AlertNotSent(f"{WEBHOOK} takes no message: {type(error).__name__}") from None
    if not answer.ok:
        raise AlertNotSent(f"{WEBHOOK} answers {answer.status_code}")

"""Airflow, as its metadata database knows it; looked at where that database is configured."""

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import psycopg2
from sqlalchemy.engine import make_url

from checks.doctor.finding import Finding, State

CONNECTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
ARGUMENTS = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS"
# Airflow itself takes a scheduler that was silent for 30 s for dead.
SILENT = timedelta(seconds=60)
DAGS = ["sales_mart_history", "sales_mart_increment"]


def airflow() -> Iterator[Finding]:
    """Scheduler and DAG processor, the DAGs, and runs that a paused one keeps waiting."""
    url = os.environ.get(CONNECTION, "")
    if not url.startswith("postgresql"):
        text = f"{CONNECTION} is not set" if not url else f"{CONNECTION} names no PostgreSQL"
        yield Finding("airflow", State.NOT_LOOKED_AT, text)
        return
    if url.startswith("postgresql://"):
        text = f"{CONNECTION} begins with postgresql://, which is psycopg 3, not installed"
        yield Finding("airflow", State.BROKEN, f"{text}: write postgresql+psycopg2://")
        return
    try:
        with closing(_connect(url)) as connection, connection.cursor() as cursor:
            yield from _parts(cursor)
            yield from _dags(cursor)
    except psycopg2.Error as error:
        said = " ".join((error.diag.message_primary or str(error)).split())
        yield Finding("airflow", State.BROKEN, f"its metadata: {said}", "airflow db check")


def _connect(url: str) -> Any:
    address = make_url(url)
    settings: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "dbname": address.database,
        "user": address.username,
        "password": address.password,
        **address.query,
    }
    if path := os.environ.get(ARGUMENTS):
        # As Airflow does: a dictionary, by its dotted name.
        module, _, name = path.rpartition(".")
        settings |= getattr(import_module(module), name)
    connection = psycopg2.connect(connect_timeout=10, **settings)
    connection.set_session(readonly=True)
    return connection


def _parts(cursor: Any) -> Iterator[Finding]:
    cursor.execute(
        "select job_type, max(latest_heartbeat) from job where state = 'running' group by 1"
    )
    beats = dict(cursor.fetchall())
    for job, part in (("SchedulerJob", "scheduler"), ("DagProcessorJob", "dag-processor")):
        last = beats.get(job)
        if last is None or datetime.now(UTC) - last > SILENT:
            since = f"since {last:%Y-%m-%d %H:%M} UTC" if last else "no sign of it"
            yield Finding(part, State.BROKEN, f"silent: {since}", f"airflow {part}")
        else:
            yield Finding(part, State.WELL, "alive")


def _dags(cursor: Any) -> Iterator[Finding]:
    cursor.execute(
        "select dag_id, is_paused, is_stale from dag where dag_id = any(%s) order by 1", (DAGS,)
    )
    known = {dag_id: (paused, stale) for dag_id, paused, stale in cursor.fetchall()}
    cursor.execute("select filename from import_error where filename ~ 'sales_mart_'")
    errors = sorted(filename for (filename,) in cursor.fetchall())
    absent = [dag_id for dag_id in DAGS if known.get(dag_id, (False, True))[1]]
    if errors or absent:
        text = f"not loaded: {', '.join(errors or absent)}"
        yield Finding("DAGs", State.BROKEN, text, "airflow dags list-import-errors")
    else:
        yield Finding("DAGs", State.WELL, f"both are there: {', '.join(DAGS)}")
    cursor.execute(
        "select dag_id, count(*) from dag_run"
        " where dag_id = any(%s) and state = 'queued' group by 1",
        (DAGS,),
    )
    queued = dict(cursor.fetchall())
    paused = [dag_id for dag_id, (is_paused, _) in known.items() if is_paused]
    if waiting := [dag_id for dag_id in paused if dag_id in queued]:
        for dag_id in waiting:
            text = f"{dag_id} is paused, {queued[dag_id]} of its runs wait"
            yield Finding("paused", State.BROKEN, text, f"airflow dags unpause {dag_id}")
    elif "sales_mart_increment" in paused:
        text = "sales_mart_increment is paused: no day comes by itself"
        yield Finding("paused", State.LOOK, text, "airflow dags unpause sales_mart_increment")
    else:
        yield Finding("paused", State.WELL, "no DAG keeps runs waiting")

"""The tasks of both DAGs: the loader's steps, and the dbt project as a task group.

The tasks import the loader themselves, because every task process imports this file and few need
the loader.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, Context, PokeReturnValue, TaskGroup, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from cosmos import DbtTaskGroup, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import LoadMode, TestBehavior, TestIndirectSelection
from sales_mart_alerts import note_failure, reason

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "dbt_project"
MANIFEST = PROJECT / "target" / "manifest.json"
MARTS = "marts"
LINEAGE = "AIRFLOW__OPENLINEAGE__TRANSPORT"
# What other DAGs may wait for; each event says which days were replaced.
ASSETS = {name: Asset(f"mart.{name}") for name in ("f_sales", "f_customer_retention")}

DEFAULT_ARGS = {
    "owner": "retail_retention",
    "on_failure_callback": note_failure,
    "retries": 3,
    # The first retry comes soon, after runs that met; later ones after minutes, after an outage.
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 5,
    "execution_timeout": timedelta(hours=1),
}


@contextmanager
def fail_fast() -> Iterator[None]:
    """Turn an error that no retry can mend into the exception that Airflow does not retry."""
    from loaders.errors import TerminalError

    try:
        yield
    except TerminalError as error:
        raise AirflowFailException(str(error)) from error


def refuse_unknown_parameters(context: Context) -> None:
    """Raise AirflowFailException if the run was given a parameter that its DAG does not have.

    Airflow accepts any parameter, so a run with a misspelt `date` would be for another day.
    """
    known = context["dag"].params
    unknown = sorted(set(context["dag_run"].conf or {}) - set(known))
    if unknown:
        raise AirflowFailException(
            f"unknown parameter {', '.join(map(repr, unknown))}:"
            f" {context['dag'].dag_id} takes {' and '.join(sorted(known))}"
        )


def business_day(context: Context) -> date:
    """Return the day a run is for: its `date` parameter, else its data interval, else yesterday.

    A schedule, a backfill and `dags test` have a data interval. A manual trigger without a date has
    none, and is for the day before the run.
    """
    if chosen := context["params"].get("date"):
        return date.fromisoformat(chosen)
    run = context["dag_run"]
    if run.data_interval_start is not None:
        return run.data_interval_start.date()
    return (run.run_after - timedelta(days=1)).date()


def delivery_group() -> TaskGroup:
    """Return the group of the tasks from the report API to staging, whose ids stay as they are."""
    return TaskGroup(
        "delivery", prefix_group_id=False, tooltip="From the report API to schema staging."
    )


@task
def print_info() -> str:
    """Show where this run reads and writes; return the business day."""
    from loaders.settings import ReportApiSettings

    context = get_current_context()
    refuse_unknown_parameters(context)
    day = business_day(context).isoformat()
    with fail_fast():
        print(f"business day {day}\nreport API   {ReportApiSettings.from_environment()}")
    print(f"warehouse    {os.environ.get('PGHOST')}/{os.environ.get('PGDATABASE')}")
    return day


@task
def generate_report() -> str:
    """Ask for a report; return its task id."""
    from loaders import steps

    with fail_fast():
        return steps.generate_report()


# Between two polls the task holds no worker slot. A report takes 60 to 120 s, the stand-in's 1 s.
@task.sensor(mode="reschedule", poke_interval=2, exponential_backoff=True, max_wait=60, timeout=900)
def get_report(report_task: str) -> PokeReturnValue:
    """Wait until the report is ready; return its delivery."""
    from loaders import steps

    with fail_fast():
        delivery = steps.get_report(report_task)
    print(f"report task {report_task}: {'ready' if delivery else 'not ready yet'}")
    return PokeReturnValue(bool(delivery), delivery.as_json() if delivery else None)


# One XCom each. With several outputs Airflow would store every key separately, too.
@task(multiple_outputs=False)
def get_increment(report: dict[str, Any], day: str) -> dict[str, str | None]:
    """Return the delivery of the business day."""
    from loaders import steps

    with fail_fast():
        return steps.get_increment(report["report_id"], date.fromisoformat(day)).as_json()


@task(multiple_outputs=False)
def upload(delivery: dict[str, Any]) -> dict[str, Any]:
    """Fetch the delivery's file and land it in staging.

    Returns what the run did: first and last day to build, the days replaced, lines by what became
    of them. Of a refused delivery it stands there too, though the task fails, with the refusal.
    """
    from loaders import steps
    from loaders.deliveries import Delivery
    from loaders.errors import DeliveryRefused

    context = get_current_context()
    allow_empty = context["params"]["allow_empty"]
    with fail_fast():
        try:
            result = steps.upload(Delivery.from_json(delivery), allow_empty=allow_empty)
        except DeliveryRefused as refused:
            summary = {**refused.summary, "refusal": reason(refused)}
            context["ti"].xcom_push("return_value", summary)
            raise
    print(result.describe())
    return result.summary()


def build_marts(uploaded: str) -> DbtTaskGroup:
    """Return the marts as one task a model, each with its tests, for the days of task `uploaded`.

    Needs dbt_project/target/manifest.json (`dbt parse` writes it).
    """
    days = f"ti.xcom_pull(task_ids='{uploaded}')"
    group = DbtTaskGroup(
        group_id=MARTS,
        tooltip="The marts, each built and tested for the days of the run.",
        project_config=ProjectConfig(
            dbt_project_path=PROJECT,
            manifest_path=MANIFEST,
            install_dbt_deps=False,
            # Not `vars`, because with them dbt would parse the whole project again for every day.
            env_vars={
                "SALES_WINDOW_START": f"{{{{ {days}['first_day'] }}}}",
                "SALES_WINDOW_END": f"{{{{ {days}['last_day'] }}}}",
            },
        ),
        profile_config=ProfileConfig(
            profile_name="retail_retention",
            target_name="warehouse",
            profiles_yml_filepath=ROOT / "profiles.yml",
        ),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            select=["path:models/mart"],
            test_behavior=TestBehavior.BUILD,
            normalize_task_id=lambda node: node.name,
            emit_datasets=False,
        ),
        # A test waits for the last model that it reads, since an empty warehouse lacks the others.
        execution_config=ExecutionConfig(test_indirect_selection=TestIndirectSelection.BUILDABLE),
        operator_args={
            "exclude": "resource_type:unit_test tag:at_rest",
            "install_deps": False,
            # dbt's files for other programs would be lost with the folder in which Cosmos runs dbt.
            # Lineage events are made from them before that.
            "dbt_cmd_global_flags": [] if os.environ.get(LINEAGE) else ["--no-write-json"],
            "pre_execute": say_days,
        },
    )
    descriptions = model_descriptions()
    for name in descriptions.keys() & {child.removeprefix(f"{MARTS}.") for child in group.children}:
        model: Any = group.children[f"{MARTS}.{name}"]
        model.doc_md, model.owner = descriptions[name], DEFAULT_ARGS["owner"]
        model.add_outlets([ASSETS[name]] if name in ASSETS else [])
    return group


def model_descriptions() -> dict[str, str]:
    """Return what the manifest says of each model."""
    nodes = json.loads(MANIFEST.read_text())["nodes"].values()
    return {node["name"]: node["description"] for node in nodes if node["resource_type"] == "model"}


def say_days(context: Context) -> None:
    """Note in the events of a model's assets which days the run replaces."""
    model: Any = context["task"]
    for asset in model.outlets:
        context["outlet_events"][asset].extra = {
            "first_day": model.env["SALES_WINDOW_START"],
            "last_day": model.env["SALES_WINDOW_END"],
        }


# A teardown, so that a run whose marts are right succeeds even if the page fails. There is no
# retry, because the next run writes the page again.
@task(retries=0)
def report_page() -> str:
    """Write the page for analysts to the file that REPORT_PAGE names; return the file's path.

    Raises:
        AirflowSkipException: if REPORT_PAGE is not set, or a mart of this run was not built.
    """
    from datetime import UTC, datetime

    from report import marts, page

    if not (path := os.environ.get("REPORT_PAGE")):
        raise AirflowSkipException("REPORT_PAGE is not set: no page is wanted")
    context = get_current_context()
    run = context["dag_run"]
    states = context["ti"].get_task_states(run.dag_id, task_group_id=MARTS, run_ids=[run.run_id])
    if unbuilt := [name for name, state in states[run.run_id].items() if state != "success"]:
        raise AirflowSkipException(f"not built: {', '.join(sorted(unbuilt))}; the page stays")
    page.write(page.render(marts.read(), datetime.now(UTC)), Path(path))
    return path

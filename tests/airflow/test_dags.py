"""The DAGs: their import without any surroundings, and their structure."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow_runs import MODELS
from support import ROOT, Dbt

DAGS = ROOT / "airflow" / "dags"

DESCRIBE = """
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
bag = BundleDagBag(sys.argv[1], bundle_path=Path(sys.argv[1]))
print("<<<" + json.dumps({
    "errors": bag.import_errors,
    "dags": {
        dag.dag_id: {
            "file": dag.fileloc,
            "catchup": dag.catchup,
            "tasks": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
            "docs": {task.task_id: task.doc_md for task in dag.tasks},
            "owners": sorted({task.owner for task in dag.tasks}),
            "groups": {
                group.group_id: [group.tooltip, *sorted(group.children)]
                for name, group in dag.task_group.get_task_group_dict().items() if name
            },
            "params": {name: param.description for name, param in dag.params.items()},
            "doc": dag.doc_md,
            "outlets": {task.task_id: [o.name for o in task.outlets] for task in dag.tasks},
            "told": [
                type(dag.on_failure_callback).__name__,
                sorted({f.__name__ for task in dag.tasks for f in task.on_failure_callback}),
                [(d.name, d.interval.total_seconds(), d.callback.path) for d in dag.deadline or []],
            ],
            "retries": sorted({
                (task.retries, task.retry_delay.total_seconds(), task.retry_exponential_backoff)
                for task in dag.tasks if not task.is_teardown
            }),
            "fails_no_run": [
                task.task_id for task in dag.tasks
                if task.is_teardown and not task.on_failure_fail_dagrun
            ],
            "modes": {t.task_id: t.mode for t in dag.tasks if hasattr(t, "poke_interval")},
            "waits_for": [
                asset.name
                for asset in getattr(getattr(dag.timetable, "asset_condition", None), "objects", [])
            ],
        }
        for dag in bag.dags.values()
    },
}))
"""


@pytest.fixture(scope="module")
def bag(
    dbt_parsed: Dbt, dbt_target: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Airflow's DagBag of the folder, without database, connections or settings."""
    home = tmp_path_factory.mktemp("airflow")
    # The DAGs are made from the manifest in its usual place.
    target = ROOT / "dbt_project" / "target"
    target.mkdir(exist_ok=True)
    shutil.copy(dbt_target / "manifest.json", target)
    return described(DAGS, home, ALERT_WEBHOOK_URL="http://127.0.0.1:1")


def described(folder: Path, home: Path, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE, str(folder)],
        env={
            "PATH": os.defpath,
            "HOME": str(home),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody@127.0.0.1:1/none",
            # As in docs/deploying.md.
            "PYTHONPATH": str(ROOT),
            **environment,
        },
        text=True,
        capture_output=True,
    )
    assert "<<<" in done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.split("<<<")[1])
    return found


def test_every_file_is_a_dag_that_imports(bag: dict[str, Any]) -> None:
    assert bag["errors"] == {}
    files = {path.stem for path in DAGS.glob("*.py")} - {"sales_mart_tasks", "sales_mart_alerts"}
    assert files == set(bag["dags"]) == {"sales_mart_history", "sales_mart_increment"}
    for name, dag in bag["dags"].items():
        assert Path(dag["file"]).stem == name


def test_a_run_has_one_task_a_model(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        assert {task for task in dag["tasks"] if "marts." in task} == {
            f"marts.{model}" for model in MODELS
        }


def test_the_increment_goes_from_the_report_to_the_marts(bag: dict[str, Any]) -> None:
    tasks = bag["dags"]["sales_mart_increment"]["tasks"]
    steps = [
        *("print_info", "generate_report", "get_report", "get_increment"),
        "upload_user_order_inc",
    ]
    for before, after in pairwise(steps):
        assert before in tasks[after]
    for dimension in ("d_item", "d_city", "d_customer"):
        assert tasks[f"marts.{dimension}"] == ["upload_user_order_inc"]
        assert f"marts.{dimension}" in tasks["marts.f_sales"]
    assert "marts.f_sales" in tasks["marts.f_customer_retention"]


def test_the_history_does_the_same_without_the_increment(bag: dict[str, Any]) -> None:
    tasks = bag["dags"]["sales_mart_history"]["tasks"]
    assert set(tasks) - {f"marts.{model}" for model in MODELS} == {
        *("print_info", "generate_report", "get_report", "upload_user_order", "report_page")
    }


def test_the_page_comes_last_and_fails_no_run(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        assert dag["fails_no_run"] == ["report_page"]
        before = set(dag["tasks"]["report_page"])
        others = [names for task, names in dag["tasks"].items() if task != "report_page"]
        read = {name for names in others for name in names}
        assert before == {f"marts.{model}" for model in MODELS} - read != set()


def test_waiting_for_the_report_frees_the_worker(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        assert dag["modes"] == {"get_report": "reschedule"}
        assert not dag["catchup"]
        # After 10, 50 and 250 s; with a factor of 1 the delay would not grow.
        assert dag["retries"] == [[3, 10, 5]]


def test_every_task_says_what_it_does_and_whose_it_is(bag: dict[str, Any]) -> None:
    for dag in bag["dags"].values():
        assert dag["doc"].startswith(("Every day:", "On demand:"))
        assert {task for task, doc in dag["docs"].items() if len(doc or "") < 20} == set()
        assert "*One row per order line" in dag["docs"]["marts.f_sales"]
        assert dag["owners"] == ["retail_retention"]
        assert all(len(description) > 20 for description in dag["params"].values())


def test_the_graph_has_two_groups_and_what_follows_them(bag: dict[str, Any]) -> None:
    for name, last in (
        ("sales_mart_increment", "upload_user_order_inc"),
        ("sales_mart_history", "upload_user_order"),
    ):
        dag = bag["dags"][name]
        tooltip, *steps = dag["groups"]["delivery"]
        assert "staging" in tooltip and {"print_info", "generate_report", last} < set(steps)
        tooltip, *models = dag["groups"]["marts"]
        assert "tested" in tooltip and set(models) == {f"marts.{model}" for model in MODELS}
        assert set(dag["tasks"]) - {*steps, *models} == {"report_page"}


def test_a_failed_run_and_a_late_day_are_told(bag: dict[str, Any], tmp_path: Path) -> None:
    late = ["late", 6 * 3600, "sales_mart_alerts.tell_late"]
    for name, deadlines in (("sales_mart_increment", [late]), ("sales_mart_history", [])):
        assert bag["dags"][name]["told"] == ["RunNotifier", ["note_failure"], deadlines]
    # If nobody is to be told there is no deadline, which `airflow dags test` cannot do with.
    nobody = described(DAGS, tmp_path)["dags"]["sales_mart_increment"]["told"]
    assert nobody == ["RunNotifier", ["note_failure"], []]


def test_the_two_facts_are_assets_and_the_example_waits_for_them(
    bag: dict[str, Any], tmp_path: Path
) -> None:
    facts = {"marts.f_sales": ["mart.f_sales"]}
    facts["marts.f_customer_retention"] = ["mart.f_customer_retention"]
    for dag in bag["dags"].values():
        assert {task: names for task, names in dag["outlets"].items() if names} == facts
    text = (ROOT / "docs" / "deploying.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "weekly_figures.py").write_text(example)
    consumer = described(tmp_path / "dags", tmp_path)
    assert consumer["errors"] == {}
    assert sorted(consumer["dags"]["weekly_figures"]["waits_for"]) == [
        "mart.f_customer_retention",
        "mart.f_sales",
    ]


def test_the_dags_are_wiring_and_nothing_shadows_airflow() -> None:
    for name in ("sales_mart_history", "sales_mart_increment"):
        assert len((DAGS / f"{name}.py").read_text().splitlines()) < 60
    assert not list((ROOT / "airflow").rglob("__init__.py"))
    # dbt imports modules with names that begin so.
    assert not list(DAGS.glob("dbt_*"))


@pytest.mark.parametrize(
    ("chosen", "interval_start", "day"),
    [
        ("2024-02-25", "2024-02-20", "2024-02-25"),
        (None, "2024-02-20", "2024-02-20"),
        (None, None, "2024-03-02"),
    ],
    ids=["parameter", "data interval", "the day before the run"],
)
def test_the_business_day(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, interval_start: str | None, day: str
) -> None:
    monkeypatch.syspath_prepend(str(DAGS))
    from sales_mart_tasks import business_day

    start = datetime.fromisoformat(interval_start).replace(tzinfo=UTC) if interval_start else None
    run = SimpleNamespace(
        data_interval_start=start, run_after=datetime(2024, 3, 3, 0, 10, tzinfo=UTC)
    )
    assert str(business_day({"params": {"date": chosen}, "dag_run": run})) == day


@pytest.mark.parametrize("conf", [None, {}, {"date": "2024-02-25"}, {"allow_empty": True}])
def test_parameters_that_the_dag_has(
    monkeypatch: pytest.MonkeyPatch, conf: dict[str, Any] | None
) -> None:
    monkeypatch.syspath_prepend(str(DAGS))
    from airflow.sdk import DAG
    from sales_mart_tasks import refuse_unknown_parameters

    dag = DAG("increment", params={"date": None, "allow_empty": False})
    refuse_unknown_parameters({"dag": dag, "dag_run": SimpleNamespace(conf=conf)})


def test_a_misspelt_parameter_is_refused_and_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DAGS))
    from airflow.sdk import DAG
    from airflow.sdk.exceptions import AirflowFailException
    from sales_mart_tasks import refuse_unknown_parameters

    dag = DAG("increment", params={"date": None, "allow_empty": False})
    run = SimpleNamespace(conf={"dat": "2024-02-25", "allow_empty": True})
    said = "unknown parameter 'dat': increment takes allow_empty and date"
    with pytest.raises(AirflowFailException, match=said):
        refuse_unknown_parameters({"dag": dag, "dag_run": run})


def test_what_no_retry_can_mend_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DAGS))
    from airflow.sdk.exceptions import AirflowFailException
    from sales_mart_tasks import fail_fast

    from loaders.errors import DeliveryRefused, TransientError

    with pytest.raises(AirflowFailException, match="no such day"), fail_fast():
        raise DeliveryRefused("no such day")
    with pytest.raises(TransientError), fail_fast():
        raise TransientError("busy")

"""The modules that workers of the local Airflow have loaded when they start."""

import json
import os
import subprocess
import sys
from pathlib import Path

from support import ROOT, Warehouse

DAGS = ROOT / "airflow" / "dags"
# The work of a task process, and before it that of the process it is forked from.
A_TASK = """
import json, os, sys
from pathlib import Path
import airflow.settings
airflow.settings.initialize()
from local.executor import load
load()
del os.environ["DBT_TARGET"]
before = set(sys.modules)

from airflow.dag_processing.dagbag import BundleDagBag
dags = Path(sys.argv[1])
bag = BundleDagBag(dags / "sales_mart_increment.py", bundle_path=dags, safe_mode=False)
assert not bag.import_errors, bag.import_errors
model = bag.dags["sales_mart_increment"].get_task("marts.d_item")
model.profile_config.get_profile_type()
model._get_dbt_local_artifact_processor()
import loaders.report_api, loaders.warehouse
from dbt.cli.main import dbtRunner
done = dbtRunner().invoke(["--quiet", *model.dbt_cmd_global_flags, "build", "--select=d_item"])
assert done.success, done.exception

installed = {
    name for name in set(sys.modules) - before
    if "site-packages" in (getattr(sys.modules[name], "__file__", None) or "")
}
print("<<<" + json.dumps(sorted(installed)))
"""


def test_a_task_finds_every_package_imported(warehouse: Warehouse, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", A_TASK, str(DAGS)],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__COSMOS__CACHE_DIR": str(tmp_path),
            "DBT_TARGET": "of some other project",
            "PYTHONPATH": str(ROOT),
        },
        cwd=ROOT,
        text=True,
        capture_output=True,
    )
    assert "<<<" in done.stdout, done.stdout + done.stderr
    assert "dbt was not prepared" not in done.stdout + done.stderr
    # Each package has a line with its version.
    late = set(json.loads(done.stdout.split("<<<")[1])) - {
        "airflow.version",
        "dbt.adapters.__about__",
    }
    assert not late, "every task imports them"

"""All commands from a shell full of other projects' settings: none fails or does other work."""

import time
from pathlib import Path

from hostile import HOSTILE, ROOT, local, make, on_state, run

# In the shell of `make env`, in a folder outside the project.
SESSION = r"""
set -eu
eval "$(make --assume-old=.venv/.ready env "$1")"
eval "$(make --assume-old=.venv/.ready env "$1")"  # a second time changes nothing
cd /
psql -Atc "select count(*), current_setting('search_path') from mart.f_sales"
dbt --quiet ls --select f_sales --resource-type model --output name
python -m loaders quarantine list
python -c '
import os, pathlib, sys, requests
print("found", requests.utils.get_environ_proxies(os.environ["REPORT_API_URL"]))
from airflow.dag_processing.dagbag import BundleDagBag
dags = pathlib.Path(sys.argv[1])
bag = BundleDagBag(dags, bundle_path=dags)
print("found", sorted(bag.dags), bag.import_errors)
' "$OLDPWD/airflow/dags" | sed -n 's/^found //p'
command -v airflow
python -m local --state "$2" airflow dags list 2>&1 || echo "status $?"
"""


def test_the_warehouse_is_built_and_used(tmp_path: Path) -> None:
    home, state = tmp_path / "home", tmp_path / "it's a state"
    home.mkdir()
    env = {**HOSTILE, "HOME": str(home)}
    manifest = ROOT / "dbt_project" / "target" / "manifest.json"
    began = time.time()
    try:
        built = make("-s", "warehouse", on_state(state), **env)
        assert built.returncode == 0, built.stdout + built.stderr
        assert manifest.stat().st_mtime > began
        done = run("/bin/sh", "-c", SESSION, "sh", on_state(state), state, cwd=ROOT, **env)
    finally:
        local(state, "down")
    assert done.stdout.splitlines() == [
        '0|"$user", public',
        "f_sales",
        "nothing is rejected",
        "{}",
        "['sales_mart_history', 'sales_mart_increment'] {}",
        str(ROOT / "local/commands/airflow"),
        "error: Airflow's database is not there: `make up` prepares and starts it.",
        "status 1",
    ], done.stdout + done.stderr
    assert list(home.iterdir()) == []

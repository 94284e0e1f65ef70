"""Airflow's LocalExecutor, which imports what tasks need before its workers fork.

A task is a fork of a worker, and a worker is a fork of the scheduler. So modules that are imported
before the forks are imported once. These are installed packages only: a task reads the checkout's
own code as it is when the task runs.
"""

import gc
import logging
from contextlib import chdir
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow.executors.local_executor import LocalExecutor

# Modules that tasks of the DAGs import, directly or through others.
_MODULES = (
    "airflow.dag_processing.dagbag",
    "airflow.providers.common.io.assets.file",
    "airflow.providers.postgres.assets.postgres",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.decorators.sensor",
    "airflow.sdk.definitions.decorators",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.lineage",
    "cosmos.airflow.task_group",
    "cosmos.operators.local",
    "cosmos.plugin.airflow3",
    "cosmos.profiles",
    "dbt.adapters.postgres",
    "dbt.cli.main",
    "dbt.parser.schema_yaml_readers",
    "dbt.task.build",
    "dbt_common.clients.agate_helper",
    "openlineage.common.provider.dbt.local",
    "psycopg2",
    "requests",
    "upath.implementations.local",
)
# Airflow imports it in every task where the packages of the group lineage are installed.
_LINEAGE = "airflow.providers.openlineage.plugins.openlineage"

# These options override variables DBT_..., which may be meant for other projects.
_HERE = (
    *("--project-dir=.", "--profiles-dir=.", "--profile=empty"),
    *("--target=none", "--target-path=target"),
)
_PROJECT = {
    "dbt_project.yml": "{name: empty, profile: empty}",
    "profiles.yml": "empty: {target: none, outputs: {none: {type: postgres, host: '', port: 1,"
    " user: '', password: '', dbname: '', schema: ''}}}",
    "models/empty.sql": "select 1 as id",
    "models/empty.yml": "models: [{name: empty, columns: [{name: id, data_tests: [not_null]}]}]",
}


_log = logging.getLogger(__name__)


class WarmLocalExecutor(LocalExecutor):
    def start(self) -> None:
        """Import what tasks need, then fork the workers."""
        load()
        super().start()


def load() -> None:
    """Import the packages, and let dbt generate the code that it generates at its first use.

    Generating that code is half the cost of building a small model. dbt generates it for a project
    of one model, without a database. The first parse reads the files, the second the result of the
    first.
    """
    for module in _MODULES:
        import_module(module)
    if find_spec("airflow.providers.openlineage"):
        import_module(_LINEAGE)
    from dbt.adapters.factory import reset_adapters
    from dbt.cli.main import dbtRunner

    with TemporaryDirectory() as folder, chdir(folder):
        for name, text in _PROJECT.items():
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text(text)
        for _ in range(2):
            done = dbtRunner().invoke(["--quiet", "--log-level-file=none", "parse", *_HERE])
            if not done.success:
                _log.warning("tasks will be slower, dbt was not prepared: %s", done.exception)
    # Tasks must not inherit what an adapter holds, such as semaphores.
    reset_adapters()  # type: ignore[no-untyped-call]
    gc.collect()

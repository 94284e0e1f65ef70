"""Checks the style of the SQL in dbt_project: `python -m local.lint_sql`.

sqlfluff lints the SQL that dbt renders. dbt needs a database to render it; an empty one is enough.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from local.postgres import DATABASE, EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Return sqlfluff's own exit code: 0 if nothing was found."""
    sqlfluff = str(Path(sys.executable).with_name("sqlfluff"))
    with (
        tempfile.TemporaryDirectory(prefix="lint-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres", fsync=False) as server,
    ):
        # A separate target folder, because the manifest that the DAGs read must not change.
        env = os.environ | server.env(DATABASE) | {"DBT_TARGET_PATH": f"{folder}/target"}
        return subprocess.run(
            [sqlfluff, "lint", "--disable-progress-bar", "dbt_project/models", "dbt_project/tests"],
            cwd=ROOT,
            env=env,
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())

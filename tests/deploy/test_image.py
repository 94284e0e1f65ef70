"""The image of deploy/Dockerfile, its steps carried out in a clean Debian.

Shown: every step works there as it stands, without a compiler; what the image holds and what it
does not; that its user runs it and cannot change it.
Not shown: that a container engine reads the file in the same way (hadolint reads it, see
test_files.py), and Debian's published image: a `debootstrap` of its release stands for it.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clean_root import Stage, build, instructions
from support import ROOT, Warehouse

from local.install import UV, installing

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
DEBOOTSTRAP = Path("/usr/sbin/debootstrap")
CODE = "/opt/retail-retention"
GROUPS = ("loaders", "dbt", "airflow", "report", "workers")

pytestmark = [
    pytest.mark.image,
    pytest.mark.xdist_group("image"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a clean root needs root"),
    pytest.mark.skipif(not DEBOOTSTRAP.exists(), reason="debootstrap is not installed"),
]

BAG = """
import sys
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag
folder = Path(sys.argv[1])
bag = BundleDagBag(folder, bundle_path=folder)
print("<<<", bag.import_errors, sorted(bag.dags))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("image")
    (_, base), *_ = instructions(DOCKERFILE)
    release = re.match(r"debian:([a-z]+)", base)
    assert release, base
    debian = folder / "debian"
    done = subprocess.run(
        [DEBOOTSTRAP, "--variant=minbase", release[1], debian],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no Debian {release[1]} could be had: {done.stdout[-300:]}")
    cache = Path(installing(os.environ)["UV_CACHE_DIR"])
    yield build(DOCKERFILE, debian, folder, cache)
    shutil.rmtree(folder)


def test_its_user_is_not_root_and_cannot_change_the_code(image: Stage) -> None:
    assert image.user == "50000"
    assert image.run("id", "-u").stdout == "50000\n"
    for path in (CODE, f"{CODE}/airflow/dags", f"{CODE}/.venv/bin", "/entrypoint", "/etc"):
        done = image.run("test", "-w", path)
        assert done.returncode == 1, path
    # Another user of group 0 will do as well.
    for user in ("50000", "1234"):
        done = image.run("touch", "/opt/airflow/written", user=user)
        assert done.returncode == 0, done.stderr
        (image.root / "opt/airflow/written").unlink()


def test_it_holds_what_runs_and_nothing_else(image: Stage) -> None:
    tools = "cc gcc g++ make pip pip3 uv git psql postgres initdb"
    assert image.run("sh", "-c", f"command -v {tools}").stdout == ""
    held = [path for path in image.root.rglob("*") if path.name in ("postgres", "initdb", "cc1")]
    # Packages of Python and of dbt have folders with such a name.
    assert [path for path in held if not path.is_dir()] == []
    assert not (image.root / CODE.lstrip("/") / "shop_api").exists()
    listed = image.run(
        "python", "-c",
        "from importlib.metadata import distributions as d;"
        "print(*sorted({x.metadata['Name'].lower().replace('_', '-') for x in d()}))",
    ).stdout.split()  # fmt: skip
    chosen = [word for group in GROUPS for word in ("--group", group)]
    export = subprocess.run(
        [UV, "export", "--quiet", "--frozen", "--no-default-groups", *chosen, "--no-hashes",
         "--no-annotate", "--no-header"],
        cwd=ROOT, env=installing(os.environ), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    locked = {re.split("[=; ]", line)[0].lower() for line in export.splitlines() if line}
    assert set(listed) <= locked
    assert {"apache-airflow", "apache-airflow-providers-celery", "dbt-postgres"} <= set(listed)


def test_its_dags_import_without_a_warehouse_and_without_settings(image: Stage) -> None:
    manifest = image.root / CODE.lstrip("/") / "dbt_project" / "target" / "manifest.json"
    assert manifest.is_file()
    # As Astro's layout has it: a link at the top of the project.
    (image.root / "opt/airflow/dags").symlink_to(f"{CODE}/airflow/dags")
    for folder in (f"{CODE}/airflow/dags", "/opt/airflow/dags"):
        done = image.run("python", "-c", BAG, folder)
        assert "<<< {} ['sales_mart_history', 'sales_mart_increment']" in done.stdout, (
            done.stdout + done.stderr
        )


def test_its_entrypoint_takes_secrets_from_files(image: Stage) -> None:
    secret = image.root / "opt/airflow/secret"
    told = {"PGPASSWORD_FILE": "/opt/airflow/secret"}
    secret.write_text("p'a $word\n")
    secret.chmod(0o600)
    os.chown(secret, 50000, 0)
    show = ("sh", "-c", 'echo "$PGPASSWORD ${PGPASSWORD_FILE-gone}"')
    assert image.run(*image.entrypoint, *show, env=told).stdout == "p'a $word gone\n"
    secret.write_text("")
    done = image.run(*image.entrypoint, *show, env=told)
    assert (done.returncode, done.stdout) == (1, "")
    assert "PGPASSWORD_FILE=/opt/airflow/secret: empty" in done.stderr
    secret.unlink()


def test_it_prepares_a_warehouse_as_compose_has_it(image: Stage, empty_database: Warehouse) -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    service = compose["services"]["prepare"]
    secret = image.root / "run" / "warehouse_password"
    secret.write_text(empty_database.env["PGPASSWORD"])
    secret.chmod(0o644)
    env = {**service["environment"], **empty_database.env}
    del env["PGPASSWORD"]
    words = [*image.entrypoint, "env", "-C", service["working_dir"], *service["command"]]
    done = image.run(*words, env={**env, "PGPASSWORD_FILE": "/run/warehouse_password"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert empty_database.value("select count(*) from mart.d_calendar") == 29_220


def test_its_command_runs(image: Stage) -> None:
    done = image.run(*image.entrypoint, *image.command)
    assert done.stdout.strip() == re.findall(r"apache-airflow==(\S+)\"", _pyproject())[0]
    for words in (["celery", "worker", "--help"], ["api-server", "--help"]):
        assert image.run(*image.entrypoint, "airflow", *words).returncode == 0


def _pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text()

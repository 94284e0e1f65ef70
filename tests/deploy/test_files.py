"""The files of deploy/ against their formats' own rules, and against ours.

Shown: hadolint finds nothing in the Dockerfile; compose.yaml and the Helm values are what their
schemas allow; no secret has a value in them, and nothing is published beyond this machine.
Not shown: that a container engine or a cluster starts them.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from clean_root import instructions
from groups import installed
from support import ROOT

from local import environment

DEPLOY = ROOT / "deploy"
# `helm pull apache-airflow/airflow --untar` brings it.
CHART_SCHEMA = ROOT / ".local" / "airflow" / "values.schema.json"
SECRET = re.compile("PASSWORD|SECRET|FERNET|API_KEY|BROKER_URL|SQL_ALCHEMY_CONN", re.IGNORECASE)

pytestmark = [pytest.mark.image, pytest.mark.xdist_group("image")]


@pytest.fixture(scope="module")
def tools() -> Path:
    return installed("deploy-tools", "deploy")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return content


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "helm-values.yaml").read_text())
    return content


def checked(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing(tools: Path) -> None:
    checked(tools / "hadolint", "--failure-threshold", "style", "Dockerfile")


def test_every_secret_of_the_settings_may_come_from_a_file(tmp_path: Path) -> None:
    settings = [
        *(*environment.WAREHOUSE, *environment.DBT_ACCOUNT, *environment.REPORT_API),
        *(*environment.ALERTS, *environment.AIRFLOW_METADATA),
    ]
    secret = [name for name in settings if re.search("PASSWORD|KEY|CONN|WEBHOOK", name)]
    assert len(secret) >= 7
    (tmp_path / "secret").write_text("from a file\n")
    files = {f"{name}_FILE": str(tmp_path / "secret") for name in secret}
    done = subprocess.run(
        ["/bin/sh", DEPLOY / "entrypoint", "env"],
        env={"PATH": os.defpath, **files},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {f"{name}=from a file" for name in secret} <= set(done.stdout.splitlines())


def test_what_the_image_copies_is_all_that_an_engine_is_sent() -> None:
    sources = set()
    for name, words in instructions(DEPLOY / "Dockerfile"):
        if name == "COPY" and not words.startswith("--from"):
            sources.update(words.split()[:-1])
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in sent if line.startswith("!")} == sources
    assert sent[1] == "*"
    assert all((ROOT / source).exists() for source in sources)


def test_compose_is_what_its_schema_allows(tools: Path) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    checked(tools / "check-jsonschema", *schema, "compose.yaml")


def test_compose_has_every_part_and_starts_them_in_order(compose: dict[str, Any]) -> None:
    services = compose["services"]
    # No task of ours defers: no triggerer.
    assert set(services) == {
        *("metadata", "warehouse", "broker", "migrate", "prepare"),
        *("api-server", "scheduler", "dag-processor", "worker"),
    }
    for name, service in services.items():
        lasting = service["restart"] != "no"
        assert ("healthcheck" in service) == lasting, name
        for needed, how in service.get("depends_on", {}).items():
            ends = services[needed]["restart"] == "no"
            expected = "service_completed_successfully" if ends else "service_healthy"
            assert how["condition"] == expected, f"{name} after {needed}"


def test_compose_publishes_the_ui_on_loopback_and_nothing_else(compose: dict[str, Any]) -> None:
    published = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert published == {"api-server": ["127.0.0.1:8080:8080"]}
    assert compose["networks"]["backend"] == {"internal": True}
    for name, service in compose["services"].items():
        outside = "outside" in service["networks"]
        assert outside == (name in ("api-server", "worker")), name
        assert "privileged" not in service and "network_mode" not in service


def test_compose_has_every_secret_from_a_file(compose: dict[str, Any]) -> None:
    assert {s["file"] for s in compose["secrets"].values()} == {
        f"secrets/{name}" for name in compose["secrets"]
    }
    used: set[str] = set()
    for name, service in compose["services"].items():
        told = service.get("environment", {})
        for variable, value in told.items():
            if SECRET.search(variable) and value and "_URL" not in variable.removesuffix("_FILE"):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
        files = {
            value.removeprefix("/run/secrets/")
            for value in told.values()
            if value.startswith("/run/secrets/")
        }
        used.update(service.get("secrets", []))
        assert files <= set(service.get("secrets", [])), name
    assert used == set(compose["secrets"])
    # Who runs tasks cannot sign for others, and who plans them cannot read the warehouse.
    assert "jwt_secret" not in compose["services"]["worker"]["secrets"]
    assert "warehouse_password" not in compose["services"]["scheduler"]["secrets"]


def test_every_secret_is_made_random_and_for_its_owner_alone(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    script = tmp_path / "make-secrets"
    script.write_text((DEPLOY / "make-secrets").read_text())
    made = []
    for _ in range(2):
        done = subprocess.run(["sh", script], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        files = {path.name: path for path in (tmp_path / "secrets").iterdir()}
        assert set(files) == set(compose["secrets"]) - {"report_api_key"} | {"passwords.json"}
        assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
        made.append({name: path.read_text() for name, path in files.items()})
    assert made[0] == made[1], "what is there stays"
    assert len(set(made[0].values())) == len(made[0])
    assert made[0]["metadata_password"].strip() in made[0]["metadata_address"]
    assert made[0]["broker_password"].strip() in made[0]["broker_address"]


def test_helm_values_are_what_the_chart_allows(tools: Path) -> None:
    if not CHART_SCHEMA.exists():
        pytest.skip(f"the chart's own schema is not here: {CHART_SCHEMA.relative_to(ROOT)}")
    checked(tools / "check-jsonschema", "--schemafile", CHART_SCHEMA, "helm-values.yaml")


def test_helm_values_fit_the_image_and_hold_no_secret(values: dict[str, Any]) -> None:
    pinned = re.search(r"apache-airflow==([0-9.]+)", (ROOT / "pyproject.toml").read_text())
    assert pinned and values["airflowVersion"] == pinned[1]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"USER {values['uid']}" in dockerfile
    assert values["config"]["core"]["dags_folder"] in dockerfile
    assert not values["createUserJob"]["defaultUser"]["enabled"], "it has a default password"
    assert not values["postgresql"]["enabled"] and not values["triggerer"]["enabled"]
    assert values["apiServer"]["service"]["type"] == "ClusterIP"
    for setting in (*values["env"], *values["workers"]["env"]):
        if SECRET.search(setting["name"]):
            assert set(setting["valueFrom"]) == {"secretKeyRef"}, setting["name"]

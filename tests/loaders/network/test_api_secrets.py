"""Unusable settings are refused, and no secret is shown anywhere."""

import logging
import os
from pathlib import Path

import pytest
from faulty_server import FaultyServer, answer
from support import Warehouse, run_command

from loaders.errors import TerminalError
from loaders.report_api import ReportApi
from loaders.settings import ReportApiSettings

KEY, PASSWORD = "key-5f55e6c0e9e54a9c", "password-b31363c01fc3"
URL = "https://reports.example.org"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("URL", URL), ("NICKNAME", "local"), ("COHORT", "1"), ("KEY", KEY)):
        monkeypatch.setenv(f"REPORT_API_{name}", value)


def test_every_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPORT_API_COHORT")
    monkeypatch.setenv("REPORT_API_KEY", " \n")
    with pytest.raises(TerminalError, match=r"REPORT_API_COHORT, REPORT_API_KEY$"):
        ReportApiSettings.from_environment()


def test_the_line_break_at_the_end_of_a_key_file_is_no_part_of_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPORT_API_KEY", f"{KEY}\n")
    assert ReportApiSettings.from_environment().api_key == KEY


@pytest.mark.parametrize("value", [f"{KEY}\r\nX-Other: 1", f"{KEY} ключ"])
def test_a_key_that_no_header_carries_is_refused_unseen(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORT_API_KEY", value)
    with pytest.raises(TerminalError, match="REPORT_API_KEY holds characters") as error:
        ReportApiSettings.from_environment()
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "reports.example.org",
        "localhost:8000",
        "file:///etc/hostname",
        "https://",
        "https://[::1",
        "https://host:port",
        f"https://user:{PASSWORD}@reports.example.org",
        f"https://reports.example.org/?key={PASSWORD}",
    ],
)
@pytest.mark.parametrize("variable", ["REPORT_API_URL", "REPORT_STORAGE_URL"])
def test_an_address_that_is_none_is_refused_unseen(
    url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(TerminalError, match=f"{variable} is no address") as error:
        ReportApiSettings.from_environment()
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://reports.example.org", True),
        ("https://reports.example.org", False),
        ("http://127.0.0.1:8000", False),
        ("http://localhost:8000", False),
    ],
)
def test_a_key_sent_in_the_clear_is_told(
    url: str, told: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORT_API_URL", url)
    ReportApi(ReportApiSettings.from_environment())
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert bool(warned) == told
    assert KEY not in caplog.text


LOAD = "python -m loaders increment --date 2024-02-25"


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        (LOAD, "wrong password"),
        (LOAD, "refused"),
        (LOAD, "no such host"),
        (LOAD, "no TLS"),
        ("alembic upgrade head", "wrong password"),
        ("alembic upgrade head", "no TLS"),
        ("dbt --debug --log-level-file debug --log-path {folder} debug", "wrong password"),
        ("dbt --debug --log-level-file debug --log-path {folder} debug", "no TLS"),
    ],
)
def test_no_program_tells_the_password_or_the_key(
    program: str, fault: str, empty_database: Warehouse, tmp_path: Path
) -> None:
    changes = {
        "wrong password": {"PGPASSWORD": PASSWORD},
        "refused": {"PGPORT": "1"},
        "no such host": {"PGHOST": "warehouse.invalid"},
        # Every program obeys this setting, and none continues without TLS.
        "no TLS": {"PGSSLMODE": "require"},
    }[fault]
    # Undone before the database is dropped.
    with FaultyServer() as service, pytest.MonkeyPatch.context() as patch:
        for name, value in {**changes, "REPORT_API_URL": service.address}.items():
            patch.setenv(name, value)
        password = os.environ["PGPASSWORD"]
        days = {"start_day": "2024-02-02", "end_date": "2024-02-24"}
        addresses = {"user_order_log_inc": f"{service.address}/orders.csv"}
        service.script = [
            answer({"task_id": "task"}),
            answer({"status": "SUCCESS", "data": {"report_id": "report", **days}}),
            answer({"status": "SUCCESS", "data": {"increment_id": "i", "s3_path": addresses}}),
            answer(b""),
        ]
        done = run_command(*program.format(folder=tmp_path).split(), check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    # The program reached the warehouse, and its message says what is wrong there.
    assert {
        "wrong password": "authentication failed",
        "refused": "refused",
        "no such host": "warehouse.invalid",
        "no TLS": "server does not support SSL, but SSL was required",
    }[fault] in said
    logs = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert bool(logs) == program.startswith("dbt")
    for secret in (password, KEY):
        assert secret not in "".join([said, *logs])

"""The command line: the process starts, prints its address, answers, and ends on a signal."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from shop_client import HEADERS, SECONDS, ShopClient, rows

from shop_api.generated import GeneratedSource

ROOT = Path(__file__).parents[2]

Start = Callable[..., tuple["subprocess.Popen[str]", ShopClient]]


@pytest.fixture
def start_process() -> Iterator[Start]:
    """A function that starts `python -m shop_api --port 0` with options until the test's end."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, key: str = "", **env: str) -> tuple[subprocess.Popen[str], ShopClient]:
        process = subprocess.Popen(
            [sys.executable, "-m", "shop_api", "--port", "0", *options],
            cwd=ROOT,
            # With the default buffering, so that a line that is not flushed would be missed.
            env={**os.environ, "REPORT_API_KEY": "", "PYTHONUNBUFFERED": "", **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], SECONDS)
        assert ready, "the process prints nothing"
        line = process.stdout.readline()
        match = re.fullmatch(r"shop_api listening on (http://127\.0\.0\.1:[0-9]+)\n", line)
        assert match, line
        return process, ShopClient(match[1], {**HEADERS, "X-API-KEY": key or "local-stand-in-key"})

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_process_answers_until_it_is_told_to_stop(
    start_process: Start, stop: signal.Signals
) -> None:
    process, shop = start_process(
        "--today", "2024-03-03", "--running-seconds", "0", "--orders-per-day", "20",
        "--newline", "crlf",
    )  # fmt: skip
    data = shop.report()
    assert data["start_day"] == "2024-02-02 00:00:00"
    orders = shop.orders("2024-03-01", data["report_id"])
    assert 15 <= len({row["uniq_id"] for row in rows(orders)}) <= 25
    assert orders.endswith(b"\r\n")

    with requests.Session() as session:
        session.get(shop.base_url, timeout=SECONDS)  # a caller that keeps its connection open
        asked = time.monotonic()
        process.send_signal(stop)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert time.monotonic() - asked < 2
    assert out == ""
    assert err.splitlines()[0] == "shop_api: POST /generate_report -> 200"
    assert "Traceback" not in err


def test_the_options_reach_the_shop(start_process: Start, start_shop: Any, tmp_path: Path) -> None:
    (tmp_path / "increment_2022-12-05__user_order_log_inc.csv").write_bytes(b"recorded")
    _, shop = start_process(
        "--today", "2022-12-09", "--running-seconds", "0", "--recorded", str(tmp_path)
    )
    assert shop.orders("2022-12-05") == b"recorded"

    _, running = start_process("--omit-running-status")
    task_id = running.start_report()
    assert running.poll(task_id) == {"task_id": task_id}

    options = ("--today", "2024-03-03", "--running-seconds", "0")
    _, seeded = start_process(*options, "--seed", "5")
    _, fresh = start_process(*options, "--seed", "5", "--fresh-orders")
    orders = [rows(shop.orders("2024-03-01"))[0]["uniq_id"] for shop in (seeded, seeded, fresh)]
    assert orders[0] == orders[1] != orders[2]
    expected = start_shop(GeneratedSource(seed=5)).orders("2024-03-01")
    assert orders[0] == rows(expected)[0]["uniq_id"]


def test_the_key_comes_from_the_option_or_the_environment(start_process: Start) -> None:
    _, by_environment = start_process(key="from-the-env", REPORT_API_KEY="from-the-env")
    assert by_environment.start_report()
    _, by_option = start_process(
        "--api-key", "from-the-option", key="from-the-option", REPORT_API_KEY="from-the-env"
    )
    assert by_option.start_report()
    by_option.headers["X-API-KEY"] = "from-the-env"
    assert by_option.get("/get_report", task_id="x").status_code == 401


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--today", "03.03.2024"), "expected YYYY-MM-DD"),
        (("--today", "1812-09-07"), "not in 1970 to 2100"),
        (("--running-seconds", "-1"), "expected seconds from 0"),
        (("--running-seconds", "nan"), "expected seconds from 0"),
        (("--orders-per-day", "5001"), "not in 0 to 5000"),
        (("--recorded", "nowhere"), "no directory of recorded deliveries: nowhere"),
        (("--recorded", ".", "--fresh-orders"), "served as they are"),
        (("--host", "256.0.0.1", "--api-key", "own"), "cannot listen on 256.0.0.1:0"),
        (("--host", "0.0.0.0"), "--host 0.0.0.0: everybody knows the default key"),
        (("--host", "::"), "--host ::: everybody knows the default key"),
        (("--port", "70000"), "cannot listen on 127.0.0.1:70000"),
    ],
)
def test_impossible_options_end_with_a_sentence(options: tuple[str, ...], sentence: str) -> None:
    end = subprocess.run(
        [sys.executable, "-m", "shop_api", "--port", "0", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (end.returncode, end.stdout) == (2, "")
    assert sentence in end.stderr
    assert "Traceback" not in end.stderr

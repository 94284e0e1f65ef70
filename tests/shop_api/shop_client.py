"""A caller of the stand-in, with plain requests and plain answers."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import requests

KEY = "key-of-the-tests"
TODAY = date(2024, 3, 3)
HEADERS = {"X-Nickname": "tester", "X-Cohort": "7", "X-Project": "True", "X-API-KEY": KEY}
SECONDS = 10  # a call takes this long only if something hangs


@dataclass
class Clock:
    """A clock that the test moves by hand."""

    now: datetime = datetime(2026, 5, 6, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **how_far: float) -> None:
        self.now += timedelta(**how_far)


@dataclass
class ShopClient:
    base_url: str
    headers: dict[str, str] = field(default_factory=lambda: dict(HEADERS))

    def get(self, path: str, **query: str) -> requests.Response:
        return requests.get(
            self.base_url + path, params=query, headers=self.headers, timeout=SECONDS
        )

    def start_report(self) -> str:
        response = requests.post(
            f"{self.base_url}/generate_report", headers=self.headers, timeout=SECONDS
        )
        assert response.status_code == 200, response.text
        return str(response.json()["task_id"])

    def poll(self, task_id: str) -> dict[str, Any]:
        response = self.get("/get_report", task_id=task_id)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def report(self) -> dict[str, Any]:
        """Return the `data` of a new report, which has to be finished at once."""
        answer = self.poll(self.start_report())
        assert answer["status"] == "SUCCESS", answer
        return dict(answer["data"])

    def increment(self, report_id: str, day: str) -> dict[str, Any]:
        response = self.get("/get_increment", report_id=report_id, date=f"{day}T00:00:00")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def history(self) -> bytes:
        """Return the order file of a new report."""
        return download(self.report()["s3_path"]["user_order_log"])

    def orders(self, day: str, report_id: str | None = None) -> bytes:
        """Return the order file of a day, of the given report or a new one."""
        answer = self.increment(report_id or self.report()["report_id"], day)
        assert answer["status"] == "SUCCESS", answer
        return download(answer["data"]["s3_path"]["user_order_log_inc"])


def download(address: str) -> bytes:
    """Return a file as a caller without headers gets it."""
    response = requests.get(address, timeout=SECONDS)
    assert response.status_code == 200, response.text
    return response.content


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"))))


def distinct(of: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows without repetitions: rows that equal an earlier one except for `id`."""
    return list({tuple(v for k, v in row.items() if k != "id"): row for row in of[::-1]}.values())[
        ::-1
    ]

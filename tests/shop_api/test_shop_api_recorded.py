"""Recorded deliveries are served byte for byte; other calls get a clear refusal."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests
from samples import SAMPLES, needs_samples
from shop_client import SECONDS, download, rows

from shop_api.recorded import RecordedSource

# Bytes that decoding and encoding would change.
HISTORY = b"\xef\xbb\xbfid,uniq_id\r\n1,\xff\n\r2,b"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    for name, content in {
        "report_2024-03-03__user_order_log.csv": HISTORY,
        "report_2024-03-04__user_order_log.csv": b"another report",
        "increment_2024-02-25__user_order_log_inc.csv": b"orders of 25",
        "increment_2024-02-25__price_log_inc.csv": b"prices of 25",
        "increment_2024-02-27__price_log_inc.csv": b"prices of 27",
        "increment_2024-03-03__price_log_inc.csv": b"prices of another report",
        "increment_2022-12-05__user_order_log_inc.csv": b"orders of 2022",
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_the_files_of_a_report_are_served_byte_for_byte(start_shop: Any, recorded: Path) -> None:
    shop = start_shop(RecordedSource(recorded))
    assert shop.history() == HISTORY
    assert shop.orders("2024-02-25") == b"orders of 25"


def test_today_selects_the_report(start_shop: Any, recorded: Path) -> None:
    shop = start_shop(RecordedSource(recorded), today=date(2024, 3, 4))
    assert shop.history() == b"another report"


def test_a_file_that_was_not_recorded_is_not_found(start_shop: Any, recorded: Path) -> None:
    shop = start_shop(RecordedSource(recorded))
    data = shop.report()
    response = requests.get(data["s3_path"]["customer_research"], timeout=SECONDS)
    assert response.status_code == 404
    increment = shop.increment(data["report_id"], "2024-02-25")["data"]["s3_path"]
    response = requests.get(increment["user_activity_log_inc"], timeout=SECONDS)
    assert response.status_code == 404


def test_a_day_that_was_not_recorded_is_not_found(start_shop: Any, recorded: Path) -> None:
    shop = start_shop(RecordedSource(recorded))
    answer = shop.increment(shop.report()["report_id"], "2024-02-26")
    assert answer["status"] == "NOT FOUND"
    assert answer["debug_info"] == "No increment was recorded for 2024-02-26"
    assert answer["data"] == {"increment_id": None}


def test_a_recorded_day_outside_the_window_is_too_early(start_shop: Any, recorded: Path) -> None:
    shop = start_shop(RecordedSource(recorded))
    answer = shop.increment(shop.report()["report_id"], "2022-12-05")
    assert (answer["status"], answer["debug_info"]) == ("NOT FOUND", "Date is too early")


@pytest.mark.parametrize("today", [date(2022, 12, 6), date(2022, 12, 9), date(2022, 12, 12)])
def test_an_increment_is_served_where_its_report_was_not_recorded(
    start_shop: Any, recorded: Path, today: date
) -> None:
    shop = start_shop(RecordedSource(recorded), today=today)
    data = shop.report()
    assert shop.orders("2022-12-05", data["report_id"]) == b"orders of 2022"
    response = requests.get(data["s3_path"]["user_order_log"], timeout=SECONDS)
    assert response.status_code == 404


def test_prices_of_the_last_recorded_increment_lie_under_the_report(
    start_shop: Any, recorded: Path
) -> None:
    shop = start_shop(RecordedSource(recorded))
    addresses = shop.increment(shop.report()["report_id"], "2024-02-25")["data"]["s3_path"]
    assert download(addresses["price_log_inc"]) == b"prices of 27"
    under_the_increment = addresses["user_order_log_inc"].replace("user_order", "price")
    assert requests.get(under_the_increment, timeout=SECONDS).status_code == 404


@pytest.mark.parametrize("name", ["%2F..%2Fsecret.csv", "%2f%2e%2e%2fsecret.csv", "x%00.csv"])
def test_no_name_leads_out_of_the_directory(start_shop: Any, recorded: Path, name: str) -> None:
    inside = recorded / "report_2024-03-03__"
    inside.mkdir()
    (recorded / "secret.csv").write_bytes(b"secret")
    assert (inside / ".." / "secret.csv").is_file()
    address = start_shop(RecordedSource(recorded)).report()["s3_path"]["price_log"]
    response = requests.get(address.replace("price_log.csv", name), timeout=SECONDS)
    assert response.status_code == 404


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere"):
        RecordedSource(tmp_path / "nowhere")


@needs_samples
def test_the_window_agrees_with_the_days_of_a_real_report(start_shop: Any) -> None:
    shop = start_shop(RecordedSource(SAMPLES), today=date(2024, 3, 3))
    data = shop.report()
    content = download(data["s3_path"]["user_order_log"])
    assert content == (SAMPLES / "report_2024-03-03__user_order_log.csv").read_bytes()
    days = sorted({row["date_time"].replace("T", " ") for row in rows(content)})
    assert (days[0], days[-1]) == (data["start_day"], data["end_date"])
    assert len(days) == 23

    first = rows(shop.orders("2024-02-25", data["report_id"]))
    assert "status" not in first[0]
    assert {row["date_time"] for row in first} == {"2024-02-25T00:00:00"}


@needs_samples
def test_a_real_increment_without_its_report_is_served(start_shop: Any) -> None:
    shop = start_shop(RecordedSource(SAMPLES), today=date(2022, 12, 9))
    content = shop.orders("2022-12-05")
    assert content == (SAMPLES / "increment_2022-12-05__user_order_log_inc.csv").read_bytes()
    assert {row["status"] for row in rows(content)} == {"shipped", "refunded"}

"""Ids: the form of the real service, accepted variants, and garbage."""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop_client import SECONDS, Clock, ShopClient

from shop_api.ids import BadId, Task, parse_increment, parse_report, parse_task


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# Made by hand like the real service's ids, whose time ends at the second.
TASK = encode("2024-03-03T13:21:35\ttester")
REPORT = encode(TASK)


def test_ids_are_base64_of_time_nickname_and_one_another(shop: ShopClient) -> None:
    task_id = shop.start_report()
    moment, nickname = base64.b64decode(task_id, validate=True).decode().split("\t")
    assert moment.startswith("2024-03-03T")
    assert nickname == "tester"

    report_id = shop.poll(task_id)["data"]["report_id"]
    assert base64.b64decode(report_id, validate=True).decode() == task_id

    increment_id = shop.increment(report_id, "2024-02-26")["data"]["increment_id"]
    decoded = base64.b64decode(increment_id, validate=True).decode()
    assert decoded == f"2024-02-26T00:00:00\t{report_id}"


def test_two_reports_of_one_second_have_two_ids(start_shop: Any) -> None:
    clock = Clock()
    shop = start_shop(clock=clock)
    first = shop.start_report()
    clock.move(milliseconds=1)
    second = shop.start_report()
    assert first != second
    assert shop.poll(first)["data"]["report_id"] != shop.poll(second)["data"]["report_id"]


def test_ids_of_the_real_service_count_as_finished_reports_of_their_own_day(
    shop: ShopClient,
) -> None:
    task_id = encode("2022-12-09T08:00:00\ttester")
    data = shop.poll(task_id)["data"]
    assert data["report_id"] == encode(task_id)
    assert (data["start_day"], data["end_date"]) == ("2022-11-09 00:00:00", "2022-12-01 00:00:00")
    assert shop.increment(data["report_id"], "2022-12-05")["status"] == "SUCCESS"


@pytest.mark.parametrize("nickname", ["tester", "tester1", "tester12"])
@pytest.mark.parametrize("padding", ["", "=", "=="])
def test_padding_is_optional_in_every_id(shop: ShopClient, nickname: str, padding: str) -> None:
    caller = ShopClient(shop.base_url, {**shop.headers, "X-Nickname": nickname})
    task_id = encode(f"2024-03-03T13:21:35\t{nickname}")
    data = caller.poll(task_id.rstrip("=") + padding)["data"]
    report_id = data["report_id"]
    assert report_id == encode(task_id)

    increment = caller.increment(report_id.rstrip("=") + padding, "2024-02-25")["data"]
    increment_id = increment["increment_id"]
    assert increment_id == encode(f"2024-02-25T00:00:00\t{report_id}")

    for address in (
        data["s3_path"]["price_log"].replace(report_id, report_id.rstrip("=") + padding),
        increment["s3_path"]["user_order_log_inc"].replace(
            increment_id, increment_id.rstrip("=") + padding
        ),
    ):
        assert requests.get(address, timeout=SECONDS).status_code == 200, address


GARBAGE = [
    "x",
    "not base64!",
    f"{TASK[:4]}!!!!{TASK[4:]}",
    "ид",
    encode("2024-03-03T13:21:35"),
    encode("2024-03-03T13:21:35\t"),
    encode("2024-03-03T13:21:35\t../up"),
    encode("2024-02-30T13:21:35\ttester"),
    encode("2024-03-03T25:21:35\ttester"),
    encode("0001-01-01T00:00:00\ttester"),
    encode("9999-12-31T00:00:00\ttester"),
    encode("yesterday\ttester"),
    base64.b64encode(b"\xff\xfe\xfd").decode(),
]


@pytest.mark.parametrize("text", [*GARBAGE, *map(encode, GARBAGE)])
def test_no_parser_takes_garbage(text: str) -> None:
    for parse in (parse_task, parse_report, parse_increment):
        with pytest.raises(BadId):
            parse(text)


@pytest.mark.parametrize("task_id", GARBAGE)
def test_a_garbage_task_is_not_found(shop: ShopClient, task_id: str) -> None:
    answer = shop.poll(task_id)
    assert (answer["task_id"], answer["status"]) == (task_id, "NOT FOUND")
    assert answer["debug_info"]


@pytest.mark.parametrize("report_id", [*GARBAGE, *map(encode, GARBAGE), TASK])
def test_a_garbage_report_has_no_increment(shop: ShopClient, report_id: str) -> None:
    answer = shop.increment(report_id, "2024-02-25")
    assert (answer["status"], answer["data"]) == ("NOT FOUND", {"increment_id": None})
    assert answer["debug_info"]


@pytest.mark.parametrize(
    "file_id",
    [
        *GARBAGE,
        TASK,
        encode(f"2024-02-24T00:00:00\t{REPORT}"),
        encode(f"2024-03-03T00:00:00\t{REPORT}"),
        encode(f"2024-02-25T01:00:00\t{REPORT}"),
        encode(f"2024-02-25T00:00:00\t{TASK}"),
    ],
)
def test_a_garbage_id_has_no_files(shop: ShopClient, file_id: str) -> None:
    for name in ("user_order_log.csv", "user_order_log_inc.csv"):
        response = shop.get(f"/s3-sprint3/cohort_7/tester/project/{file_id}/{name}")
        assert response.status_code == 404, name


def test_the_task_of_another_nickname_is_not_found(shop: ShopClient) -> None:
    other = ShopClient(shop.base_url, {**shop.headers, "X-Nickname": "another"})
    task_id = shop.start_report()
    report_id = shop.poll(task_id)["data"]["report_id"]
    assert other.poll(task_id)["status"] == "NOT FOUND"
    assert other.increment(report_id, "2024-02-25")["status"] == "NOT FOUND"

    data = shop.increment(report_id, "2024-02-25")["data"]["s3_path"]
    for address in (data["user_order_log_inc"], data["price_log_inc"]):
        assert requests.get(address, timeout=SECONDS).status_code == 200
        address = address.replace("/tester/", "/another/")
        assert requests.get(address, timeout=SECONDS).status_code == 404


@given(st.text(max_size=60) | st.text(max_size=60).map(encode))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_text_breaks_the_parsers(text: str) -> None:
    for parse in (parse_task, parse_report, parse_increment):
        with pytest.raises(BadId):
            parse(text)


@given(
    now=st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    age=st.timedeltas(timedelta(0), timedelta(days=999)),
    today=st.none() | st.dates(date(1970, 1, 1), date(2100, 12, 31)),
)
def test_a_task_keeps_its_day_and_its_real_age(
    now: datetime, age: timedelta, today: date | None
) -> None:
    task = parse_task(Task.start("tester", now, today).task_id)
    assert task.generated == (today or now.date())
    assert task.age_seconds(now + age) == pytest.approx(age.total_seconds(), abs=0.002)

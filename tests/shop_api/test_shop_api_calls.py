"""The calls over HTTP: form of the answers, headers, addresses, refusals."""

from __future__ import annotations

import http.client
import socket
import time
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from shop_client import HEADERS, KEY, SECONDS, TODAY, Clock, ShopClient, download

from shop_api.generated import GeneratedSource
from shop_api.server import serve
from shop_api.shop import Shop

CALLS = (
    ("POST", "/generate_report"),
    ("GET", "/get_report?task_id=x"),
    ("GET", "/get_increment?report_id=x&date=2024-03-01T00:00:00"),
)
STARTED = datetime(2026, 5, 6, 23, 59, 59, 500_000, tzinfo=UTC)


def test_a_report_runs_and_then_succeeds(start_shop: Any) -> None:
    clock = Clock()
    shop = start_shop(running_seconds=60, clock=clock)
    task_id = shop.start_report()
    running = {"task_id": task_id, "status": "RUNNING"}
    assert shop.poll(task_id) == running
    clock.move(seconds=59.9)
    assert shop.poll(task_id) == running
    clock.move(seconds=0.1)
    assert shop.poll(task_id)["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("seconds", "status"), [(0, "RUNNING"), (1.0, "RUNNING"), (3, "SUCCESS"), (86_400, "SUCCESS")]
)
def test_a_report_started_before_midnight_runs_its_time(
    start_shop: Any, seconds: float, status: str
) -> None:
    clock = Clock(STARTED)
    shop = start_shop(running_seconds=2, clock=clock)
    task_id = shop.start_report()
    clock.move(seconds=seconds)
    assert shop.poll(task_id)["status"] == status


def test_running_is_measured_in_real_time(start_shop: Any) -> None:
    shop = start_shop(running_seconds=0.3)
    asked = time.monotonic()
    task_id = shop.start_report()
    while shop.poll(task_id)["status"] == "RUNNING":
        assert time.monotonic() - asked < SECONDS
    assert time.monotonic() - asked > 0.29
    assert shop.poll(task_id)["status"] == "SUCCESS"


def test_the_status_can_be_missing_from_the_first_polls(start_shop: Any) -> None:
    clock = Clock()
    shop = start_shop(running_seconds=60, omit_running_status=True, clock=clock)
    task_id = shop.start_report()
    assert shop.poll(task_id) == {"task_id": task_id}
    clock.move(seconds=30)
    assert shop.poll(task_id) == {"task_id": task_id, "status": "RUNNING"}
    clock.move(seconds=30)
    assert shop.poll(task_id)["status"] == "SUCCESS"


def test_the_data_of_a_report(shop: ShopClient) -> None:
    data = shop.report()
    folder = f"{shop.base_url}/s3-sprint3/cohort_7/tester/project/{data['report_id']}"
    assert data == {
        "report_id": data["report_id"],
        "start_day": "2024-02-02 00:00:00",
        "end_date": "2024-02-24 00:00:00",
        "s3_path": {
            "customer_research": f"{folder}/customer_research.csv",
            "user_order_log": f"{folder}/user_order_log.csv",
            "user_activity_log": f"{folder}/user_activity_log.csv",
            "price_log": f"{folder}/price_log.csv",
        },
    }


def test_the_data_of_an_increment_leave_the_prices_under_the_report(shop: ShopClient) -> None:
    report_id = shop.report()["report_id"]
    answer = shop.increment(report_id, "2024-02-25")
    increment_id = answer["data"]["increment_id"]
    folder = f"{shop.base_url}/s3-sprint3/cohort_7/tester/project"
    assert increment_id != report_id
    assert answer == {
        "report_id": report_id,
        "date": "2024-02-25 00:00:00",
        "status": "SUCCESS",
        "data": {
            "increment_id": increment_id,
            "s3_path": {
                "customer_research_inc": f"{folder}/{increment_id}/customer_research_inc.csv",
                "user_order_log_inc": f"{folder}/{increment_id}/user_order_log_inc.csv",
                "user_activity_log_inc": f"{folder}/{increment_id}/user_activity_log_inc.csv",
                "price_log_inc": f"{folder}/{report_id}/price_log_inc.csv",
            },
        },
    }


def test_every_address_leads_to_a_file_that_needs_no_header(shop: ShopClient) -> None:
    data = shop.report()
    increment = shop.increment(data["report_id"], "2024-03-02")["data"]
    addresses = [*data["s3_path"].values(), *increment["s3_path"].values()]
    assert len(addresses) == 8
    for address in addresses:
        response = requests.get(address, timeout=SECONDS)
        assert response.status_code == 200, address
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert int(response.headers["Content-Length"]) == len(response.content) > 0


def test_files_lie_under_the_id_of_their_kind_only(shop: ShopClient) -> None:
    data = shop.report()
    increment = shop.increment(data["report_id"], "2024-03-02")["data"]
    of_report, of_increment = data["s3_path"]["price_log"], increment["s3_path"]
    for wrong in (
        of_report.replace("price_log", "user_order_log_inc"),
        of_increment["user_order_log_inc"].replace("user_order_log_inc", "price_log_inc"),
        of_increment["user_order_log_inc"].replace("user_order_log_inc", "user_order_log"),
    ):
        assert requests.get(wrong, timeout=SECONDS).status_code == 404, wrong


def test_without_x_project_the_address_has_no_project_part(shop: ShopClient) -> None:
    del (caller := ShopClient(shop.base_url)).headers["X-Project"]
    data = caller.report()
    address = data["s3_path"]["user_order_log"]
    assert urlsplit(address).path == (
        f"/s3-sprint3/cohort_7/tester/{data['report_id']}/user_order_log.csv"
    )
    assert download(address) == shop.history()


def test_addresses_name_the_host_the_caller_used(shop: ShopClient) -> None:
    shop = ShopClient(shop.base_url, {**HEADERS, "Host": "shop.example:8080"})
    address = shop.report()["s3_path"]["price_log"]
    assert address.startswith("http://shop.example:8080/s3-sprint3/")


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x", "ключ".encode()])
def test_a_wrong_key_is_refused(
    shop: ShopClient, method: str, path: str, key: str | bytes | None
) -> None:
    headers: dict[str, Any] = {**HEADERS, "X-API-KEY": key}
    response = requests.request(method, shop.base_url + path, headers=headers, timeout=SECONDS)
    assert response.status_code == 401
    assert response.json() == {"error": "X-API-KEY is missing or wrong"}


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("header", ["X-Nickname", "X-Cohort"])
@pytest.mark.parametrize("value", [None, "", "a/b", ".."])
def test_a_missing_or_unusable_name_is_refused(
    shop: ShopClient, method: str, path: str, header: str, value: str | None
) -> None:
    headers: dict[str, Any] = {**HEADERS, header: value}
    response = requests.request(method, shop.base_url + path, headers=headers, timeout=SECONDS)
    assert response.status_code == 400
    assert response.json()["error"].startswith(f"{header} is missing or does not match")


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        ("2024-02-24", "Date is too early"),
        ("2024-02-25", None),
        ("2024-03-02", None),
        ("2024-03-03", "Date is too late"),
        ("0001-01-01", "Date is too early"),
        ("9999-12-31", "Date is too late"),
    ],
)
def test_increments_exist_for_the_seven_days_before_the_report(
    shop: ShopClient, day: str, reason: str | None
) -> None:
    report_id = shop.report()["report_id"]
    answer = shop.increment(report_id, day)
    if reason is None:
        assert answer["status"] == "SUCCESS"
    else:
        assert answer == {
            "report_id": report_id,
            "date": f"{day} 00:00:00",
            "status": "NOT FOUND",
            "debug_info": reason,
            "data": {"increment_id": None},
        }


@pytest.mark.parametrize(
    "text", ["2024-03-01", "2024-03-01 00:00:00", "2024-02-30T00:00:00", "01.03.2024", "today"]
)
def test_a_date_in_another_form_is_refused(shop: ShopClient, text: str) -> None:
    response = shop.get("/get_increment", report_id=shop.report()["report_id"], date=text)
    assert response.status_code == 400
    assert response.json()["error"].startswith("date: ")


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("/get_report", "task_id"),
        ("/get_report?task_id=", "task_id"),
        ("/get_increment?date=2024-03-01T00:00:00", "report_id"),
        ("/get_increment?report_id=x", "date"),
    ],
)
def test_a_missing_parameter_is_named(shop: ShopClient, path: str, missing: str) -> None:
    response = shop.get(path)
    assert response.status_code == 400
    assert response.json() == {"error": f"The parameter {missing} is missing"}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/get_reports",
        "/get_report/",
        "/s3-sprint3",
        "/s3-sprint3/cohort_7/tester/project/x",
        "/s3-sprint3/cohort_7/tester/project/x/user_order_log.csv",
        "/s3-other/cohort_7/tester/project/{report_id}/user_order_log.csv",
        "/s3-sprint3/7/tester/project/{report_id}/user_order_log.csv",
        "/s3-sprint3/cohort_7/another/project/{report_id}/user_order_log.csv",
        "/s3-sprint3/cohort_7/tester/folder/{report_id}/user_order_log.csv",
        "/s3-sprint3/cohort_7/tester/project/{report_id}/orders.csv",
    ],
)
def test_an_unknown_path_is_not_found(shop: ShopClient, path: str) -> None:
    response = shop.get(path.format(report_id=shop.report()["report_id"]))
    assert response.status_code == 404
    assert response.json()["error"].startswith("There is no such")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/generate_report"),
        ("POST", "/get_report"),
        ("DELETE", "/get_increment"),
        ("POST", "/s3-sprint3/cohort_7/tester/project/x/price_log.csv"),
    ],
)
def test_a_wrong_method_is_refused(shop: ShopClient, method: str, path: str) -> None:
    response = requests.request(method, shop.base_url + path, headers=HEADERS, timeout=SECONDS)
    assert response.status_code == 405
    assert response.json()["error"].startswith("This path takes ")


def test_the_answer_to_head_has_no_body(shop: ShopClient) -> None:
    # By hand, because HTTP clients discard such a body.
    host, _, port = urlsplit(shop.base_url).netloc.partition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        connection.sendall(b"HEAD /get_report HTTP/1.1\r\nConnection: close\r\n\r\n")
        with connection.makefile("rb") as answer:
            text = answer.read()
    assert text.startswith(b"HTTP/1.1 405 ")
    assert text.endswith(b"\r\n\r\n")


def test_a_connection_carries_many_calls_even_after_an_unwanted_body(shop: ShopClient) -> None:
    connection = http.client.HTTPConnection(urlsplit(shop.base_url).netloc, timeout=SECONDS)
    connection.connect()
    port = connection.sock.getsockname()[1]
    for _ in range(3):
        connection.request("POST", "/generate_report", b"GET /nowhere HTTP/1.1\r\n\r\n", HEADERS)
        response = connection.getresponse()
        assert (response.version, response.status) == (11, 200)
        assert len(response.read()) == int(response.headers["Content-Length"])
        assert connection.sock.getsockname()[1] == port
    connection.close()


def test_a_body_of_unknown_length_ends_the_connection(shop: ShopClient) -> None:
    headers = {**HEADERS, "Content-Length": "-5"}
    response = requests.post(f"{shop.base_url}/generate_report", headers=headers, timeout=SECONDS)
    assert response.status_code == 200
    assert response.headers["Connection"] == "close"


def test_a_stopped_service_answers_nobody() -> None:
    with requests.Session() as session:
        with serve(Shop(GeneratedSource())) as base_url:
            assert session.get(base_url, timeout=SECONDS).status_code == 404
        with pytest.raises(requests.ConnectionError):
            session.get(base_url, timeout=SECONDS)


def test_the_log_tells_call_and_code_but_no_header_value(
    shop: ShopClient, capfd: pytest.CaptureFixture[str]
) -> None:
    download(shop.report()["s3_path"]["price_log"])
    requests.get(f"{shop.base_url}/{KEY}?key={KEY}", timeout=SECONDS)
    log = capfd.readouterr().err
    assert log.splitlines() == [
        "shop_api: POST /generate_report -> 200",
        "shop_api: GET /get_report -> 200",
        "shop_api: GET a file -> 200",
        "shop_api: GET an unknown path -> 404",
    ]


def test_settings_do_not_show_the_key() -> None:
    assert KEY not in repr(Shop(GeneratedSource(), api_key=KEY))


def test_without_today_the_report_counts_for_the_real_day(start_shop: Any) -> None:
    clock = Clock(datetime(2025, 1, 9, 0, 0, tzinfo=UTC))
    data = start_shop(today=None, clock=clock).report()
    assert (data["start_day"], data["end_date"]) == ("2024-12-10 00:00:00", "2025-01-01 00:00:00")


def test_the_default_shop_uses_the_real_clock(start_shop: Any) -> None:
    before = datetime.now(UTC).date()
    start_day = start_shop(today=None).report()["start_day"]
    after = datetime.now(UTC).date()
    age = {(day - date.fromisoformat(start_day[:10])).days for day in (before, after)}
    assert 30 in age
    assert TODAY not in (before, after)

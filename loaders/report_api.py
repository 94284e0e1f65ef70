"""Client of the shop's report API.

Data flow: POST generate_report -> task id -> GET get_report until ready -> report id ->
GET get_increment -> the addresses of the CSV files -> GET the file.

The key travels in a header of the API calls only: never in a URL, to the file storage, or along a
redirect.
"""

import hashlib
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from loaders.deliveries import Delivery
from loaders.errors import DeliveryRefused, TerminalError, TransientError
from loaders.settings import ReportApiSettings

# Seconds to connect, and between two bytes. The service answers a call at once or not at all.
TIMEOUT = (5, 30)
# A busy service gets four more chances, 0.5 s to 4 s apart (or as its Retry-After says).
RETRIES = 4
RETRY_AFTER_MAX_SECONDS = 60
BUSY_STATUSES = (429, 500, 502, 503, 504)
# A report takes 60 to 120 s.
REPORT_DEADLINE_SECONDS = 15 * 60
POLL_SECONDS = 5
# A day is about 200 KB and a history 4 MB: what is larger or slower than this is something else.
DOWNLOAD_MAX_BYTES = 2 * 1024**3
DOWNLOAD_DEADLINE_SECONDS = 10 * 60

# Early deployments of the service spell the file with an "s".
ORDER_FILES = {
    "history": ("user_order_log", "user_orders_log"),
    "increment": ("user_order_log_inc", "user_orders_log_inc"),
}


class ReportApi:
    """The four calls of the service, one method a call."""

    def __init__(self, settings: ReportApiSettings) -> None:
        self._settings = settings
        self._calls = requests.Session()
        self._calls.headers.update(
            {
                "X-Nickname": settings.nickname,
                "X-Cohort": settings.cohort,
                "X-Project": "True",
                "X-API-KEY": settings.api_key,
            }
        )
        self._files = requests.Session()
        # Unasked-for compression would hide a cut-off body from the length check.
        self._files.headers["Accept-Encoding"] = "identity"
        for session in (self._calls, self._files):
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=_retries(read=RETRIES)))
        # A POST whose answer was lost may have started a report: asking again would start another.
        self._calls.mount(
            f"{settings.url}/generate_report", HTTPAdapter(max_retries=_retries(read=0))
        )

    def generate_report(self) -> str:
        """Ask for a report; return the id of the task that makes it.

        Raises:
            TransientError: if the service cannot be reached or stays busy.
            TerminalError: if it refuses the call or its answer is not understood.
        """
        answer = self._call("POST", "generate_report")
        return _text(answer, "task_id", "generate_report")

    def get_report(self, task_id: str) -> Delivery | None:
        """Return the history delivery of a finished report, or None while it is not ready.

        Raises:
            TransientError, TerminalError: as `generate_report`; TerminalError also for a status
                that no waiting changes, naming the task.
        """
        answer = self._call("GET", "get_report", task_id=task_id)
        # A running report's answer may lack the key altogether.
        status = answer.get("status", "RUNNING")
        if status == "RUNNING":
            return None
        if status != "SUCCESS":
            reason = answer.get("debug_info") or "no reason given"
            raise TerminalError(f"report task {task_id} ended with status {status!r}: {reason}")
        data = _mapping(answer, "data", "get_report")
        report_id = _text(data, "report_id", "get_report")
        first_day = _day(data, "start_day", "get_report")
        last_day = _day(data, "end_date", "get_report")
        if first_day > last_day:
            raise TerminalError(f"get_report: start_day {first_day} is after end_date {last_day}")
        url = self._orders_url("history", data, report_id)
        return Delivery("history", report_id, None, first_day, last_day, url)

    def wait_for_report(
        self,
        task_id: str,
        *,
        deadline_seconds: float = REPORT_DEADLINE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> Delivery:
        """Poll until the report is ready.

        Raises:
            TransientError: if it is not within `deadline_seconds`, naming the task.
        """
        give_up_at = time.monotonic() + deadline_seconds
        while (report := self.get_report(task_id)) is None:
            if time.monotonic() + poll_seconds > give_up_at:
                raise TransientError(
                    f"report task {task_id} was not ready after {deadline_seconds:.0f} s"
                )
            time.sleep(poll_seconds)
        return report

    def get_increment(self, report_id: str, day: date) -> Delivery:
        """Return the delivery of one day.

        Raises:
            DeliveryRefused: if the service has no increment for that day, with its reason.
        """
        answer = self._call(
            "GET", "get_increment", report_id=report_id, date=f"{day.isoformat()}T00:00:00"
        )
        data = answer.get("data")
        increment_id = data.get("increment_id") if isinstance(data, dict) else None
        if answer.get("status") != "SUCCESS" or not increment_id:
            reason = answer.get("debug_info") or f"status {answer.get('status')!r}"
            raise DeliveryRefused(f"no increment for {day}: {reason}")
        assert isinstance(data, dict)
        increment_id = _text(data, "increment_id", "get_increment")
        url = self._orders_url("increment", data, increment_id)
        return Delivery("increment", report_id, increment_id, day, day, url)

    def download(self, url: str, target: Path) -> str:
        """Write the file at `url` to `target`; return its sha256 in hexadecimal.

        Raises:
            TransientError: if the body is cut off, too slow, or the storage is busy.
            TerminalError: if there is no such file, or it is larger than DOWNLOAD_MAX_BYTES.
        """
        give_up_at = time.monotonic() + DOWNLOAD_DEADLINE_SECONDS
        digest, size = hashlib.sha256(), 0
        response = _answer(lambda: self._files.get(url, timeout=TIMEOUT, stream=True), url)
        with response:
            _refuse_status(response, url)
            # Without either a cut-off file could not be told from a whole one.
            if "Content-Length" not in response.headers and (
                response.headers.get("Transfer-Encoding", "").lower() != "chunked"
            ):
                raise TransientError(f"{_shown(url)}: the answer does not say how long it is")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise TerminalError(f"{_shown(url)}: compressed although plain was asked for")
            try:
                with target.open("wb") as file:
                    for block in response.iter_content(64 * 1024):
                        size += len(block)
                        if size > DOWNLOAD_MAX_BYTES:
                            raise TerminalError(
                                f"{_shown(url)}: larger than {DOWNLOAD_MAX_BYTES} bytes"
                            )
                        if time.monotonic() > give_up_at:
                            raise TransientError(
                                f"{_shown(url)}: not here after {DOWNLOAD_DEADLINE_SECONDS} s"
                            )
                        digest.update(block)
                        file.write(block)
            except requests.RequestException as error:
                raise TransientError(f"{_shown(url)}: cut off after {size} bytes") from error
        return digest.hexdigest()

    def _orders_url(self, kind: str, data: dict[str, Any], delivery_id: str) -> str:
        """Prefer the address the service gives; know its pattern where it gives none."""
        names = ORDER_FILES[kind]
        addresses = data.get("s3_path")
        if isinstance(addresses, dict):
            for name in names:
                if isinstance(addresses.get(name), str):
                    return str(addresses[name])
        settings = self._settings
        return (
            f"{settings.storage_url}/s3-sprint3/cohort_{settings.cohort}/{settings.nickname}"
            f"/project/{delivery_id}/{names[0]}.csv"
        )

    def _call(self, method: str, path: str, **query: str) -> dict[str, Any]:
        url = f"{self._settings.url}/{path}"
        response = _answer(
            lambda: self._calls.request(
                method, url, params=query, timeout=TIMEOUT, allow_redirects=False
            ),
            url,
        )
        _refuse_status(response, url)
        try:
            answer = response.json()
        except requests.JSONDecodeError as error:
            kind = response.headers.get("Content-Type", "no content type")
            raise TerminalError(f"{path}: the answer is not JSON ({kind})") from error
        if not isinstance(answer, dict):
            raise TerminalError(f"{path}: the answer is not a JSON object")
        return answer


def _retries(read: int) -> Retry:
    return Retry(
        total=RETRIES,
        read=read,
        allowed_methods=None,
        status_forcelist=BUSY_STATUSES,
        backoff_factor=0.5,
        retry_after_max=RETRY_AFTER_MAX_SECONDS,
        raise_on_status=False,
    )


def _answer(ask: Callable[[], requests.Response], url: str) -> requests.Response:
    try:
        return ask()
    except (requests.ConnectionError, requests.Timeout) as error:
        raise TransientError(f"{_shown(url)}: no answer ({type(error).__name__})") from error
    except requests.RequestException as error:
        raise TerminalError(f"{_shown(url)}: {type(error).__name__}") from error


def _refuse_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in BUSY_STATUSES:
        raise TransientError(f"{_shown(url)}: still HTTP {status} after {RETRIES} more tries")
    if status in (401, 403):
        raise TerminalError(f"{_shown(url)}: HTTP {status}: the key was refused (REPORT_API_KEY)")
    if status != 200:
        raise TerminalError(f"{_shown(url)}: HTTP {status}")


def _shown(url: str) -> str:
    """The address as messages show it: a query may hold a signature."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _text(values: dict[str, Any], name: str, call: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise TerminalError(f"{call}: the answer has no {name}")
    return value


def _mapping(values: dict[str, Any], name: str, call: str) -> dict[str, Any]:
    value = values.get(name)
    if not isinstance(value, dict):
        raise TerminalError(f"{call}: the answer has no {name}")
    return value


def _day(values: dict[str, Any], name: str, call: str) -> date:
    text = _text(values, name, call)
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise TerminalError(f"{call}: {name} is {text!r}, not a date") from None

"""Client of the shop's report API.

Data flow: POST generate_report -> task id -> GET get_report until ready -> report id ->
GET get_increment -> the addresses of the CSV files -> GET the file.

The client sends the key only in a header of the API calls: never in a URL, to the file storage, or
to the target of a redirect. If the API is https, the client fetches nothing without TLS.
"""

import hashlib
import json
import logging
import time
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from loaders.deliveries import Delivery
from loaders.errors import DeliveryRefused, TerminalError, TransientError
from loaders.http import Body, HttpClient, Limits, host_of, refuse_status, shown
from loaders.settings import ReportApiSettings

# A report takes 60 to 120 s.
REPORT_DEADLINE_SECONDS = 15 * 60
POLL_SECONDS = 5

# At most this many characters of the service's own words are shown in a message.
MAX_QUOTED = 200

# Early versions of the service spell the file with an "s".
ORDER_FILES = {
    "history": ("user_order_log", "user_orders_log"),
    "increment": ("user_order_log_inc", "user_orders_log_inc"),
}

logger = logging.getLogger(__name__)


class ReportApi:
    """The calls of the service, one method each."""

    def __init__(self, settings: ReportApiSettings, limits: Limits | None = None) -> None:
        self._settings = settings
        self._limits = limits or Limits()
        plain = settings.url.startswith("http://")
        self._calls = HttpClient(
            self._limits,
            {
                "X-Nickname": settings.nickname,
                "X-Cohort": settings.cohort,
                "X-Project": "True",
                "X-API-KEY": settings.api_key,
            },
            plain=plain,
        )
        # The storage is public and gets no key, so http:// puts nothing at risk.
        self._files = HttpClient(self._limits, {}, plain=plain)
        if settings.sends_key_in_the_clear:
            logger.warning("REPORT_API_URL is http://: the key travels unencrypted")

    def generate_report(self) -> str:
        """Ask for a report; return the id of the task that makes it.

        The call is repeated only if no connection could be made. A call whose answer was lost may
        have started a report, and a repetition would start another.

        Raises:
            TransientError: if the service cannot be reached, is busy, or its answer was lost.
            TerminalError: if it refuses the call, or the client does not understand its answer.
        """
        answer = self._call("POST", "generate_report")
        return _text(answer, "task_id", "generate_report")

    def get_report(self, task_id: str) -> Delivery | None:
        """Return the history delivery of a finished report, or None while it is not ready.

        Raises:
            TransientError, TerminalError: as `generate_report`; TerminalError also for a status
                that waiting will not change; the message names the task.
        """
        answer = self._call("GET", "get_report", task_id=task_id)
        # Padding is optional in the service's ids.
        if str(answer.get("task_id") or task_id).rstrip("=") != task_id.rstrip("="):
            raise TerminalError(
                f"get_report: the answer to task {task_id} is about task"
                f" {self._quoted(answer['task_id'])}"
            )
        # A running report's answer may lack the key altogether.
        status = answer.get("status") or "RUNNING"
        if status == "RUNNING":
            return None
        if status != "SUCCESS":
            reason = self._quoted(answer.get("debug_info") or "no reason given")
            raise TerminalError(
                f"report task {task_id} ended with status {self._quoted(status)}: {reason}"
            )
        data = _mapping(answer, "data", "get_report")
        report_id = _text(data, "report_id", "get_report")
        first_day = self._day(data, "start_day", "get_report")
        last_day = self._day(data, "end_date", "get_report")
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
        """Poll until the report is ready; a transient fault meanwhile starts no second report.

        Raises:
            TransientError: if it is not ready within `deadline_seconds`; the message names the
                task.
            TerminalError: as `get_report`.
        """
        give_up_at = time.monotonic() + deadline_seconds
        while True:
            fault = ""
            try:
                if report := self.get_report(task_id):
                    return report
            except TransientError as error:
                fault = f": {error}"
                logger.warning("report task %s%s", task_id, fault)
            if time.monotonic() + poll_seconds > give_up_at:
                raise TransientError(
                    f"report task {task_id} was not ready after {deadline_seconds:.0f} s{fault}"
                )
            time.sleep(poll_seconds)

    def get_increment(self, report_id: str, day: date) -> Delivery:
        """Return the delivery of one day.

        Raises:
            DeliveryRefused: if the service has no increment for that day, with its reason.
        """
        answer = self._call(
            "GET", "get_increment", report_id=report_id, date=f"{day.isoformat()}T00:00:00"
        )
        data = answer.get("data")
        if (
            answer.get("status") != "SUCCESS"
            or not isinstance(data, dict)
            or not data.get("increment_id")
        ):
            reason = answer.get("debug_info") or f"status {answer.get('status')}, no increment_id"
            raise DeliveryRefused(f"no increment for {day}: {self._quoted(reason)}")
        increment_id = _text(data, "increment_id", "get_increment")
        url = self._orders_url("increment", data, increment_id)
        return Delivery("increment", report_id, increment_id, day, day, url)

    def download(self, url: str, target: Path) -> str:
        """Write the file at `url` to `target`; return its sha256 in hexadecimal.

        Raises:
            TransientError: if the body is cut off, too slow, or the storage is busy, or the disk
                is full.
            TerminalError: if there is no such file, it is a page for people, or it is larger than
                the limit.
        """
        limits = self._limits
        digest = hashlib.sha256()
        with self._files.follow(url) as response:
            name = shown(response.url or url)
            refuse_status(response, name)
            kind = response.headers.get("Content-Type", "")
            if kind.lower().startswith("text/html"):
                raise TerminalError(f"{name}: a page for people instead of a file ({kind})")
            body = Body(response, name, limits.file_seconds)
            if not body.tells_its_end:
                # The client could not tell a cut-off file from a whole one.
                raise TransientError(f"{name}: the answer does not say how long it is")
            try:
                with target.open("wb") as file:
                    for block in body.blocks(limits.file_bytes):
                        digest.update(block)
                        file.write(block)
            except OSError as error:
                raise TransientError(f"{name}: cannot be kept: {error.strerror}") from error
        return digest.hexdigest()

    # ------------------------------------------------------------- requests

    def _call(self, method: str, call: str, **query: str) -> dict[str, Any]:
        url = f"{self._settings.url}/{call}"
        with self._calls.ask(method, url, query) as response:
            if response.status_code in (401, 403):
                raise TerminalError(
                    f"{shown(url)}: HTTP {response.status_code}:"
                    " the key was refused (REPORT_API_KEY)"
                )
            refuse_status(response, shown(url))
            body = Body(response, shown(url), self._limits.answer_seconds)
            text = b"".join(body.blocks(self._limits.answer_bytes))
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            if not body.tells_its_end:
                raise TransientError(f"{call}: the answer is no JSON: cut off?") from None
            kind = response.headers.get("Content-Type", "no content type")
            raise TerminalError(f"{call}: the answer is not JSON ({self._quoted(kind)})") from None
        if not isinstance(answer, dict):
            raise TerminalError(f"{call}: the answer is not a JSON object")
        return answer

    # -------------------------------------------------------------- answers

    def _orders_url(self, kind: str, data: dict[str, Any], delivery_id: str) -> str:
        """Return the address that the service gives, else the one by its known pattern."""
        names = ORDER_FILES[kind]
        addresses = data.get("s3_path")
        if isinstance(addresses, dict):
            for name in names:
                if isinstance(address := addresses.get(name), str):
                    if host_of(address) is None or not address.isprintable():
                        raise TerminalError(
                            f"s3_path: {name} is no address: {self._quoted(address)}"
                        )
                    return address
        settings = self._settings
        cohort, nickname, folder = (
            quote(part, safe="=") for part in (settings.cohort, settings.nickname, delivery_id)
        )
        return (
            f"{settings.storage_url}/s3-sprint3/cohort_{cohort}/{nickname}"
            f"/project/{folder}/{names[0]}.csv"
        )

    def _day(self, values: dict[str, Any], name: str, call: str) -> date:
        text = _text(values, name, call)
        try:
            return datetime.fromisoformat(text).date()
        except ValueError:
            raise TerminalError(f"{call}: {name} is {self._quoted(text)}, not a date") from None

    def _quoted(self, words: object) -> str:
        """Return the service's own words for a message: one short line, and never the key."""
        text = " ".join(str(words).replace(self._settings.api_key, "***").split())
        text = text.encode("utf-8", "backslashreplace").decode()  # half a character
        return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."


def _text(values: dict[str, Any], name: str, call: str) -> str:
    value = values.get(name)
    # No address and no table holds characters that cannot be printed.
    if not isinstance(value, str) or not value or not value.isprintable():
        raise TerminalError(f"{call}: the answer has no {name}")
    return value


def _mapping(values: dict[str, Any], name: str, call: str) -> dict[str, Any]:
    value = values.get(name)
    if not isinstance(value, dict):
        raise TerminalError(f"{call}: the answer has no {name}")
    return value

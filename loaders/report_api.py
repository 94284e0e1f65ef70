"""Client of the shop's report API.

Data flow: POST generate_report -> task id -> GET get_report until ready -> report id ->
GET get_increment -> the addresses of the CSV files -> GET the file.

The key travels in a header of the API calls only: never in a URL, to the file storage, or along a
redirect. Where the API is https, nothing is fetched without TLS.
"""

import gzip
import hashlib
import io
import json
import logging
import ssl
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from loaders.deliveries import Delivery
from loaders.errors import DeliveryRefused, LoaderError, TerminalError, TransientError
from loaders.settings import ReportApiSettings

# A report takes 60 to 120 s.
REPORT_DEADLINE_SECONDS = 15 * 60
POLL_SECONDS = 5

# "Too slow", "too many" and whatever is the service's own fault.
BUSY_STATUSES = (408, 429, *range(500, 600))
# The storage has never been seen to redirect; a loop must end.
MAX_REDIRECTS = 3
BLOCK_BYTES = 64 * 1024
# Of the service's own words in a message.
MAX_QUOTED = 200

# Early deployments of the service spell the file with an "s".
ORDER_FILES = {
    "history": ("user_order_log", "user_orders_log"),
    "increment": ("user_order_log_inc", "user_orders_log_inc"),
}

_EXPLANATIONS = (
    (urllib3.exceptions.NameResolutionError, "its name cannot be resolved"),
    (urllib3.exceptions.NewConnectionError, "no connection"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection in time"),
    (urllib3.exceptions.ReadTimeoutError, "no answer in time"),
    (urllib3.exceptions.ProxyError, "the proxy does not answer"),
    (urllib3.exceptions.ProtocolError, "the connection broke"),
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How long the client waits, how often it asks again, and how much it takes."""

    # The service answers a call at once or not at all.
    connect_seconds: float = 5
    silence_seconds: float = 30  # between two bytes
    # At once, then after 1, 2 and 4 s, or as a Retry-After says. What lasts longer is for whoever
    # calls: an orchestrator holds no worker while it waits.
    retries: int = 4
    backoff_seconds: float = 0.5
    retry_after_seconds: int = 60
    # An answer has about 1 KB.
    answer_bytes: int = 1024**2
    answer_seconds: float = 60
    # A day has about 200 KB and a history 4 MB: what is larger or slower is something else.
    # Counted after decompression.
    file_bytes: int = 2 * 1024**3
    file_seconds: float = 10 * 60


class ReportApi:
    """The four calls of the service, one method a call."""

    def __init__(self, settings: ReportApiSettings, limits: Limits | None = None) -> None:
        self._settings = settings
        self._limits = limits or Limits()
        self._calls, self._files = _Session(), _Session()
        self._calls.headers.update(
            {
                "X-Nickname": settings.nickname,
                "X-Cohort": settings.cohort,
                "X-Project": "True",
                "X-API-KEY": settings.api_key,
            }
        )
        adapter = HTTPAdapter(max_retries=self._retries())
        for session in (self._calls, self._files):
            session.headers["Accept-Encoding"] = "identity"
            session.adapters.clear()
            session.mount("https://", adapter)
            if settings.url.startswith("http://"):
                session.mount("http://", adapter)
        if settings.sends_key_in_the_clear:
            logger.warning("REPORT_API_URL is http://: the key travels unencrypted")

    def generate_report(self) -> str:
        """Ask for a report; return the id of the task that makes it.

        Asked again only while no connection could be made: a call whose answer was lost may have
        started a report, and asking again would start another.

        Raises:
            TransientError: if the service cannot be reached, is busy, or its answer was lost.
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
        """Poll until the report is ready; a transient fault meanwhile costs no second report.

        Raises:
            TransientError: if it is not within `deadline_seconds`, naming the task.
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
        with self._follow(url) as response:
            name = _shown(response.url or url)
            _refuse_status(response, name)
            kind = response.headers.get("Content-Type", "")
            if kind.lower().startswith("text/html"):
                raise TerminalError(f"{name}: a page for people instead of a file ({kind})")
            body = _Body(response, name, limits.file_seconds)
            if not body.tells_its_end:
                # A cut-off file could not be told from a whole one.
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

    def _retries(self) -> Retry:
        return Retry(
            total=self._limits.retries,
            # TLS that failed once fails again.
            other=0,
            # Connecting is tried again for any method; what was sent, only where that is harmless.
            allowed_methods=("GET",),
            status_forcelist=BUSY_STATUSES,
            backoff_factor=self._limits.backoff_seconds,
            retry_after_max=self._limits.retry_after_seconds,
            raise_on_status=False,
        )

    def _call(self, method: str, call: str, **query: str) -> dict[str, Any]:
        url = f"{self._settings.url}/{call}"
        with self._ask(self._calls, method, url, query) as response:
            if response.status_code in (401, 403):
                raise TerminalError(
                    f"{_shown(url)}: HTTP {response.status_code}:"
                    " the key was refused (REPORT_API_KEY)"
                )
            _refuse_status(response, _shown(url))
            body = _Body(response, _shown(url), self._limits.answer_seconds)
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

    def _follow(self, url: str) -> requests.Response:
        """Ask for a file, wherever it has moved: there is no key to lose on the way."""
        for _ in range(MAX_REDIRECTS + 1):
            response = self._ask(self._files, "GET", url)
            if not response.is_redirect:
                return response
            response.close()
            try:
                url = urljoin(url, response.headers["Location"])
            except ValueError:
                raise TerminalError(f"{_shown(url)}: redirected to no address") from None
        raise TerminalError(f"{_shown(url)}: redirected more than {MAX_REDIRECTS} times")

    def _ask(
        self, session: requests.Session, method: str, url: str, query: dict[str, str] | None = None
    ) -> requests.Response:
        limits = self._limits
        try:
            return session.request(
                method,
                url,
                params=query,
                timeout=(limits.connect_seconds, limits.silence_seconds),
                stream=True,
            )
        except requests.exceptions.InvalidSchema as error:
            allowed = " or ".join(session.adapters)
            raise TerminalError(f"{_shown(url)}: only {allowed} is fetched") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            if isinstance(error, requests.exceptions.InvalidHeader) or type(error) is ValueError:
                # Our own are checked with the settings: it is the Retry-After of a busy service.
                raise TransientError(f"{_shown(url)}: busy, for a time not understood") from error
            raise _explained(error, _shown(url)) from error

    # -------------------------------------------------------------- answers

    def _orders_url(self, kind: str, data: dict[str, Any], delivery_id: str) -> str:
        """Prefer the address the service gives; know its pattern where it gives none."""
        names = ORDER_FILES[kind]
        addresses = data.get("s3_path")
        if isinstance(addresses, dict):
            for name in names:
                if isinstance(address := addresses.get(name), str):
                    if _host(address) is None or not address.isprintable():
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
        """The service's own words as messages show them: one short line, and never the key."""
        text = " ".join(str(words).replace(self._settings.api_key, "***").split())
        text = text.encode("utf-8", "backslashreplace").decode()  # half a character
        return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}..."


class _Session(requests.Session):
    """Leaves redirects to us: requests reads a redirect's body, however long, to the end."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())


class _Body(io.RawIOBase):
    """The body of an answer as it arrives: whole and in time, or an error."""

    def __init__(self, response: requests.Response, name: str, seconds: float) -> None:
        self._raw, self._name, self._seconds = response.raw, name, seconds
        self._give_up_at = time.monotonic() + seconds
        self._received = 0
        self._encoding = response.headers.get("Content-Encoding", "identity").strip().lower()

    @property
    def tells_its_end(self) -> bool:
        """Whether a cut-off body shows: by its length, its chunks, or the end of its gzip."""
        known_length = self._raw.chunked or self._raw.length_remaining is not None
        return known_length or self._encoding == "gzip"

    def blocks(self, max_bytes: int) -> Iterator[bytes]:
        """Give the content, decompressed as it comes, so that a small body cannot grow large."""
        # Plain was asked for; a storage may keep a file compressed all the same.
        if self._encoding == "gzip":
            source: io.RawIOBase | gzip.GzipFile = gzip.GzipFile(fileobj=self)
        elif self._encoding == "identity":
            source = self
        else:
            raise TerminalError(f"{self._name}: compressed in a way not asked for")
        size = 0
        try:
            while block := source.read(BLOCK_BYTES):
                size += len(block)
                if size > max_bytes:
                    raise TerminalError(f"{self._name}: larger than {max_bytes} bytes")
                yield block
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise TransientError(
                f"{self._name}: cut off or damaged after {size} bytes (gzip)"
            ) from error

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        if time.monotonic() > self._give_up_at:
            raise TransientError(
                f"{self._name}: not here after {self._seconds:.0f} s ({self._received} bytes were)"
            )
        try:
            # What has arrived, at once: a full block of a dripping body may never come.
            block = self._raw.read1(len(target), decode_content=False) or b""
        except urllib3.exceptions.HTTPError as error:
            raise TransientError(f"{self._name}: cut off after {self._received} bytes") from error
        self._received += len(block)
        target[: len(block)] = block
        return len(block)


def _refuse_status(response: requests.Response, name: str) -> None:
    status = response.status_code
    if status in BUSY_STATUSES:
        raise TransientError(f"{name}: HTTP {status}: the service is busy or broken")
    if response.is_redirect:
        raise TerminalError(f"{name}: HTTP {status}: a redirect, which a call does not follow")
    if status != 200:
        raise TerminalError(f"{name}: HTTP {status}")


def _explained(error: Exception, name: str) -> LoaderError:
    """Say what went wrong below HTTP, and whether another try may help."""
    # requests wraps urllib3's MaxRetryError, which wraps the reason.
    while isinstance(
        inner := getattr(error, "reason", None) or next(iter(error.args), None), Exception
    ):
        error = inner
    if isinstance(error, ssl.SSLCertVerificationError):
        return TerminalError(
            f"{name}: its TLS certificate is not accepted ({error.verify_message});"
            " it is never skipped: name your own authority's file in REQUESTS_CA_BUNDLE"
        )
    if isinstance(error, ssl.SSLError):
        return TransientError(f"{name}: TLS failed ({error.reason})")
    for kind, explanation in _EXPLANATIONS:
        if isinstance(error, kind):
            cause = error.__cause__
            detail = f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""
            return TransientError(f"{name}: {explanation}{detail}")
    return TerminalError(f"{name}: cannot be fetched ({type(error).__name__})")


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _shown(url: str) -> str:
    """The address as messages show it: a query may hold a signature, a host a password."""
    if _host(url) is None:
        return "an address without a host"
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _text(values: dict[str, Any], name: str, call: str) -> str:
    value = values.get(name)
    # What cannot be printed is in no address and in no table.
    if not isinstance(value, str) or not value or not value.isprintable():
        raise TerminalError(f"{call}: the answer has no {name}")
    return value


def _mapping(values: dict[str, Any], name: str, call: str) -> dict[str, Any]:
    value = values.get(name)
    if not isinstance(value, dict):
        raise TerminalError(f"{call}: the answer has no {name}")
    return value

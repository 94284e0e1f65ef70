"""The client against a faulty service on real sockets. CASES lists all faults."""

from __future__ import annotations

import datetime as dt
import email.utils
import ipaddress
import logging
import ssl
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from faulty_server import (
    LOOPBACK,
    Entry,
    FaultyServer,
    answer,
    api_key_of,
    chunked,
    drip,
    full_server,
    hang,
    raw,
    reset,
    without_tls,
    zipped,
)
from support import ROOT, order

from loaders import steps
from loaders.deliveries import Delivery
from loaders.errors import TerminalError, TransientError
from loaders.http import Limits
from loaders.order_file import REQUIRED_COLUMNS
from loaders.report_api import ReportApi
from loaders.settings import ReportApiSettings

KEY = "5f55e6c0-e9e5-4a9c-b313-63c01fc31460"
TASK, REPORT_ID, DAY = "MjAyNC0wMy0wMwlsb2NhbA==", "TWpBeU5DMHdNeTB3TXc=", dt.date(2024, 2, 25)
CSV = b"id,uniq_id\n" + b"0,325ee6b36233114ec84e1cece938572e\n" * 100
# Long enough on a busy machine, short enough for the whole table.
LIMITS = Limits(
    connect_seconds=0.5,
    silence_seconds=1,
    retries=2,
    backoff_seconds=0.01,
    retry_after_seconds=2,
    answer_bytes=200_000,
    answer_seconds=0.8,
    file_bytes=1_000_000,
    file_seconds=0.8,
)

FINE, RETRIED, TRANSIENT, TERMINAL = "fine", "retried, then fine", "transient", "terminal"


@dataclass(frozen=True)
class At:
    """The addresses of the three servers of a case."""

    api: str
    storage: str
    elsewhere: str


Action = Callable[[ReportApi, At, Path], Any]


def generate(api: ReportApi, at: At, target: Path) -> str:
    return api.generate_report()


def report(api: ReportApi, at: At, target: Path) -> Delivery | None:
    return api.get_report(TASK)


def wait(api: ReportApi, at: At, target: Path) -> Delivery:
    return api.wait_for_report(TASK, deadline_seconds=20, poll_seconds=0.05)


def wait_in_vain(api: ReportApi, at: At, target: Path) -> Delivery:
    # Time for two polls, even on a busy machine.
    return api.wait_for_report(TASK, deadline_seconds=2, poll_seconds=1.2)


def increment(api: ReportApi, at: At, target: Path) -> Delivery:
    return api.get_increment(REPORT_ID, DAY)


def odd_increment(api: ReportApi, at: At, target: Path) -> Delivery:
    return api.get_increment("a+b/c=&date=1#?é", DAY)


def file(api: ReportApi, at: At, target: Path) -> bytes:
    # Parts of an address that must not be shown.
    storage = at.storage.replace("://", "://user:signature@")
    api.download(f"{storage}/orders.csv?signature=abc", target)
    return target.read_bytes()


def file_on_a_full_disk(api: ReportApi, at: At, target: Path) -> str:
    return api.download(f"{at.storage}/orders.csv", Path("/dev/full"))


def file_of_no_host(api: ReportApi, at: At, target: Path) -> str:
    return api.download("http://a..b/orders.csv", target)


def load(api: ReportApi, at: At, target: Path) -> object:
    """Load like the DAG, down to the warehouse."""
    return steps.upload(steps.get_increment(REPORT_ID, DAY))


@dataclass(frozen=True)
class Case:
    """One row: the call, what the servers do, and the expected result."""

    name: str
    action: Action
    outcome: str
    script: list[Entry] | Callable[[At], list[Entry]] = field(default_factory=list)
    says: str = ""  # part of the message or, without one, of the requests
    requests: int = 1
    # The state of the server that is asked first: the storage for a file, else the API.
    server: str = "listening"
    storage: list[Entry] = field(default_factory=list)
    storage_requests: int = 0
    elsewhere_requests: int = 0
    gives: Any = None
    at_least_seconds: float = 0
    limits: Limits = LIMITS


def finished(at: At, **changes: Any) -> dict[str, Any]:
    data = {
        "report_id": REPORT_ID,
        "start_day": "2024-02-02 00:00:00",
        "end_date": "2024-02-24 00:00:00",
        "s3_path": {"user_order_log": f"{at.storage}/user_order_log.csv"},
        **changes,
    }
    return {"task_id": TASK, "status": "SUCCESS", "data": data}


def ready(at: At) -> list[Entry]:
    return [answer(finished(at))]


def after(*first: Entry) -> Callable[[At], list[Entry]]:
    """Return these entries, then a good answer."""
    return lambda at: [*first, *ready(at)]


def report_with(**changes: Any) -> Callable[[At], list[Entry]]:
    return lambda at: [answer(finished(at, **changes))]


def busy(status: int, retry_after: str | None = None) -> Entry:
    return answer(status=status, headers={"Retry-After": retry_after})


def in_two_seconds(connection: Any) -> None:
    # Made when it is sent, because such a date has whole seconds.
    busy(429, email.utils.formatdate(time.time() + 2, usegmt=True))(connection)


def delivery_of(name: str) -> Callable[[At], list[Entry]]:
    """Return an increment with an address at the storage."""
    return lambda at: [
        answer(
            {
                "status": "SUCCESS",
                "data": {"increment_id": "inc", "s3_path": {name: f"{at.storage}/{name}.csv"}},
            }
        )
    ]


def redirect(*, to: str) -> Callable[[At], list[Entry]]:
    return lambda at: [
        answer(status=302, headers={"Location": to.format(**vars(at))}),
        answer(CSV),
    ]


def orders_of(day: str) -> bytes:
    lines = [order(f"{number:032}", day) for number in range(50)]
    rows = [REQUIRED_COLUMNS, *([line[name] for name in REQUIRED_COLUMNS] for line in lines)]
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


RUNNING = answer({"task_id": TASK, "status": "RUNNING"})
SHORT = {"Content-Length": "5000"}
NO_LENGTH = {"Content-Length": None}
HTML = answer("<html>Sign in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
ECHO = f'{{"error": "{KEY} is not known"}}'

# fmt: off
CASES = [
    # The service is slow, busy or away.
    Case("good answer", report, FINE, ready),
    Case("5xx, then fine", report, RETRIED, after(busy(503), busy(500)), requests=3),
    Case("5xx for ever", report, TRANSIENT, [busy(502)], "HTTP 502: the service is busy", 3),
    Case("status of a proxy's own", report, TRANSIENT, [busy(520)], "HTTP 520", 3),
    Case(
        "429 with seconds", report, RETRIED, after(busy(429, "1")), requests=2, at_least_seconds=1
    ),
    Case(
        "429 with a date", report, RETRIED, after(in_two_seconds), requests=2, at_least_seconds=0.9
    ),
    Case(
        "429 until a date gone by",
        report,
        RETRIED,
        after(busy(429, "Sun, 06 Nov 1994 08:49:37 GMT")),
        requests=2,
    ),
    Case(
        "429 for too long is cut short",
        report,
        RETRIED,
        after(busy(429, "20")),
        requests=2,
        at_least_seconds=1,
        limits=replace(LIMITS, retry_after_seconds=1),
    ),
    Case("429 for no known time", report, TRANSIENT, [busy(429, "soon")], "time not understood"),
    Case("429 until a year no calendar has", report, TRANSIENT,
         [busy(429, "Sun, 06 Nov 99999 08:49:37 GMT")], "time not understood"),
    Case("429 for more digits than are read", report, TRANSIENT, [busy(429, "9" * 5000)],
         "time not understood"),
    Case("refused", report, TRANSIENT, says="no connection (", requests=0, server="closed"),
    Case("DNS", report, TRANSIENT, says="cannot be resolved", requests=0, server="nameless"),
    Case("connect timeout", report, TRANSIENT, says="no connection in time", requests=0,
         server="full"),
    Case("read timeout", report, TRANSIENT, [hang()], "no answer in time", 3),
    Case("silence, then fine", report, RETRIED, after(hang()), requests=2),
    Case("hung up, then fine", report, RETRIED, after(raw(b"")), requests=2),
    Case("reset before an answer", report, TRANSIENT, [reset()], "the connection broke", 3),
    Case("not HTTP at all", report, TRANSIENT, [raw(b"220 mail\r\n")], "the connection broke", 3),
    # Only a part of the answer arrives.
    Case("slow drip", report, TRANSIENT, [drip(b" " * 1000, 0.05)], "not here after 1 s"),
    Case("silence in mid-body", report, TRANSIENT,
         [hang(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")], "cut off after 1 bytes"),
    Case("reset in mid-body", report, TRANSIENT,
         [reset(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{")], "cut off after 1 bytes"),
    Case("short body with length", report, TRANSIENT, [answer('{"task', headers=SHORT)],
         "cut off after 6 bytes"),
    Case("short body without length", report, TRANSIENT, [answer('{"task', headers=NO_LENGTH)],
         "cut off?"),
    Case("whole body without length", report, FINE,
         lambda at: [answer(finished(at), headers=NO_LENGTH)]),
    Case("short body in chunks", report, TRANSIENT, [chunked(b'{"task', ends=False)],
         "cut off after"),
    Case("gzip not asked for", report, FINE, [zipped(b'{"status": "RUNNING"}')]),
    Case("half a gzip", report, TRANSIENT, [zipped(b'{"status": "RUNNING"}', keep=0.5)],
         "cut off or damaged"),
    Case("gzip bomb", report, TERMINAL, [zipped(b" " * 5_000_000)], "larger than 200000 bytes"),
    Case("another compression", report, TERMINAL,
         [answer("...", headers={"Content-Encoding": "br"})], "compressed in a way not asked for"),
    # The service refuses, or another service answers.
    Case("401", report, TERMINAL, [answer(ECHO, 401)], "HTTP 401: the key was refused"),
    Case("403", report, TERMINAL, [answer(ECHO, 403)], "HTTP 403: the key was refused"),
    Case("404", report, TERMINAL, [answer(status=404)], "/get_report: HTTP 404"),
    Case("redirect to another host", report, TERMINAL, redirect(to="{elsewhere}/?key=" + KEY),
         "a redirect, which a call does not follow"),
    Case("redirect with an endless body", report, TERMINAL,
         [drip(b" " * 1000, 0.05, "302 Found\r\nLocation: /elsewhere")], "a redirect"),
    Case("redirect to file:", report, TERMINAL, redirect(to="file:///etc/hostname"), "a redirect"),
    Case("HTML with 200", report, TERMINAL, [HTML], "not JSON (text/html"),
    Case("invalid JSON", report, TERMINAL, [answer('{"task_id": ')], "not JSON"),
    Case("JSON too deep", report, TERMINAL, [answer("[" * 100_000)], "not JSON"),
    Case("JSON of another kind", report, TERMINAL, [answer(["SUCCESS"])], "not a JSON object"),
    Case("not UTF-8", report, TERMINAL, [answer(b'{"status": "\xff"}')], "not JSON"),
    Case("certificate nobody vouches for", report, TERMINAL, ready,
         "TLS certificate is not accepted", 0, server="untrusted TLS"),
    Case("certificate of a known authority", report, FINE, ready, server="trusted TLS"),
    # The answer has unexpected content.
    Case("no task_id", generate, TERMINAL, [answer({"status": "ok"})], "has no task_id"),
    Case("task_id a number", generate, TERMINAL, [answer({"task_id": 7})], "has no task_id"),
    Case("task_id of half a character", generate, TERMINAL, [answer({"task_id": "\ud800"})],
         "has no task_id"),
    Case("report_id with NUL", report, TERMINAL, report_with(report_id="a\0b"),
         "has no report_id"),
    Case("no data", report, TERMINAL, [answer({"status": "SUCCESS"})], "has no data"),
    Case("no report_id", report, TERMINAL, report_with(report_id=None), "has no report_id"),
    Case("no start_day", report, TERMINAL, report_with(start_day=""), "has no start_day"),
    Case("no date", report, TERMINAL, report_with(end_date="soon"), "end_date is soon, not a date"),
    Case("days the wrong way round", report, TERMINAL, report_with(end_date="2024-02-01"),
         "start_day 2024-02-02 is after end_date 2024-02-01"),
    Case("no addresses", report, FINE, report_with(s3_path=None),
         gives=lambda at: f"{at.storage}/s3-sprint3/cohort_1/local/project/{REPORT_ID}"
         "/user_order_log.csv"),
    Case("early spelling of the file", report, FINE,
         report_with(s3_path={"user_orders_log": "https://storage/user_orders_log.csv"}),
         gives=lambda at: "https://storage/user_orders_log.csv"),
    Case("address that is none", report, TERMINAL,
         report_with(s3_path={"user_order_log": "http://[::1/a.csv"}), "is no address"),
    Case("address on this machine's disk", report, TERMINAL,
         report_with(s3_path={"user_order_log": "file:///etc/hostname"}), "is no address"),
    Case("address of half a character", report, TERMINAL,
         report_with(s3_path={"user_order_log": "https://storage/\ud800.csv"}),
         r"is no address: https://storage/\ud800.csv"),
    Case("not ready yet", report, FINE, [RUNNING], gives=lambda at: None),
    Case("never SUCCESS", wait_in_vain, TRANSIENT, [RUNNING],
         f"report task {TASK} was not ready after 2 s", 2),
    Case("never an answer", wait_in_vain, TRANSIENT, [busy(503)],
         f"report task {TASK} was not ready after 2 s: ", 6),
    Case("cut off while it is waited for, then fine", wait, RETRIED,
         after(answer('{"task', headers=SHORT)), requests=2),
    Case("no status, then SUCCESS", wait, FINE, after(answer({"task_id": TASK})), requests=2),
    Case("FAILED", report, TERMINAL, [answer({"status": "FAILED", "debug_info": f"key {KEY}"})],
         f"report task {TASK} ended with status FAILED: key ***"),
    Case("status nobody knows", report, TERMINAL, [answer({"status": "CANCELLED\n" * 99})],
         "ended with status CANCELLED CANCELLED"),
    Case("answer about another task", report, TERMINAL, [answer({"task_id": "b3RoZXI="})],
         f"the answer to task {TASK} is about task b3RoZXI="),
    Case("task id without its padding", report, FINE, [answer({"task_id": TASK.rstrip("=")})],
         gives=lambda at: None),
    Case("report id that changes while it runs", wait, FINE,
         lambda at: [answer({**finished(at, report_id="early"), "status": "RUNNING"}),
                     answer(finished(at))],
         requests=2, gives=lambda at: f"{at.storage}/user_order_log.csv"),
    Case("id of odd characters", odd_increment, FINE, delivery_of("user_order_log_inc"),
         "report_id=a%2Bb%2Fc%3D%26date%3D1%23%3F%C3%A9&date=2024-02-25T00%3A00%3A00"),
    Case("no such increment", increment, TERMINAL,
         [answer({"status": "NOT FOUND", "debug_info": "Date is too early",
                  "data": {"increment_id": None}})],
         "no increment for 2024-02-25: Date is too early"),
    Case("null increment", increment, TERMINAL,
         [answer({"status": "SUCCESS", "data": {"increment_id": None}})],
         "no increment for 2024-02-25: status SUCCESS, no increment_id"),
    Case("increment without data", increment, TERMINAL, [answer({"status": "SUCCESS"})],
         "no increment for 2024-02-25"),
    # The client does not ask for a second report.
    Case("POST, answer lost", generate, TRANSIENT, [raw(b"")], "the connection broke"),
    Case("POST, reset", generate, TRANSIENT, [reset()], "the connection broke"),
    Case("POST, no answer", generate, TRANSIENT, [hang()], "no answer in time"),
    Case("POST, answer cut off", generate, TRANSIENT, [answer('{"task', headers=SHORT)],
         "cut off after 6 bytes"),
    Case("POST, busy", generate, TRANSIENT, [busy(503, "1")], "HTTP 503"),
    Case("POST, TLS broken", generate, TRANSIENT, [without_tls(b"HTTP/1.1 200 OK\r\n\r\n")],
         "TLS failed", server="trusted TLS"),
    Case("POST, redirected", generate, TERMINAL, redirect(to="{elsewhere}/"), "a redirect"),
    Case("POST, refused, then fine", generate, RETRIED, [answer({"task_id": TASK})],
         server="late", limits=replace(LIMITS, retries=6, backoff_seconds=0.05)),
    # Files.
    Case("file", file, FINE, [answer(CSV)]),
    Case("file in chunks", file, FINE, [chunked(CSV[:100], CSV[100:])]),
    Case("file in gzip", file, FINE, [zipped(CSV)]),
    Case("file, 5xx, then fine", file, RETRIED, [busy(503), answer(CSV)], requests=2),
    Case("file, refused", file, TRANSIENT, says="no connection (", requests=0, server="closed"),
    Case("file, 404", file, TERMINAL, [answer(status=404)], "/orders.csv: HTTP 404"),
    Case("file, 403", file, TERMINAL, [answer(status=403)], "/orders.csv: HTTP 403"),
    Case("file, slow drip", file, TRANSIENT, [drip(CSV, 0.05)], "not here after 1 s"),
    Case("file, reset in mid-body", file, TRANSIENT,
         [reset(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nid,")], "cut off after 3 bytes"),
    Case("file, short with length", file, TRANSIENT, [answer(b"id,", headers=SHORT)],
         "cut off after 3 bytes"),
    Case("file, short without length", file, TRANSIENT, [answer(b"id,", headers=NO_LENGTH)],
         "does not say how long it is"),
    Case("file, length no number", file, TRANSIENT,
         [answer(b"id,", headers={"Content-Length": "three"})], "does not say how long it is"),
    Case("file, short in chunks", file, TRANSIENT, [chunked(CSV[:100], ends=False)],
         "cut off after 100 bytes"),
    Case("file, half a gzip", file, TRANSIENT, [zipped(CSV, keep=0.5)], "cut off or damaged"),
    Case("file, a gzip that is none", file, TRANSIENT,
         [answer(CSV, headers={"Content-Encoding": "gzip"})], "cut off or damaged"),
    Case("file, gzip bomb", file, TERMINAL, [zipped(b" " * 5_000_000)], "larger than 1000000"),
    Case("file, too large", file, TERMINAL, [answer(b" " * 1_000_001)], "larger than 1000000"),
    Case("file, HTML with 200", file, TERMINAL, [HTML], "a page for people instead of a file"),
    Case("file, redirect to another host", file, FINE, redirect(to="{elsewhere}/other.csv"),
         elsewhere_requests=1),
    Case("file, redirect to file:", file, TERMINAL, redirect(to="file:///etc/hostname"),
         "only https:// or http:// is fetched"),
    Case("file, redirect to no address", file, TERMINAL, redirect(to="http://[::1/a"),
         "redirected to no address"),
    Case("file, redirect in a circle", file, TERMINAL,
         lambda at: [answer(status=302, headers={"Location": "/orders.csv"})],
         "redirected more than 3 times", 4),
    Case("file of a host that cannot be", file_of_no_host, TERMINAL, says="cannot be fetched",
         requests=0),
    Case("file on a full disk", file_on_a_full_disk, TRANSIENT,
         says="cannot be kept: No space left", requests=0, storage=[answer(CSV)],
         storage_requests=1),
    Case("file without TLS although the API has it", file, TERMINAL, [answer(CSV)],
         "only https:// is fetched", 0, server="trusted TLS"),
    # Down to the warehouse.
    Case("another day's file", load, TERMINAL, delivery_of("user_order_log_inc"),
         "line 2 (outside_delivery)", storage=[answer(orders_of("2024-02-24"))],
         storage_requests=1),
    Case("the day's file", load, FINE, delivery_of("user_order_log_inc"),
         storage=[answer(orders_of("2024-02-25"))], storage_requests=1),
    Case("empty file", load, TERMINAL, delivery_of("user_order_log_inc"), "there is no header",
         storage=[answer(b"")], storage_requests=1),
]
# fmt: on


def test_the_table_is_whole() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 100
    assert {case.outcome for case in CASES} == {FINE, RETRIED, TRANSIENT, TERMINAL}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_comes_of_it(
    case: Case,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("http_proxy", "https_proxy", "all_proxy", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if case.action is load:
        request.getfixturevalue("empty_database")
        command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")
    target = tmp_path / "orders.csv"
    with servers(case, monkeypatch, tmp_path) as (at, seen):
        settings = ReportApiSettings(at.api, "local", "1", KEY, at.storage)
        for variable, value in (
            ("URL", at.api), ("NICKNAME", "local"), ("COHORT", "1"), ("KEY", KEY),
        ):  # fmt: skip
            monkeypatch.setenv(f"REPORT_API_{variable}", value)
        began = time.monotonic()
        error: Exception | None = None
        try:
            result = case.action(ReportApi(settings, case.limits), at, target)
        except (TransientError, TerminalError) as raised:
            error = raised
        seconds = time.monotonic() - began

    outcome = FINE if error is None else (
        TERMINAL if isinstance(error, TerminalError) else TRANSIENT
    )  # fmt: skip
    assert outcome == (FINE if case.outcome == RETRIED else case.outcome), error
    calls, files, others = seen
    asked_first = files if case.action is file else calls
    assert len(asked_first) == case.requests, asked_first
    if case.outcome == RETRIED:
        assert case.requests > 1 or case.server == "late"
    assert len(others) == case.elsewhere_requests
    if case.action is not file:
        assert len(files) == case.storage_requests
    assert case.at_least_seconds <= seconds < case.at_least_seconds + 10
    if error is None:
        assert case.says in "".join(calls)
        if case.gives:
            assert getattr(result, "orders_url", result) == case.gives(at)
        if case.action is file:
            assert result == CSV
    else:
        assert case.says in str(error)
        assert "\n" not in str(error) or case.action is load
        assert "signature" not in str(error)
    # The key is in the header of requests to the API, and nowhere else.
    assert all(api_key_of(head) == KEY and head.count(KEY) == 1 for head in calls)
    assert KEY not in "".join([*files, *others])
    told = [caplog.text, *capfd.readouterr(), repr(settings), repr(error)]
    if error is not None:
        told += traceback.format_exception(error)
    assert KEY not in "".join(told)
    assert not target.exists() or target.stat().st_size <= case.limits.file_bytes


@contextmanager
def servers(
    case: Case, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> Iterator[tuple[At, tuple[list[str], list[str], list[str]]]]:
    """Yield API, storage and another host: their addresses and the requests they got."""
    with ExitStack() as stack:
        tls = None
        if "TLS" in case.server:
            tls, authority = tls_context(folder)
            if case.server == "trusted TLS":
                monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        is_file = case.action is file
        opens_after = {"late": 0.1, "closed": 60.0}.get(case.server, 0)
        api = FaultyServer(tls=tls, opens_after=0 if is_file else opens_after)
        storage = FaultyServer(opens_after=opens_after if is_file else 0)
        elsewhere = FaultyServer(host="127.0.0.2")
        at = At(api.address, storage.address, elsewhere.address)
        if case.server == "full":
            at = replace(at, api=stack.enter_context(full_server()))
        elif case.server == "nameless":
            at = replace(at, api="http://report-api.invalid")
        script = case.script(at) if callable(case.script) else case.script
        api.script, storage.script = ([], script) if is_file else (script, case.storage)
        elsewhere.script = [answer(CSV)]
        for server in (api, storage, elsewhere):
            stack.enter_context(server)
        yield at, (api.requests, storage.requests, elsewhere.requests)


def tls_context(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context with a new certificate, and the file of its authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "report API under test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), False
        )
        .sign(key, hashes.SHA256())
    )
    authority, private = folder / "authority.pem", folder / "key.pem"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    return context, authority

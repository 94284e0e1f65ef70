"""The answers of the shop to the calls, without HTTP.

We do not know how the real service answers these cases, and have decided: a wrong key is 401, a
missing nickname or cohort 400, a task of another nickname NOT FOUND, a date in another form 400.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Protocol

from shop_api.ids import (
    NICKNAME,
    BadId,
    Task,
    parse_day,
    parse_increment,
    parse_report,
    parse_task,
)
from shop_api.window import Window

# No secret: it is valid only for this stand-in.
DEFAULT_API_KEY = "local-stand-in-key"

# The real service takes at least this long.
DEFAULT_RUNNING_SECONDS = 60.0

STORAGE = "s3-sprint3"
REPORT_FILES = ("customer_research", "user_order_log", "user_activity_log", "price_log")

_COHORT = re.compile(r"\w{1,32}", re.ASCII)
_FILE_NAME = re.compile(r"[a-z_]+\.csv")


class Source(Protocol):
    """A source of the files."""

    def increment_refusal(self, task: Task, day: date) -> str | None:
        """Return why a day within the window has no increment; None if it has one."""

    def report_file(self, task: Task, name: str) -> bytes | None:
        """Return the content of a file under the report's id; None if there is none."""

    def increment_file(self, task: Task, day: date, name: str) -> bytes | None:
        """Return the content of a file under the increment's id; None if there is none."""


class Refused(Exception):
    """The call gets an HTTP error and a sentence."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """The code and the body of a response."""

    status: HTTPStatus
    body: bytes
    content_type: str

    @classmethod
    def of_json(cls, content: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> Answer:
        """Return an answer that holds `content` as JSON."""
        body = json.dumps(content, ensure_ascii=False).encode()
        return cls(status, body, "application/json; charset=utf-8")


@dataclass(frozen=True)
class Caller:
    """The caller, from the headers. `base_url` is the address that the caller uses."""

    nickname: str
    cohort: str
    project: bool
    base_url: str

    def addresses(self, ids: Mapping[str, str]) -> dict[str, str]:
        """Return the `s3_path` of an answer: the address of each file."""
        folder = f"{self.base_url}/{STORAGE}/cohort_{self.cohort}/{self.nickname}"
        if self.project:
            folder += "/project"
        return {name: f"{folder}/{owner}/{name}.csv" for name, owner in ids.items()}


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Shop:
    """The stand-in's settings and its answers.

    `today`: the day on which all reports count as generated; None is the real day, in UTC.
    `running_seconds`: real seconds after its start during which a report is RUNNING.
    `omit_running_status`: in the first half of that time the answer lacks its `status`, as the real
    service once did; a client's first poll meets this.
    `clock`: the real time, in UTC.
    """

    source: Source
    today: date | None = None
    api_key: str = field(default=DEFAULT_API_KEY, repr=False)
    running_seconds: float = DEFAULT_RUNNING_SECONDS
    omit_running_status: bool = False
    clock: Callable[[], datetime] = _utc_now

    def caller(self, headers: Mapping[str, str], base_url: str) -> Caller:
        """Return the caller; raise Refused for a wrong or missing header (names in lower case)."""
        key = headers.get("x-api-key", "")
        # Bytes, because compare_digest accepts only ASCII text.
        if not hmac.compare_digest(key.encode(), self.api_key.encode()):
            raise Refused(HTTPStatus.UNAUTHORIZED, "X-API-KEY is missing or wrong")
        nickname, cohort = headers.get("x-nickname", ""), headers.get("x-cohort", "")
        for name, value, form in (
            ("X-Nickname", nickname, NICKNAME),
            ("X-Cohort", cohort, _COHORT),
        ):
            if form.fullmatch(value) is None:
                raise Refused(
                    HTTPStatus.BAD_REQUEST, f"{name} is missing or does not match {form.pattern}"
                )
        project = headers.get("x-project", "").lower() == "true"
        return Caller(nickname, cohort, project, base_url)

    def generate_report(self, caller: Caller) -> Answer:
        """Start a report."""
        task = Task.start(caller.nickname, self.clock(), self.today)
        return Answer.of_json({"task_id": task.task_id})

    def get_report(self, caller: Caller, query: Mapping[str, str]) -> Answer:
        """Return the state of a task and, if it is finished, the addresses of the files."""
        task_id = _required(query, "task_id")
        try:
            task = _own(parse_task(task_id), caller)
        except BadId as error:
            return Answer.of_json(
                {"task_id": task_id, "status": "NOT FOUND", "debug_info": str(error)}
            )
        age = task.age_seconds(self.clock())
        if age < self.running_seconds:
            if self.omit_running_status and age < self.running_seconds / 2:
                return Answer.of_json({"task_id": task_id})
            return Answer.of_json({"task_id": task_id, "status": "RUNNING"})
        window = Window(task.generated)
        data = {
            "report_id": task.report_id,
            "start_day": f"{window.history_start} 00:00:00",
            "end_date": f"{window.history_end} 00:00:00",
            "s3_path": caller.addresses(dict.fromkeys(REPORT_FILES, task.report_id)),
        }
        return Answer.of_json({"task_id": task_id, "status": "SUCCESS", "data": data})

    def get_increment(self, caller: Caller, query: Mapping[str, str]) -> Answer:
        """Return the addresses of the files of one day, or why there are none."""
        report_id, date_text = _required(query, "report_id"), _required(query, "date")
        try:
            day = parse_day(date_text)
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, f"date: {error}") from error
        echo = {"report_id": report_id, "date": f"{day} 00:00:00"}
        try:
            task = _own(parse_report(report_id), caller)
            refusal = self._increment_refusal(task, day)
        except BadId as error:
            refusal = str(error)
        if refusal is not None:
            data: dict[str, object] = {"increment_id": None}
            return Answer.of_json(
                {**echo, "status": "NOT FOUND", "debug_info": refusal, "data": data}
            )
        increment_id = task.increment_id(day)
        owners = {f"{name}_inc": increment_id for name in REPORT_FILES}
        owners["price_log_inc"] = task.report_id  # as at the real service
        data = {"increment_id": increment_id, "s3_path": caller.addresses(owners)}
        return Answer.of_json({**echo, "status": "SUCCESS", "data": data})

    def file(self, nickname: str, file_id: str, name: str) -> Answer:
        """Return a file of a report or an increment. Raises Refused if there is none."""
        content = self._content(nickname, file_id, name) if _FILE_NAME.fullmatch(name) else None
        if content is None:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such file")
        return Answer(HTTPStatus.OK, content, "text/csv; charset=utf-8")

    def _content(self, nickname: str, file_id: str, name: str) -> bytes | None:
        try:
            task = parse_report(file_id)
        except BadId:
            try:
                day, task = parse_increment(file_id)
            except BadId:
                return None
            if task.nickname != nickname or self._increment_refusal(task, day) is not None:
                return None
            return self.source.increment_file(task, day, name)
        return self.source.report_file(task, name) if task.nickname == nickname else None

    def _increment_refusal(self, task: Task, day: date) -> str | None:
        return Window(task.generated).refusal(day) or self.source.increment_refusal(task, day)


def _required(query: Mapping[str, str], name: str) -> str:
    value = query.get(name, "")
    if not value:
        raise Refused(HTTPStatus.BAD_REQUEST, f"The parameter {name} is missing")
    return value


def _own(task: Task, caller: Caller) -> Task:
    """Return the task; raise BadId if it belongs to another nickname."""
    if task.nickname != caller.nickname:
        raise BadId(f"The task belongs to another nickname than {caller.nickname}")
    return task

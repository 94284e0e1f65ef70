r"""The ids of tasks, reports and increments.

As decoded from real ids, all of them plain base64:

    task       <UTC time>\t<nickname>            2024-03-03T13:21:35.042412\tuser
    report     base64(task id)
    increment  <date>T00:00:00\t<report id>

So an id holds everything about the thing it names, and the stand-in needs no memory.

The UTC time of a task has two uses. Its date is the day on which the report was generated (G), and
`--today` may fix G for repeatable runs. But the age of the task has to be measured in real time. So
the date is G, the time of day is the real one to the millisecond, and the last three digits of the
fraction are the number of the real day, modulo 1000. Therefore the age is right across midnight,
and a finished task does not seem to run again at the same hour of the next day. Ids of the real
service end at the second. The stand-in accepts them and treats their tasks as finished.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from dataclasses import dataclass
from datetime import date, datetime

from shop_api.window import FIRST_YEAR, LAST_YEAR

# These characters need no escape in an address, and their base64 has neither '+' nor '/'.
NICKNAME = re.compile(r"\w[\w.@-]{0,63}", re.ASCII)

_MOMENT = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(?P<ms>\d{3})(?P<day>\d{3}))?", re.ASCII
)
_DAY = re.compile(r"(\d{4}-\d\d-\d\d)T00:00:00", re.ASCII)

_REAL_DAYS = 1000  # the number of values of three digits
_DAY_MS = 24 * 60 * 60 * 1000


class BadId(ValueError):
    """The text is no id that this service could have given out."""


@dataclass(frozen=True)
class Task:
    """A started report: the UTC time as in the id, and the nickname that asked."""

    moment: str
    nickname: str

    @classmethod
    def start(cls, nickname: str, now: datetime, today: date | None = None) -> Task:
        """Return a task started `now` (UTC), whose report is of the day `today` (default: now)."""
        generated = today or now.date()
        fraction = f"{now.microsecond // 1000:03d}{now.toordinal() % _REAL_DAYS:03d}"
        return cls(f"{generated:%Y-%m-%d}T{now:%H:%M:%S}.{fraction}", nickname)

    @property
    def generated(self) -> date:
        """The day the report was generated (G)."""
        return date.fromisoformat(self.moment[:10])

    @property
    def task_id(self) -> str:
        """The id that `generate_report` answers."""
        return _encode(f"{self.moment}\t{self.nickname}")

    @property
    def report_id(self) -> str:
        """The id of the finished report."""
        return _encode(self.task_id)

    def increment_id(self, day: date) -> str:
        """The id of this report's increment of `day`."""
        return _encode(f"{day:%Y-%m-%d}T00:00:00\t{self.report_id}")

    def age_seconds(self, now: datetime) -> float:
        """Return real seconds from the task's start to `now` (UTC); infinite for a foreign id."""
        parts = _MOMENT.fullmatch(self.moment)
        if parts is None or parts["ms"] is None:
            return math.inf
        started = datetime.fromisoformat(parts["second"])
        age_ms = _clock_ms(now.toordinal(), now, now.microsecond // 1000) - _clock_ms(
            int(parts["day"]), started, int(parts["ms"])
        )
        return age_ms % (_REAL_DAYS * _DAY_MS) / 1000


def parse_day(text: str) -> date:
    """Return the day of `YYYY-MM-DDT00:00:00`, the only form that the service knows.

    Raises ValueError for any other text.
    """
    parts = _DAY.fullmatch(text)
    if parts is None:
        raise ValueError(f"{text!r} is not of the form YYYY-MM-DDT00:00:00")
    return date.fromisoformat(parts[1])


def parse_task(task_id: str) -> Task:
    """Return the task that a task id names. Raises BadId."""
    moment, _, nickname = _decode(task_id).partition("\t")
    parts = _MOMENT.fullmatch(moment)
    if parts is None or NICKNAME.fullmatch(nickname) is None:
        raise BadId(f"{task_id!r} is not the id of a task")
    try:
        started = datetime.fromisoformat(parts["second"])
    except ValueError as error:
        raise BadId(f"{task_id!r} holds no date: {error}") from error
    if not FIRST_YEAR <= started.year <= LAST_YEAR:
        raise BadId(f"{task_id!r} lies outside the years {FIRST_YEAR} to {LAST_YEAR}")
    return Task(moment, nickname)


def parse_report(report_id: str) -> Task:
    """Return the task whose report a report id names. Raises BadId."""
    return parse_task(_decode(report_id))


def parse_increment(increment_id: str) -> tuple[date, Task]:
    """Return the day and the report's task that an increment id names. Raises BadId."""
    day, _, report_id = _decode(increment_id).partition("\t")
    try:
        return parse_day(day), parse_report(report_id)
    except ValueError as error:
        raise BadId(f"{increment_id!r} is not the id of an increment") from error


def _clock_ms(day: int, clock: datetime, ms: int) -> int:
    seconds = (clock.hour * 60 + clock.minute) * 60 + clock.second
    return day * _DAY_MS + seconds * 1000 + ms


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode(text: str) -> str:
    """Decode plain base64 to text; in real calls the padding may be missing or too long."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise BadId(f"{text!r} is not base64") from error

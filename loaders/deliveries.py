"""A delivery: one file of order lines for the days that it covers."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self

from loaders.errors import TerminalError

# The service keeps the increments of so many days.
INCREMENT_DAYS = 7

_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_day(text: str) -> date:
    """Return the day that `text` names: 2024-02-25, and in no other form.

    Raises:
        TerminalError: if `text` names no day.
    """
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise TerminalError(f"{text!r} is not a day like 2024-02-25")


@dataclass(frozen=True)
class Delivery:
    """One delivery as the report API announces it, before its file is read.

    `kind` is `increment` (one day) or `history` (first to last day, both included).
    """

    kind: str
    report_id: str
    increment_id: str | None
    first_day: date
    last_day: date
    orders_url: str

    @property
    def name(self) -> str:
        """The name of the delivery in messages."""
        if self.kind == "increment":
            return f"increment {self.first_day}"
        return f"history {self.first_day} to {self.last_day}"

    def as_json(self) -> dict[str, str | None]:
        """Return plain values, to pass from one orchestrator task to the next."""
        return {
            **asdict(self),
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day.isoformat(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the delivery that `as_json` described."""
        return cls(
            **{
                **values,
                "first_day": parse_day(values["first_day"]),
                "last_day": parse_day(values["last_day"]),
            }
        )

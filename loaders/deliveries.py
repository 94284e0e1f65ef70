"""What a delivery is: one file of order lines for the days it covers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self


@dataclass(frozen=True)
class Delivery:
    """One delivery as the report API announces it, before anything of it was read.

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
        """The delivery as messages name it."""
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
        """Take back what `as_json` gave."""
        return cls(
            **{
                **values,
                "first_day": date.fromisoformat(values["first_day"]),
                "last_day": date.fromisoformat(values["last_day"]),
            }
        )

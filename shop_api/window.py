"""The days that a report covers, and the days that have an increment.

With G the day the report was generated: history G-30 … G-8, increments G-7 … G-1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

HISTORY_STARTS_DAYS_BACK = 30
HISTORY_ENDS_DAYS_BACK = 8
FIRST_INCREMENT_DAYS_BACK = 7
LAST_INCREMENT_DAYS_BACK = 1

# Far enough from both ends of `date`, so that every window fits.
FIRST_YEAR = 1970
LAST_YEAR = 2100


@dataclass(frozen=True)
class Window:
    """The days of the report generated on the day `generated` (G)."""

    generated: date

    def _days_back(self, days: int) -> date:
        return self.generated - timedelta(days=days)

    @property
    def history_start(self) -> date:
        """First day of the history file, included."""
        return self._days_back(HISTORY_STARTS_DAYS_BACK)

    @property
    def history_end(self) -> date:
        """Last day of the history file, included."""
        return self._days_back(HISTORY_ENDS_DAYS_BACK)

    @property
    def first_increment(self) -> date:
        """First day with an increment; its order file has no status column."""
        return self._days_back(FIRST_INCREMENT_DAYS_BACK)

    @property
    def last_increment(self) -> date:
        """Last day with an increment: the day before the report was generated."""
        return self._days_back(LAST_INCREMENT_DAYS_BACK)

    def history_days(self) -> list[date]:
        """All days of the history file, oldest first."""
        return _days(self.history_start, self.history_end)

    def increment_days(self) -> list[date]:
        """All days that have an increment, oldest first."""
        return _days(self.first_increment, self.last_increment)

    def refusal(self, day: date) -> str | None:
        """Return why `day` has no increment, in the service's words; None if it has one."""
        if day < self.first_increment:
            return "Date is too early"
        if day > self.last_increment:
            return "Date is too late"
        return None


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]

"""Serves recorded deliveries again, byte for byte.

The directory holds `report_<G>__<file>` and `increment_<day>__<file>`, days as YYYY-MM-DD, for
example `increment_2022-12-05__user_order_log_inc.csv`. Calls for a report that was not recorded get
an answer without files, so that its increments can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from shop_api.ids import Task
from shop_api.window import Window


@dataclass(frozen=True)
class RecordedSource:
    """Deliveries from a directory. Raises NotADirectoryError if there is none."""

    directory: Path

    def __post_init__(self) -> None:
        if not self.directory.is_dir():
            raise NotADirectoryError(f"no directory of recorded deliveries: {self.directory}")

    def increment_refusal(self, task: Task, day: date) -> str | None:
        """Return why `day` has no increment (no file was recorded), or None if it has one."""
        if any(self.directory.glob(f"increment_{day}__*")):
            return None
        return f"No increment was recorded for {day}"

    def report_file(self, task: Task, name: str) -> bytes | None:
        """Return a file under the report's id, or None if it was not recorded.

        `price_log_inc.csv` is under the report's id, which names no day. Of several recorded files
        the last is served, as if every increment had overwritten the one before.
        """
        if name != "price_log_inc.csv":
            return self._read(f"report_{task.generated}__{name}")
        for day in reversed(Window(task.generated).increment_days()):
            content = self._read(f"increment_{day}__{name}")
            if content is not None:
                return content
        return None

    def increment_file(self, task: Task, day: date, name: str) -> bytes | None:
        """Return a file under the increment's id, or None if it was not recorded."""
        if name == "price_log_inc.csv":
            return None
        return self._read(f"increment_{day}__{name}")

    def _read(self, name: str) -> bytes | None:
        path = self.directory / name
        return path.read_bytes() if path.is_file() else None

"""Settings, read from the environment when they are needed and never at import.

The warehouse's own settings are libpq's PG* variables, which psycopg2, dbt and Alembic share.
"""

import os
from dataclasses import dataclass, field

from loaders.errors import TerminalError

# Above this share of rejected lines a delivery is more likely broken than dirty.
DEFAULT_MAX_REJECTED_SHARE = 0.05


def _required(*names: str) -> list[str]:
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise TerminalError(f"not set in the environment: {', '.join(missing)}")
    return [os.environ[name] for name in names]


@dataclass(frozen=True)
class ReportApiSettings:
    """Where the report API is and who asks it."""

    url: str
    nickname: str
    cohort: str
    api_key: str = field(repr=False)  # never in a log
    storage_url: str

    @classmethod
    def from_environment(cls) -> "ReportApiSettings":
        """Read REPORT_API_URL, _NICKNAME, _COHORT, _KEY and the optional REPORT_STORAGE_URL.

        Raises:
            TerminalError: naming every variable that is missing.
        """
        url, nickname, cohort, api_key = _required(
            "REPORT_API_URL", "REPORT_API_NICKNAME", "REPORT_API_COHORT", "REPORT_API_KEY"
        )
        url = url.rstrip("/")
        storage_url = os.environ.get("REPORT_STORAGE_URL", url).rstrip("/")
        return cls(url, nickname, cohort, api_key, storage_url)


def max_rejected_share() -> float:
    """Return the share of rejected lines, 0 to 1, above which a delivery is refused.

    Raises:
        TerminalError: if MAX_REJECTED_SHARE is not such a number.
    """
    text = os.environ.get("MAX_REJECTED_SHARE", str(DEFAULT_MAX_REJECTED_SHARE))
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise TerminalError(f"MAX_REJECTED_SHARE is {text!r}: expected a number from 0 to 1")
    return share

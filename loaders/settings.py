"""Settings, read from the environment when they are needed and never at import.

The warehouse's own settings are libpq's PG* variables, which psycopg2, dbt and Alembic share.
"""

import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from loaders.errors import TerminalError

# A delivery with a larger share of rejected lines is probably broken as a whole.
DEFAULT_MAX_REJECTED_SHARE = 0.05


def _required(*names: str) -> list[str]:
    # A secret read from a file often ends in a line break.
    values = [os.environ.get(name, "").strip() for name in names]
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    if missing:
        raise TerminalError(f"not set in the environment: {', '.join(missing)}")
    return values


@dataclass(frozen=True)
class ReportApiSettings:
    """Where the report API is and who asks it.

    Raises:
        TerminalError: if a value cannot be used; the message does not show the value.
    """

    url: str
    nickname: str
    cohort: str
    api_key: str = field(repr=False)  # never in a log
    storage_url: str

    def __post_init__(self) -> None:
        for name, value in (
            ("REPORT_API_NICKNAME", self.nickname),
            ("REPORT_API_COHORT", self.cohort),
            ("REPORT_API_KEY", self.api_key),
        ):
            # For other bad characters the HTTP library would show the value in its message.
            if not (value.isascii() and value.isprintable()):
                raise TerminalError(f"{name} holds characters that an HTTP header cannot carry")
        for name, url in (("REPORT_API_URL", self.url), ("REPORT_STORAGE_URL", self.storage_url)):
            if not _is_base_address(url):
                raise TerminalError(
                    f"{name} is no address like https://host/path,"
                    " without user, password, query or fragment"
                )

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
        storage_url = os.environ.get("REPORT_STORAGE_URL", "").strip().rstrip("/") or url
        return cls(url, nickname, cohort, api_key, storage_url)

    @property
    def sends_key_in_the_clear(self) -> bool:
        """Whether the client sends the key to another machine without TLS."""
        parts = urlsplit(self.url)
        return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def _is_base_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # parsed when asked for
    except ValueError:
        return False
    return url.startswith(("http://", "https://")) and bool(
        parts.hostname and not (parts.username or parts.password or parts.query or parts.fragment)
    )


def check_connection() -> None:
    """Make sure that libpq's PG* variables mean the same to the loader, the migrations and dbt.

    An empty variable counts as unset. libpq itself does not treat all of them so, and therefore
    empty ones are removed from the environment.

    Raises:
        TerminalError: if PGPORT is not one number. PGHOST may be a list of hosts with that port.
    """
    for name, value in list(os.environ.items()):
        if name.startswith("PG") and not value:
            del os.environ[name]
    port = os.environ.get("PGPORT", "5432")
    if not re.fullmatch("[0-9]{1,5}", port):
        raise TerminalError(f"PGPORT is {port!r}: expected one number; dbt takes no list of ports")


def max_rejected_share() -> float:
    """Return the share of rejected lines, 0 to 1, above which a delivery is refused.

    Raises:
        TerminalError: if MAX_REJECTED_SHARE is not such a number.
    """
    text = os.environ.get("MAX_REJECTED_SHARE") or str(DEFAULT_MAX_REJECTED_SHARE)
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise TerminalError(f"MAX_REJECTED_SHARE is {text!r}: expected a number from 0 to 1")
    return share

"""HTTP for the loader: every answer is limited, and is complete or an error with an explanation.

A client for https fetches nothing without TLS. Only `follow` follows redirects, without the
caller's headers.
"""

import gzip
import io
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from loaders.errors import LoaderError, TerminalError, TransientError

# "Too slow", "too many requests", and faults of the service itself.
BUSY_STATUSES = (408, 429, *range(500, 600))
# We have never seen the storage redirect. The limit ends a loop.
MAX_REDIRECTS = 3
BLOCK_BYTES = 64 * 1024

_EXPLANATIONS = (
    (urllib3.exceptions.NameResolutionError, "its name cannot be resolved"),
    (urllib3.exceptions.NewConnectionError, "no connection"),
    (urllib3.exceptions.ConnectTimeoutError, "no connection in time"),
    (urllib3.exceptions.ReadTimeoutError, "no answer in time"),
    (urllib3.exceptions.ProxyError, "the proxy does not answer"),
    (urllib3.exceptions.ProtocolError, "the connection broke"),
)


@dataclass(frozen=True)
class Limits:
    """How long the client waits, how often it asks again, and how much it takes."""

    # The service answers a call at once, or not at all.
    connect_seconds: float = 5
    silence_seconds: float = 30  # between two bytes
    # At once, then after 1, 2 and 4 s, or as a Retry-After says. The caller handles longer faults:
    # an orchestrator holds no worker while it waits.
    retries: int = 4
    backoff_seconds: float = 0.5
    retry_after_seconds: int = 60
    # An answer has about 1 KB.
    answer_bytes: int = 1024**2
    answer_seconds: float = 60
    # A day has about 200 KB and a history 4 MB. A larger or slower file is no delivery.
    # Counted after decompression.
    file_bytes: int = 2 * 1024**3
    file_seconds: float = 10 * 60


class HttpClient:
    """Asks one service.

    Args:
        limits: how long to wait, how often to ask again, how much to take.
        headers: sent with every request.
        plain: whether the client may also ask addresses without TLS.
    """

    def __init__(self, limits: Limits, headers: Mapping[str, str], *, plain: bool) -> None:
        self._limits = limits
        self._session = _Session()
        self._session.headers.update({"Accept-Encoding": "identity", **headers})
        adapter = HTTPAdapter(
            max_retries=Retry(
                total=limits.retries,
                # If TLS fails once, it fails again.
                other=0,
                # Connecting is tried again for every method. A request that was sent is repeated
                # only if that is harmless.
                allowed_methods=("GET",),
                status_forcelist=BUSY_STATUSES,
                backoff_factor=limits.backoff_seconds,
                retry_after_max=limits.retry_after_seconds,
                raise_on_status=False,
            )
        )
        self._session.adapters.clear()
        self._session.mount("https://", adapter)
        if plain:
            self._session.mount("http://", adapter)

    def ask(
        self, method: str, url: str, query: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send one request; return the answer, whose body is not read yet.

        Raises:
            TransientError: if the service cannot be reached or is busy.
            TerminalError: if another try will not help.
        """
        limits = self._limits
        try:
            return self._session.request(
                method,
                url,
                params=query,
                timeout=(limits.connect_seconds, limits.silence_seconds),
                stream=True,
            )
        except requests.exceptions.InvalidSchema as error:
            allowed = " or ".join(self._session.adapters)
            raise TerminalError(f"{shown(url)}: only {allowed} is fetched") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            if isinstance(error, requests.exceptions.InvalidHeader) or type(error) is ValueError:
                # The settings have checked our own headers, so this is the Retry-After of a busy
                # service.
                raise TransientError(f"{shown(url)}: busy, for a time not understood") from error
            raise _explained(error, shown(url)) from error

    def follow(self, url: str) -> requests.Response:
        """Ask for a file, following redirects; raise as `ask` does."""
        for _ in range(MAX_REDIRECTS + 1):
            response = self.ask("GET", url)
            if not response.is_redirect:
                return response
            response.close()
            try:
                url = urljoin(url, response.headers["Location"])
            except ValueError:
                raise TerminalError(f"{shown(url)}: redirected to no address") from None
        raise TerminalError(f"{shown(url)}: redirected more than {MAX_REDIRECTS} times")


class _Session(requests.Session):
    """Follows no redirects: requests would read a redirect's body, however long, to its end."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())


class Body(io.RawIOBase):
    """The body of an answer as it arrives: complete and in time, or an error."""

    def __init__(self, response: requests.Response, name: str, seconds: float) -> None:
        self._raw, self._name, self._seconds = response.raw, name, seconds
        self._give_up_at = time.monotonic() + seconds
        self._received = 0
        self._encoding = response.headers.get("Content-Encoding", "identity").strip().lower()

    @property
    def tells_its_end(self) -> bool:
        """Whether length, chunks or the end of the gzip data would show that a body was cut off."""
        known_length = self._raw.chunked or self._raw.length_remaining is not None
        return known_length or self._encoding == "gzip"

    def blocks(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the content, decompressed as it arrives, so that a small body cannot grow large."""
        # The request asks for plain text, but a storage may send a file that it keeps compressed.
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
            # Take what has arrived at once: a slow sender may never fill a block.
            block = self._raw.read1(len(target), decode_content=False) or b""
        except urllib3.exceptions.HTTPError as error:
            raise TransientError(f"{self._name}: cut off after {self._received} bytes") from error
        self._received += len(block)
        target[: len(block)] = block
        return len(block)


def refuse_status(response: requests.Response, name: str) -> None:
    status = response.status_code
    if status in BUSY_STATUSES:
        raise TransientError(f"{name}: HTTP {status}: the service is busy or broken")
    if response.is_redirect:
        raise TerminalError(f"{name}: HTTP {status}: a redirect, which a call does not follow")
    if status != 200:
        raise TerminalError(f"{name}: HTTP {status}")


def _explained(error: Exception, name: str) -> LoaderError:
    """Return the error for a failure below HTTP; its class says whether another try may help."""
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


def host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def shown(url: str) -> str:
    """Return the address for messages, without query and password, which may be secret."""
    if host_of(url) is None:
        return "an address without a host"
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

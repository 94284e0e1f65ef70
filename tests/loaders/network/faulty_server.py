"""A server on a real socket that follows a script with one entry for each request.

An entry is a function of the open connection; `answer`, `raw`, `hang` and others make entries. The
last entry is repeated for all further requests. Every connection ends with its entry.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

Entry = Callable[[socket.socket], object]

LOOPBACK = "127.0.0.1"


class FaultyServer:
    """Listens on a port of its own and keeps the head of every request.

    Args:
        opens_after: seconds during which connections are refused.
        tls: speak TLS with this context.
    """

    def __init__(
        self,
        *,
        host: str = LOOPBACK,
        opens_after: float = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[str] = []
        self.script: Sequence[Entry] = []  # set once all addresses are known
        self._opens_after, self._tls = opens_after, tls
        self._socket = socket.socket()
        self._socket.bind((host, 0))
        self.address = f"{'https' if tls else 'http'}://{host}:{self._socket.getsockname()[1]}"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        if not self._opens_after:
            self._socket.listen()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        if self._opens_after and not self._stopped.wait(self._opens_after):
            self._socket.listen()
        self._socket.settimeout(0.02)
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._socket.accept()
                # One connection at a time: the client sends one request after the other.
                with contextlib.suppress(OSError):
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(4096)
                if not piece:
                    return
                head += piece
            self.requests.append(head.decode("latin-1"))
            entry = self.script[min(len(self.requests), len(self.script)) - 1]
            entry(connection)


def answer(
    body: str | bytes | Mapping[str, Any] | Sequence[Any] = b"",
    status: int = 200,
    headers: Mapping[str, str | None] | None = None,
) -> Entry:
    """Return an entry that sends a well-formed answer; a header that is None is left out."""
    content = body if isinstance(body, bytes) else _text(body).encode()
    fields: dict[str, str | None] = {
        "Content-Type": "text/csv" if isinstance(body, str | bytes) else "application/json",
        "Content-Length": str(len(content)),
        "Connection": "close",
        **(headers or {}),
    }
    head = [f"HTTP/1.1 {status} whatever"]
    head += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return raw("\r\n".join([*head, "", ""]).encode() + content)


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)


def raw(data: bytes) -> Entry:
    """Return an entry that sends these bytes, then closes the connection."""
    return lambda connection: connection.sendall(data)


def chunked(*chunks: bytes, ends: bool = True) -> Entry:
    """Return an entry that sends an answer in chunks; without the end it is cut off."""
    data = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return raw(head + data + (b"0\r\n\r\n" if ends else b""))


def zipped(content: bytes, *, keep: float = 1) -> Entry:
    """Return an entry that sends a part of a gzip answer, with the length of that part."""
    packed = gzip.compress(content)
    return answer(packed[: int(len(packed) * keep)], headers={"Content-Encoding": "gzip"})


def reset(data: bytes = b"") -> Entry:
    """Return an entry that sends these bytes, then resets the connection."""

    def entry(connection: socket.socket) -> None:
        connection.sendall(data)
        time.sleep(0.05)  # a reset would overtake bytes that were not read yet
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return entry


def without_tls(data: bytes) -> Entry:
    """Return an entry that sends these bytes unencrypted after the TLS handshake."""
    return lambda connection: os.write(connection.fileno(), data)


def hang(data: bytes = b"") -> Entry:
    """Return an entry that sends these bytes, then nothing until the other side gives up."""

    def entry(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.recv(1)

    return entry


def drip(data: bytes, seconds: float, status: str = "200 OK") -> Entry:
    """Return an entry that sends an answer slowly, byte by byte."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode()

    def entry(connection: socket.socket) -> None:
        connection.sendall(head)
        for byte in data:
            time.sleep(seconds)
            connection.sendall(bytes([byte]))

    return entry


def api_key_of(head: str) -> str | None:
    """Return the key in a request."""
    found = re.search(r"(?im)^x-api-key: (.*?)\r?$", head)
    return found and found[1]


@contextlib.contextmanager
def full_server() -> Any:
    """Yield the address of a server with a full queue: it neither accepts nor refuses."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind((LOOPBACK, 0))
        server.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(server.getsockname())
        yield f"http://{LOOPBACK}:{server.getsockname()[1]}"

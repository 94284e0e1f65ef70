"""The shop behind HTTP/1.1: routes, headers, the access log, start and stop."""

from __future__ import annotations

import re
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from shop_api.shop import STORAGE, Answer, Refused, Shop

_METHODS = {"/generate_report": "POST", "/get_report": "GET", "/get_increment": "GET"}

# The calls have no body. If a caller sends one, the server reads it to keep the connection usable,
# unless it is absurdly long.
_BODY_LENGTH = re.compile(r"[0-9]{1,6}")


@contextmanager
def serve(shop: Shop, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Answer calls on a thread while the block lasts; yield the base address, without a slash.

    Port 0 means any free port. Raises OSError if the address cannot be used.
    """
    with _Server((host, port), shop) as server:
        # The poll interval limits how long a stop takes.
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.base_url
        finally:
            server.shutdown()
            thread.join()
            server.hang_up()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], shop: Shop) -> None:
        self.shop = shop
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer would look up the host's full name here, which may wait for a name server.
        socketserver.TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)

    @property
    def base_url(self) -> str:
        return f"http://{self.server_name}:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close the connections that callers keep open: a stopped service must not answer."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Callers often hang up. Any other exception is a bug here and is shown in full.
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "shop_api"
    sys_version = ""
    timeout = 60  # seconds that an idle connection is kept
    disable_nagle_algorithm = True  # head and body go out in two writes; do not wait between them

    def _handle(self) -> None:
        self._drain_body()
        try:
            answer = self._answer()
        except Refused as refused:
            answer = Answer.of_json({"error": str(refused)}, refused.status)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle

    def _answer(self) -> Answer:
        """Route the call. Raises Refused if no route fits."""
        shop = cast(_Server, self.server).shop
        path, _, query_text = self.path.partition("?")
        file_path = _file_path(path)
        if file_path is not None:
            self._expect("GET")
            return shop.file(*file_path)
        if path not in _METHODS:
            raise Refused(HTTPStatus.NOT_FOUND, "There is no such path")
        self._expect(_METHODS[path])
        caller = shop.caller(
            {name.lower(): value for name, value in self.headers.items()}, self._base_url()
        )
        query = dict(parse_qsl(query_text))
        if path == "/generate_report":
            return shop.generate_report(caller)
        if path == "/get_report":
            return shop.get_report(caller, query)
        return shop.get_increment(caller, query)

    def _expect(self, method: str) -> None:
        if self.command != method:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"This path takes {method} only")

    def _base_url(self) -> str:
        """Return the address that the caller used: addresses in answers have to work there."""
        host = self.headers.get("Host")
        return f"http://{host}" if host else cast(_Server, self.server).base_url

    def _drain_body(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if _BODY_LENGTH.fullmatch(length) and "Transfer-Encoding" not in self.headers:
            self.rfile.read(int(length))
        else:
            self.close_connection = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log method, call and code. The whole address would only repeat the headers."""
        path = self.path.partition("?")[0]
        file_path = _file_path(path)
        call = path if path in _METHODS else "a file" if file_path else "an unknown path"
        status = code.value if isinstance(code, HTTPStatus) else code
        sys.stderr.write(f"shop_api: {self.command} {call} -> {status}\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing about idle connections and requests that are not HTTP."""


def _file_path(path: str) -> tuple[str, str, str] | None:
    """Return nickname, id and file name of a storage path; None for any other path.

    The path may have `/project/` or not.
    """
    match [unquote(part) for part in path.split("/")]:
        case ["", storage, cohort, nickname, "project", file_id, name]:
            pass
        case ["", storage, cohort, nickname, file_id, name]:
            pass
        case _:
            return None
    if storage != STORAGE or not cohort.startswith("cohort_"):
        return None
    return nickname, file_id, name

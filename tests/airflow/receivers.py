"""What listens on this machine for what Airflow sends: a webhook, a mail server, a UDP port."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from local.ports import HOST


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Give an address, and what is posted there as JSON."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            posted.append(json.loads(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer((HOST, 0), Handler)
    with _served(server):
        yield f"http://{HOST}:{server.server_port}/services/T0/B0/s3cret", posted


@contextmanager
def mailbox() -> Iterator[tuple[int, list[Message]]]:
    """Give the port of a mail server, and the mails it was given."""
    mails: list[Message] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            def say(line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

            say("220 here")
            while line := self.rfile.readline().decode().strip():
                if line.upper() == "DATA":
                    say("354 go on")
                    text = ""
                    while (part := self.rfile.readline().decode()) != ".\r\n":
                        text += part
                    mails.append(message_from_string(text))
                say("221 bye" if line.upper() == "QUIT" else "250 ok")

    server = socketserver.ThreadingTCPServer((HOST, 0), Handler)
    with _served(server):
        yield server.server_address[1], mails


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def datagrams() -> Iterator[tuple[int, list[str]]]:
    """Give a UDP port, and what is sent to it."""
    received: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind((HOST, 0))

        def listen() -> None:
            while True:
                try:
                    data = listening.recv(65536)
                except OSError:
                    return
                received.append(data.decode())

        threading.Thread(target=listen, daemon=True).start()
        yield listening.getsockname()[1], received

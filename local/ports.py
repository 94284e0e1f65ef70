"""Free TCP ports on 127.0.0.1."""

import random
import socket

HOST = "127.0.0.1"

# Below Linux's range for outgoing connections (from 32768), so that no client takes a kept port
# while its server is down.
_PORTS = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` now."""
    with socket.socket() as probe:
        # As servers do: a port with old lingering connections counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that nobody listens on. Raises OSError if a hundred tries find none."""
    for port in random.sample(_PORTS, 100):
        if is_free(port):
            return port
    raise OSError(f"no free TCP port found on {HOST} between {_PORTS.start} and {_PORTS.stop - 1}")

"""Command line: `python -m shop_api --today 2024-03-03 --port 8000`."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date
from ipaddress import ip_address
from pathlib import Path

from shop_api.generated import (
    DEFAULT_ORDERS_PER_DAY,
    DEFAULT_SEED,
    MOST_ORDERS_PER_DAY,
    GeneratedSource,
)
from shop_api.recorded import RecordedSource
from shop_api.server import serve
from shop_api.shop import DEFAULT_API_KEY, DEFAULT_RUNNING_SECONDS, Shop, Source
from shop_api.window import FIRST_YEAR, LAST_YEAR

# The variable keeps the key out of the list of processes.
API_KEY_VARIABLE = "REPORT_API_KEY"

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_NEWLINES = {"lf": "\n", "crlf": "\r\n"}


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return 0, or 2 if the service cannot start."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.recorded is not None and options.fresh_orders:
        parser.error("--fresh-orders: recorded deliveries are served as they are")
    own_key = options.api_key or os.environ.get(API_KEY_VARIABLE)
    if not own_key and not _is_this_machine(options.host):
        parser.error(
            f"--host {options.host}: everybody knows the default key; give one by --api-key or"
            f" {API_KEY_VARIABLE}"
        )
    shop = Shop(
        source=_source(parser, options),
        today=options.today,
        api_key=own_key or DEFAULT_API_KEY,
        running_seconds=options.running_seconds,
        omit_running_status=options.omit_running_status,
    )
    # Block the signals before the first thread starts, so that only the wait below receives them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    with ExitStack() as stack:
        try:
            base_url = stack.enter_context(serve(shop, options.host, options.port))
        except (OSError, OverflowError) as error:
            parser.error(f"cannot listen on {options.host}:{options.port}: {error}")
        print(f"shop_api listening on {base_url}", flush=True)
        signal.sigwait(_STOP_SIGNALS)
    return 0


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, which may mean any address
        return False


def _source(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Source:
    if options.recorded is None:
        return GeneratedSource(
            seed=options.seed,
            orders_per_day=options.orders_per_day,
            fresh_orders=options.fresh_orders,
            newline=_NEWLINES[options.newline],
        )
    try:
        return RecordedSource(options.recorded)
    except NotADirectoryError as error:
        parser.error(f"--recorded: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m shop_api", description="Local stand-in of the shop's report API."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument(
        "--port", type=int, default=8000, help="0 picks a free one (%(default)s)", metavar="N"
    )
    parser.add_argument(
        "--today",
        type=_day,
        help="the day all reports count as generated on (default: the real day, UTC)",
        metavar="YYYY-MM-DD",
    )
    parser.add_argument(
        "--running-seconds",
        type=_seconds,
        default=DEFAULT_RUNNING_SECONDS,
        help="how long a started report stays RUNNING (%(default)s)",
        metavar="S",
    )
    parser.add_argument(
        "--omit-running-status",
        action="store_true",
        help="leave out the status in the first half of that time",
    )
    parser.add_argument(
        "--api-key",
        help=f"the key callers must send (default: ${API_KEY_VARIABLE}, else {DEFAULT_API_KEY})",
        metavar="KEY",
    )
    parser.add_argument(
        "--recorded",
        type=Path,
        help="serve recorded deliveries from here instead of generated orders",
        metavar="DIR",
    )
    generated = parser.add_argument_group("generated orders")
    generated.add_argument("--seed", type=int, default=DEFAULT_SEED, metavar="N")
    generated.add_argument(
        "--orders-per-day",
        type=_orders_per_day,
        default=DEFAULT_ORDERS_PER_DAY,
        help="distinct order lines of an average day (%(default)s)",
        metavar="N",
    )
    generated.add_argument(
        "--fresh-orders",
        action="store_true",
        help="new orders in every report, as at the real service",
    )
    generated.add_argument("--newline", choices=sorted(_NEWLINES), default="lf")
    return parser


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day, expected YYYY-MM-DD") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise argparse.ArgumentTypeError(f"{text} is not in {FIRST_YEAR} to {LAST_YEAR}")
    return day


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"{text} is no time, expected seconds from 0")
    return seconds


def _orders_per_day(text: str) -> int:
    count = int(text)
    if not 0 <= count <= MOST_ORDERS_PER_DAY:
        raise argparse.ArgumentTypeError(f"{text} is not in 0 to {MOST_ORDERS_PER_DAY}")
    return count


if __name__ == "__main__":
    sys.exit(main())

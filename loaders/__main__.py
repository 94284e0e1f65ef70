"""Command line of the loader: `python -m loaders increment --date 2024-02-25`."""

import argparse
import sys
from collections.abc import Sequence
from datetime import date

from loaders import steps
from loaders.errors import LoaderError


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2024-02-25") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loaders", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    increment = commands.add_parser("increment", help="load one day's increment")
    increment.add_argument("--date", type=_day, required=True, help="the day, e.g. 2024-02-25")
    history = commands.add_parser("history", help="load the days before the increments")
    for command in (increment, history):
        command.add_argument(
            "--dry-run", action="store_true", help="fetch and check everything, change nothing"
        )
        command.add_argument(
            "--allow-empty",
            action="store_true",
            help="let the delivery empty days that have order lines",
        )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after printing why it failed."""
    options = _parser().parse_args(arguments)
    try:
        delivery = steps.wait_for_report(steps.generate_report())
        if options.command == "increment":
            delivery = steps.get_increment(delivery.report_id, options.date)
        result = steps.upload(delivery, allow_empty=options.allow_empty, dry_run=options.dry_run)
    except LoaderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(result.describe())
    return 0


if __name__ == "__main__":
    sys.exit(main())

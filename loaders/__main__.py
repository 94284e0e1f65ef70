"""Command line of the loader: `python -m loaders increment --date 2024-02-25`."""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import date
from io import TextIOWrapper
from pathlib import Path

from loaders import quarantine, steps, trimming
from loaders.deliveries import parse_day
from loaders.errors import LoaderError


def day(text: str) -> date:
    try:
        return parse_day(text)
    except LoaderError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loaders", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    increment = commands.add_parser("increment", help="load one day's increment")
    increment.add_argument("--date", type=day, required=True, help="the day, e.g. 2024-02-25")
    history = commands.add_parser("history", help="load the days before the increments")
    for command in (increment, history):
        command.add_argument(
            "--dry-run", action="store_true", help="fetch and check everything, change nothing"
        )
        _add_allow_empty(command)
    _add_quarantine(commands.add_parser("quarantine", help="rejected lines: list, show, replay"))
    trim = commands.add_parser("trim", help="take what is old out of ledger and quarantine")
    trim.add_argument(
        "--months", type=int, required=True, metavar="N", help="keep what is younger than that"
    )
    trim.add_argument("--apply", action="store_true", help="do it; without, only say what would go")
    return parser


def _add_allow_empty(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--allow-empty",
        action="store_true",
        help="let the delivery empty days that have order lines",
    )


def _add_quarantine(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="what is rejected, by delivery and reason")
    listing.add_argument("--delivery", type=int, metavar="ID", help="of one delivery only")
    show = actions.add_parser("show", help="the rejected lines of a delivery, as CSV")
    show.add_argument("--reason", help="with this reason only")
    show.add_argument("--output", type=Path, metavar="FILE", help="write there, not to the screen")
    replay = actions.add_parser("replay", help="judge rejected lines again, after a fix")
    for action in (show, replay):
        action.add_argument("--delivery", type=int, metavar="ID", required=True)
    source = replay.add_mutually_exclusive_group()
    source.add_argument(
        "--lines",
        type=Path,
        metavar="FILE",
        help="a file of `show` with raw_line corrected; without, the lines as delivered",
    )
    source.add_argument(
        "--file", type=Path, help="the whole file, corrected: for a delivery that was refused"
    )
    _add_allow_empty(replay)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after printing why it failed."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # whatever the locale: names are Russian
    try:
        if options.command == "quarantine":
            _quarantine(options)
            return 0
        if options.command == "trim":
            print(trimming.trim(options.months, apply=options.apply))
            return 0
        delivery = steps.wait_for_report(steps.generate_report())
        if options.command == "increment":
            delivery = steps.get_increment(delivery.report_id, options.date)
        result = steps.upload(delivery, allow_empty=options.allow_empty, dry_run=options.dry_run)
        # Now, not at the program's end: a reader that has gone away is met here.
        print(result.describe(), flush=True)
    except LoaderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (`| head`) has closed the pipe. Flushing the buffer must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _quarantine(options: argparse.Namespace) -> None:
    if options.action == "list":
        for line in quarantine.listed(options.delivery):
            print(line)
    elif options.action == "show":
        quarantine.export(options.delivery, options.reason, options.output)
    elif options.file:
        print(
            quarantine.replay_file(options.delivery, options.file, allow_empty=options.allow_empty)
        )
    else:
        print(quarantine.replay(options.delivery, options.lines))


if __name__ == "__main__":
    sys.exit(main())

"""Command line of the checks: `python -m checks prove`."""

import argparse
import sys
from collections.abc import Sequence

from checks.doctor import examine, show
from checks.preflight import preflight
from checks.prove import DAYS, prove
from loaders.__main__ import day
from loaders.errors import LoaderError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one check; return 0 if all is well, else 1 after printing why.

    The doctor has its own statuses, as monitoring has them: 0 well, 1 look at it, 2 broken.
    """
    parser = argparse.ArgumentParser(prog="python -m checks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("preflight", help="see that nothing is in the way of tables of ours")
    doctor = commands.add_parser(
        "doctor", help="how all is: a line a check; ends with 0 well, 1 look at it, 2 broken"
    )
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--today", type=day, help="judge by this day whether days are due")
    proof = commands.add_parser("prove", help="run days again, build afresh, compare")
    proof.add_argument("--days", type=int, default=DAYS, help="so many of the last days again")
    options = parser.parse_args(arguments)
    try:
        if options.command == "preflight":
            preflight()
            return 0
        if options.command == "doctor":
            return show(examine(options.today), as_json=options.json)
        return 0 if prove(options.days) else 1
    except LoaderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""Command line of the checks: `python -m checks prove`."""

import argparse
import sys
from collections.abc import Sequence

from checks.preflight import preflight
from checks.prove import DAYS, prove
from loaders.errors import LoaderError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one check; return 0 if all is well, else 1 after printing why."""
    parser = argparse.ArgumentParser(prog="python -m checks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("preflight", help="see that nothing is in the way of tables of ours")
    proof = commands.add_parser("prove", help="run days again, build afresh, compare")
    proof.add_argument("--days", type=int, default=DAYS, help="so many of the last days again")
    options = parser.parse_args(arguments)
    try:
        if options.command == "preflight":
            preflight()
            return 0
        return 0 if prove(options.days) else 1
    except LoaderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

"""Command line of the migrations: `python -m migrations takeover --plan`."""

import argparse
import sys
from collections.abc import Sequence

from loaders.__main__ import day
from loaders.errors import LoaderError
from migrations.roles import create_roles
from migrations.takeover import go_back, take_over


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m migrations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    takeover = commands.add_parser("takeover", help="bring an old warehouse to the new shape")
    way = takeover.add_mutually_exclusive_group()
    way.add_argument(
        "--plan",
        action="store_true",
        help="say what would change and how many rows, change nothing",
    )
    way.add_argument(
        "--back",
        action="store_true",
        help="bring it back to the old shape, as long as nothing was loaded since",
    )
    takeover.add_argument(
        "--rebuild",
        type=day,
        nargs="+",
        default=(),
        metavar="DAY",
        help="build these days of the marts again from staging, once the shape is new",
    )
    commands.add_parser("roles", help="make the accounts loader, transformer and reader")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after printing why it failed."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "roles":
            create_roles()
        elif options.back:
            go_back()
        else:
            take_over(plan=options.plan, rebuild=options.rebuild)
    except LoaderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

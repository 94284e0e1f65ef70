"""Command line of the report page: `python -m report --output FILE`."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from loaders.errors import LoaderError
from report import marts, page


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; return 0, or 1 after printing why it failed."""
    parser = argparse.ArgumentParser(prog="python -m report", description=__doc__)
    parser.add_argument("--output", type=Path, metavar="FILE", required=True, help="the page")
    options = parser.parse_args(arguments)
    try:
        content = page.render(marts.read(), datetime.now(UTC))
        page.write(content, options.output)
    except (LoaderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {len(content.encode()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/bin/sh
# Finds a Python 3.11 to 3.13, which makes .venv from uv.lock (local/install.py).
# Usage: local/bootstrap.sh STAMP   (PYTHON=/path/to/python names the interpreter)
# All output goes to stderr.
set -eu
exec >&2

CDPATH='' cd "$(dirname "$0")/.."

fail() {
    echo "error: $*"
    exit 1
}

# Prints the path of the interpreter behind a command, if it runs and has one of these versions. Only
# running it tells: a pyenv shim exists for versions that were never chosen. For a virtual environment
# it prints the interpreter that the environment was made from.
usable() {
    "$1" -I -c 'import sys
if (3, 11) <= sys.version_info < (3, 14):
    print(getattr(sys, "_base_executable", "") or sys.executable)' 2>/dev/null
}

python=
if [ -n "${PYTHON:-}" ]; then
    python=$(usable "$PYTHON") || true
    [ -n "$python" ] || fail "PYTHON=$PYTHON does not run, or is not Python 3.11, 3.12 or 3.13."
else
    # An environment that exists keeps its interpreter: somebody may be working in it.
    for candidate in .venv/bin/python python3.12 python3.13 python3.11 python3 python; do
        python=$(usable "$candidate") || true
        [ -z "$python" ] || break
    done
    [ -n "$python" ] || fail "No working Python 3.11, 3.12 or 3.13 found:" \
        "install one or name it, as in 'make PYTHON=/path/to/python3.12'."
fi

# -E and -s: without the caller's Python settings and packages. -B: root leaves no files behind.
exec "$python" -E -s -B -m local.install "$1"

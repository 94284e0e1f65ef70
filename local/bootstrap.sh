#!/bin/sh
# Makes .venv from uv.lock: finds a Python, installs the pinned uv beside it, lets uv do the rest.
# Usage: local/bootstrap.sh STAMP   (PYTHON=/path/to/python names the interpreter)
# Needs Python 3.11 to 3.13 with venv or pip, and PyPI. Everything it says goes to stderr.
set -eu
exec >&2

stamp=$1
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

fail() {
    echo "error: $*"
    exit 1
}

# The caller's own Python settings would end up in this environment, or keep it from being made.
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHONSTARTUP VIRTUAL_ENV CONDA_PREFIX
unset PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV PIP_NO_BINARY PIP_PYTHON
unset UV_PROJECT_ENVIRONMENT UV_PYTHON UV_NO_BINARY UV_NO_SYNC UV_OFFLINE

# Prints the path of the interpreter behind a command, if it runs and its version will do. It must
# be run to know: a pyenv shim exists for versions that were never chosen. Behind a virtual
# environment stands the interpreter it was made from.
usable() {
    "$1" -c 'import sys
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

tools=.local/tools
export PIP_ROOT_USER_ACTION=ignore
uv=$tools/bin/uv
pinned=$(sed -n 's/^uv==\([0-9.]*\).*/\1/p' local/uv-requirements.txt)
if [ "$("$uv" --version 2>/dev/null | cut -d' ' -f2)" != "$pinned" ]; then
    echo "Installing uv $pinned"
    rm -rf "$tools"
    mkdir -p "$tools"
    # Debian splits venv and pip off into packages of their own: either is enough.
    if "$python" -m venv "$tools" >/dev/null 2>&1; then
        pip="$tools/bin/python -m pip"
        into=
    elif "$python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$tools"
        pip="$python -m pip"
        into="--target $tools"
    else
        fail "$python has neither venv nor pip: install python3-venv or python3-pip, or name" \
            "another interpreter with PYTHON=."
    fi
    # shellcheck disable=SC2086  # both hold words, none with a space of ours
    $pip install --quiet --disable-pip-version-check --no-input --require-hashes \
        --only-binary :all: $into -r local/uv-requirements.txt ||
        fail "uv could not be installed: PyPI must be reachable (see above)."
fi

# A cache that cannot be kept at home is kept here.
if [ -z "${UV_CACHE_DIR:-}" ] && ! [ -w "${HOME:-/nonexistent}" ]; then
    export UV_CACHE_DIR="$root/.local/uv-cache"
fi

# uv brings certificates of its own, which know nothing of a company's proxy; the machine's do.
for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    [ ! -s "$bundle" ] || : "${UV_SYSTEM_CERTS:=true}"
done
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-false}"

echo "Installing the environment from uv.lock"
UV_PYTHON_DOWNLOADS=never "$uv" sync --quiet --frozen --compile-bytecode --python "$python" ||
    fail "The environment could not be installed from uv.lock (see above)."
touch "$stamp"

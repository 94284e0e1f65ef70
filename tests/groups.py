"""Environments of their own, for what `make` does not install: groups of uv.lock, and no others."""

import os
import subprocess
import sys
from pathlib import Path

from support import ROOT

from local.install import UV, installing


def installed(name: str, *groups: str) -> Path:
    """Install these groups into `.local/NAME`; return the folder of its programs."""
    environment = ROOT / ".local" / name
    chosen = [word for group in groups for word in ("--group", group)]
    options = ("--quiet", "--frozen", "--no-default-groups", "--compile-bytecode")
    done = subprocess.run(
        [UV, "sync", *options, *chosen, "--python", sys.executable],
        cwd=ROOT,
        env={**installing(os.environ), "UV_PROJECT_ENVIRONMENT": str(environment)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return environment / "bin"

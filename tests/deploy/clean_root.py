"""Carries out a Dockerfile in folders, without a container engine: each step in a clean Debian.

It knows the instructions that deploy/Dockerfile uses and refuses any other. As root only: it needs
chroot and mounts, which go with the process that made them.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from support import ROOT

from local.install import installing

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# In a namespace of its own, with devices, processes, certificates and caches of the machine.
_ENTER = """
root=$1; shift
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
while [ "$1" != -- ]; do
    [ -e "$root$2" ] && mount --bind "$1" "$root$2"
    shift 2
done
shift
exec "$@"
"""


@dataclass
class Stage:
    """A folder that is the root of an image, and what later commands in it begin with."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    folder: str = "/"
    user: str = "0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def run(
        self,
        *command: str,
        user: str | None = None,
        env: dict[str, str] | None = None,
        mounts: dict[Path, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the image would; return what became of it."""
        (self.root / self.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        pairs = [str(word) for pair in (mounts or {}).items() for word in pair]
        account = self.user if user is None else user
        inside = f'cd "{self.folder}" && exec "$@"'
        told = [f"{name}={value}" for name, value in {**self.env, **(env or {})}.items()]
        return subprocess.run(
            [
                *("unshare", "--mount", "sh", "-euc", _ENTER, "sh", str(self.root), *pairs, "--"),
                *("chroot", f"--userspec={account}:0", str(self.root), "/usr/bin/env", "-i", *told),
                *("sh", "-c", inside, "sh", *command),
            ],
            text=True,
            capture_output=True,
        )


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Return every instruction and its words; comments and line breaks are gone."""
    lines = [line for line in dockerfile.read_text().splitlines() if not re.match(r"\s*#", line)]
    text = re.sub(r"\\\n", " ", "\n".join(lines))
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, words = line.partition(" ")
        found.append((name, words.strip()))
    return found


def build(dockerfile: Path, debian: Path, folder: Path, cache: Path) -> Stage:
    """Carry out the Dockerfile; return its last stage.

    Args:
        debian: the root of a minimal Debian, which stands for the image of the first FROM.
        folder: where the roots of the stages are made.
        cache: stands for the cache that a step mounts.
    """
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for number, (name, words) in enumerate(instructions(dockerfile)):
        if name == "FROM":
            base, _, alias = words.partition(" AS ")
            known = stages.get(base)
            root = folder / (alias or f"stage-{number}")
            assert known or base.startswith("debian:"), base
            _copy_root(known.root if known else debian, root)
            stage = Stage(root, dict(known.env) if known else {"PATH": _PATH})
            stages[alias or str(number)] = stage
            continue
        assert stage is not None
        _carry_out(stage, name, words, stages, cache)
    assert stage is not None
    return stage


def _carry_out(stage: Stage, name: str, words: str, stages: dict[str, Stage], cache: Path) -> None:
    match name:
        case "ENV":
            for setting in shlex.split(words):
                variable, _, value = setting.partition("=")
                stage.env[variable] = value.replace("$PATH", stage.env["PATH"])
        case "WORKDIR":
            stage.folder = words
        case "USER":
            stage.user = words
        case "ENTRYPOINT":
            stage.entrypoint = json.loads(words)
        case "CMD":
            stage.command = json.loads(words)
        case "COPY":
            _copy(stage, shlex.split(words), stages)
        case "RUN":
            mounted = re.match(r"--mount=type=cache,target=(\S+)\s+", words)
            mounts = {Path(_CERTIFICATES): _CERTIFICATES}
            if mounted:
                target = mounted[1]
                (stage.root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
                mounts[cache] = target
                words = words[mounted.end() :]
            env = {
                name: value
                for name, value in installing(os.environ).items()
                if name.startswith(("PIP_", "UV_")) and name != "UV_CACHE_DIR"
            }
            shutil.copy("/etc/resolv.conf", stage.root / "etc" / "resolv.conf")
            done = stage.run("sh", "-c", words, env={**env, **stage.env}, mounts=mounts)
            assert done.returncode == 0, f"RUN {words}\n{done.stdout}{done.stderr}"
        case _:
            raise AssertionError(f"{name} is an instruction that this check does not know")


def _copy(stage: Stage, words: list[str], stages: dict[str, Stage]) -> None:
    source_root = ROOT
    if words[0].startswith("--from="):
        source_root = stages[words.pop(0).removeprefix("--from=")].root
    *sources, target = words
    # `/` at its end or several sources: a folder that takes them.
    into = Path(stage.folder) / target
    destination = stage.root / str(into).lstrip("/")
    for source in sources:
        path = source_root / source.lstrip("/")
        goal = destination / path.name if target.endswith("/") else destination
        goal.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copy2(path, goal)
            os.chown(goal, 0, 0)
        elif source_root is ROOT:
            _copy_tracked(source, goal)
        else:
            subprocess.run(["cp", "-a", f"{path}/.", goal], check=True)


def _copy_tracked(source: str, goal: Path) -> None:
    """Copy what belongs to the project: deploy/Dockerfile.dockerignore leaves out the rest."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", source],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        path = goal / Path(name).relative_to(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, path)


def _copy_root(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", target], check=True)

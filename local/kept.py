"""Values kept between commands, in a private file of a folder."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

_FOLDER = "folder"


def identity(folder: Path) -> str:
    """Return the folder's place on the disk: a moved folder keeps it, a copy has another."""
    stat = folder.stat()
    return f"{stat.st_dev:x}:{stat.st_ino:x}"


class KeptValues:
    """`settings.json` of `folder`, mode 0600.

    A copy of the folder forgets the ports, because the servers behind them are the original's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "settings.json"

    def read(self) -> dict[str, str]:
        try:
            values: dict[str, str] = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        if values.get(_FOLDER) != identity(self._folder):
            values = {name: v for name, v in values.items() if not name.endswith("port")}
        return values

    def get(self, name: str, make: Callable[[], str]) -> str:
        """Return the value of `name`, which is made at its first use."""
        values = self.read()
        if name not in values:
            values[name] = make()
            self.save({name: values[name]})
        return str(values[name])

    def save(self, changes: Mapping[str, str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        values = {**self.read(), **changes, _FOLDER: identity(self._folder)}
        write_private(self._file, json.dumps(values, indent=1))


def write_private(path: Path, text: str) -> None:
    """Write a file, complete or not at all, that only its owner may read."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    with open(unfinished, "w", opener=open_private) as file:
        file.write(text)
    unfinished.rename(path)


def open_private(path: str, flags: int) -> int:
    """Opener for open(): a new file gets mode 0600."""
    return os.open(path, flags, mode=0o600)

"""What a check has found."""

from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """How bad it is; from WELL on, the exit status that monitoring gets."""

    NOT_LOOKED_AT = -1
    WELL = 0
    LOOK = 1
    BROKEN = 2

    def __str__(self) -> str:
        return {"LOOK": "look at it"}.get(self.name, self.name.lower().replace("_", " "))


@dataclass(frozen=True)
class Finding:
    """One line: `command` mends it, or shows more where nothing can be said to mend it."""

    check: str
    state: State
    text: str
    command: str = ""

    def __str__(self) -> str:
        mended = f"  ->  {self.command}" if self.command else ""
        return f"{self.state!s:<13}  {self.check:<12}  {self.text}{mended}"

"""The runbook explains every message about files that an operator may read."""

import re

import pytest
from order_file_cases import CASES, REFUSED, REJECTED, Case
from support import ROOT

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "reason",
    sorted(
        {
            reason
            for case in CASES
            if case.outcome == REJECTED
            for reason in re.findall(r"line \d+: (\w+)", case.says)
        }
    ),
)
def test_every_reason_is_explained(reason: str) -> None:
    assert re.search(rf"^\|[^|]*`{reason}`", RUNBOOK, re.MULTILINE)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.outcome == REFUSED], ids=lambda case: case.name
)
def test_every_refusal_is_explained(case: Case) -> None:
    """A message of the tables has to match; its ellipses stand for the varying parts."""
    messages = re.findall(r"^\| `([^`]+)`", RUNBOOK, re.MULTILINE)
    patterns = [re.escape(message).replace("…", ".*") for message in messages]
    said = case.says.replace(r"'\t'", "';'")
    assert [pattern for pattern in patterns if re.search(pattern, said)]

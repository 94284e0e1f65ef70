"""What the documents name exists: targets, commands, files."""

import re

import pytest
from support import ROOT

from loaders.__main__ import main

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def found(pattern: str) -> set[tuple[str, str]]:
    """Every match in the documents, with the name of its document."""
    matches = {
        (match, path.name) for path in DOCUMENTS for match in re.findall(pattern, path.read_text())
    }
    assert matches
    return matches


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = found(r"(?:`|^    )make (?:-s )?([a-z-]+)")
    assert {(name, where) for name, where in named if name not in targets} == set()


def test_every_command_of_the_loader_exists() -> None:
    for name, where in found(r"python -m loaders ([a-z]+)"):
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0, f"{name} in {where}"


def test_every_link_leads_to_a_file() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_documents_name_no_path_of_one_machine() -> None:
    for path in DOCUMENTS:
        assert not re.search(r"/(work|root|home)/", path.read_text()), path.name

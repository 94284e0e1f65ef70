"""Targets, commands and files that the documents name exist."""

import re
from importlib import import_module

import pytest
from support import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def found(pattern: str) -> set[tuple[str, str]]:
    """Return every match in the documents, with the name of its document."""
    matches = {
        (match, path.name) for path in DOCUMENTS for match in re.findall(pattern, path.read_text())
    }
    assert matches
    return matches


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = found(r"(?:`|^    )make (?:-s )?([a-z-]+)")
    assert {(name, where) for name, where in named if name not in targets} == set()


@pytest.mark.parametrize("package", ["checks", "loaders", "migrations"])
def test_every_command_of_the_packages_exists(package: str) -> None:
    main = import_module(f"{package}.__main__").main
    for name, where in found(rf"python -m {package} ([a-z]+)"):
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0, f"{name} in {where}"


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    for path in DOCUMENTS:
        for file, heading in re.findall(r"\]\(([^)#:]*)#?([^)]*)\)", path.read_text()):
            target = path.parent / file if file else path
            assert target.exists(), f"{path.name}: {file}"
            headings = re.findall(r"^#+ (.*)", target.read_text(), re.M) if heading else []
            anchors = [re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings]
            assert not heading or heading in anchors, f"{path.name}: {file}#{heading}"


def test_the_documents_name_no_path_of_one_machine() -> None:
    for path in DOCUMENTS:
        assert not re.search(r"/(work|root|home)/", path.read_text()), path.name

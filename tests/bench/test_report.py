"""The page of figures: its tables and its picture agree with the results."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import report
from bench.__main__ import BENCHMARKS
from bench.growth import picture
from bench.measure import Sample
from bench.report import goals, render
from bench.results import FOLDER, Result, load, save


def taken(*seconds: float, cpu: float = 1.0, peak_mb: float | None = None) -> list[Sample]:
    return [Sample(each, cpu, 0.5, peak_mb) for each in seconds]


SAMPLES = {
    "landing": {
        "copy@1000": taken(10, 20, 10),
        "ours@1000": taken(14, 30, 12, peak_mb=80),
        "pandas@1000": taken(300, 900),
        "dlt_append@1000": taken(50, 90),
        "dlt_merge@1000": taken(70, 150),
        "dlt_import@1000": taken(12, 25),
        "copy@10000": taken(100),
        "ours@10000": taken(160, peak_mb=121),
    },
    "dirty": {"clean": taken(10, 10), "dirty": taken(12, 14)},
    "day": {
        "start": taken(4, 5),
        "dbt@10x1000": taken(4.2, 5),
        "hand@10x1000": taken(0.1, 0.1),
        "dbt@1000x1000": taken(4.6, 5.6),
        "hand@1000x1000": taken(0.2, 0.2),
        "dbt@7x500000": taken(20, 30),
        "hand@7x500000": taken(10, 10),
    },
    "backfill": {
        "dbt": taken(110, 100),
        "hand": taken(100, 100),
        "daily@365": taken(5, 6, 7),
    },
    "airflow": {
        "increment": taken(10, 12, cpu=20),
        "peer": taken(8, 8, cpu=9.5),
        "week@7": taken(35, 42),
        "idle": taken(30),
    },
    "run": {"install": taken(20), "run": taken(71, cpu=100)},
    "ci": {"ci": taken(1_100)},
}
RESULTS = {
    name: Result("2026-11-25", "abc", "2 cores", samples) for name, samples in SAMPLES.items()
}
PAGE = "".join(f"text\n\n<!-- {name} -->\nstale\n<!-- end -->\n" for name in ["goals", *SAMPLES])


def test_every_goal_stands_with_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "RUN_CPU_BEFORE", 402)
    rows = [goal.row for goal in goals(RESULTS)]
    assert rows[:3] == [
        r"| landing 1,000 lines | `\copy` of the same file | ≤ 1.5 × | 1.40 (1.20–1.50) ×"
        " | reached |",
        "| memory of landing 1,000 lines | – | ≤ 120 MB | 80.0 MB | reached |",
        "| landing 1,000 lines | pandas | ≥ 25 × faster | 25.7 (21.4–30.0) × faster | reached |",
    ]
    assert [row.split(" | ")[3:] for row in rows[3:]] == [
        ["3.29 (3.00–3.57) × faster", "**missed** |"],
        ["5.00 × faster", "reached |"],
        ["1.60 ×", "**missed** |"],
        ["121 MB", "**missed** |"],
        ["1.30 (1.20–1.40) ×", "reached |"],
        ["1.11 (1.10–1.12) ×", "**missed** |"],
        ["1.00 (0.98–1.02) ×", "reached |"],
        ["1.09 (1.08–1.10) ×", "reached |"],
        ["1.71 (1.43–2.00) ×", "**missed** |"],
        ["1.05 (1.00–1.10) ×", "reached |"],
        ["20.9 (19.9–21.9) × faster", "reached |"],
        ["1.38 (1.25–1.50) ×", "reached |"],
        ["2.05 ×", "**missed** |"],
        ["0.50 ×", "reached |"],
        ["91.0 s", "**missed** |"],
        ["25.0 %", "reached |"],
        ["18.3 min", "reached |"],
    ]


def test_a_table_of_each_benchmark_stands_between_its_marks() -> None:
    page = render(PAGE, RESULTS)
    assert "stale" not in page
    assert page.count("text\n") == len(SAMPLES) + 1
    assert "| clean file | 2 | 10.0 | 1.00 | 0.50 |  |" in page
    assert "2026-11-25, commit abc; 2 cores." in page
    assert render(page, RESULTS) == page


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    page = render(PAGE, load(tmp_path))
    assert page.count("Not measured yet") == len(SAMPLES) + 1


def test_a_mark_that_names_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="landig"):
        render("<!-- landig -->\n<!-- end -->\n", RESULTS)


def test_results_are_kept_as_measured(tmp_path: Path) -> None:
    save(tmp_path / "new", "dirty", SAMPLES["dirty"])
    assert load(tmp_path / "new")["dirty"].samples == SAMPLES["dirty"]


def test_the_picture_draws_both_growths() -> None:
    root = ElementTree.fromstring(picture(SAMPLES))
    names = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"days of history", "10", "1,000", "lines", "10,000", r"psql \copy"} <= set(names)
    curves = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(curves) == 4
    for curve in curves:
        points = [tuple(map(float, point.split(","))) for point in curve.attrib["points"].split()]
        assert len(points) == 2 and points[0][0] < points[1][0]


def test_the_page_is_what_the_results_say() -> None:
    page = report.PAGE.read_text()
    results = load(FOLDER)
    assert render(page, results) == page
    marks = set(re.findall(r"<!-- ([a-z]+) -->", page)) - {"end", "goals"}
    # The figures of the takeover are on another page.
    assert marks == {*BENCHMARKS} - {"takeover"}
    samples = {name: result.samples for name, result in results.items()}
    assert report.PICTURE.read_text() == picture(samples)

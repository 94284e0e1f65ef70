"""Draws the growth curves as SVG: the cost of one day and of one line as the data grow."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from statistics import median

from bench.measure import Sample

WIDTH, HEIGHT = 460, 330
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 64, 48
# Colours of Okabe and Ito, which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")

Samples = Mapping[str, Mapping[str, Sequence[Sample]]]
# The points of a curve: x, then median and extremes of y.
Curve = Sequence[tuple[float, float, float, float]]


def picture(samples: Samples) -> str:
    """Return the SVG of the benchmarks `day` and `landing`, as far as there are results."""
    panels = []
    if day := samples.get("day"):
        start = [sample.seconds for sample in day["start"]]
        sizes = sorted({int(side.split("@")[1].split("x")[0]) for side in day if _of_1000(side)})
        by_hand = [
            [s + hand.seconds for s, hand in zip(start, day[f"hand@{size}x1000"], strict=True)]
            for size in sizes
        ]
        curves = {
            "dbt build, tests included": [
                _point(size, [sample.seconds for sample in day[f"dbt@{size}x1000"]])
                for size in sizes
            ],
            "dbt's start + SQL by hand": [
                _point(size, taken) for size, taken in zip(sizes, by_hand, strict=True)
            ],
        }
        panels.append(_panel("One day of 1,000 lines", "days of history", "seconds", curves))
    if landing := samples.get("landing"):
        curves = {}
        for side, name in (("ours", "the loader"), ("copy", r"psql \copy")):
            sizes = sorted(int(key.split("@")[1]) for key in landing if key.startswith(f"{side}@"))
            curves[name] = [
                _point(
                    size,
                    [sample.seconds * 1e6 / size for sample in landing[f"{side}@{size}"]],
                )
                for size in sizes
            ]
        panels.append(_panel("Landing a file", "lines", "seconds per million lines", curves))
    drawn = "".join(
        f'<g transform="translate({index * WIDTH} 0)">{panel}</g>'
        for index, panel in enumerate(panels)
    )
    width = max(len(panels), 1) * WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}"'
        f' width="{width}" height="{HEIGHT}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>{drawn}</svg>\n'
    )


def _of_1000(side: str) -> bool:
    return side.startswith("dbt@") and side.endswith("x1000")


def _point(size: float, values: Sequence[float]) -> tuple[float, float, float, float]:
    return size, median(values), min(values), max(values)


def _panel(title: str, x_name: str, y_name: str, curves: Mapping[str, Curve]) -> str:
    """One diagram: sizes on a logarithmic scale, seconds from zero."""
    sizes = sorted({point[0] for curve in curves.values() for point in curve})
    top = _ceiling(max(point[3] for curve in curves.values() for point in curve))
    low, high = math.log10(sizes[0]), math.log10(sizes[-1])

    def x(size: float) -> float:
        share = (math.log10(size) - low) / (high - low) if high > low else 0.5
        return LEFT + 20 + share * (WIDTH - LEFT - RIGHT - 40)

    def y(seconds: float) -> float:
        return HEIGHT - BOTTOM - seconds / top * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="18" font-size="14" font-weight="bold">{escape(title)}</text>']
    for step in range(5):
        seconds = top * step / 4
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(seconds):.1f}" y2="{y(seconds):.1f}"'
            f' stroke="#ddd"/><text x="{LEFT - 6}" y="{y(seconds) + 4:.1f}"'
            f' text-anchor="end">{seconds:g}</text>'
        )
    for size in sizes:
        parts.append(
            f'<text x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 18}"'
            f' text-anchor="middle">{size:,.0f}</text>'
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}"'
        f' text-anchor="middle">{escape(x_name)}</text>'
        f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"'
        f' text-anchor="middle">{escape(y_name)}</text>'
    )
    for index, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[index]
        points = " ".join(f"{x(size):.1f},{y(middle):.1f}" for size, middle, _, _ in curve)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for size, middle, least, most in curve:
            parts.append(
                f'<line x1="{x(size):.1f}" x2="{x(size):.1f}" y1="{y(least):.1f}"'
                f' y2="{y(most):.1f}" stroke="{colour}"/>'
                f'<circle cx="{x(size):.1f}" cy="{y(middle):.1f}" r="3.5" fill="{colour}"/>'
            )
        at = LEFT + index * 190
        parts.append(
            f'<circle cx="{at + 4}" cy="38" r="4" fill="{colour}"/>'
            f'<text x="{at + 14}" y="42">{escape(name)}</text>'
        )
    return "".join(parts)


def _ceiling(value: float) -> float:
    """The next round number, so that four steps are round too."""
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 4, 6, 8, 10) if step * unit >= value)

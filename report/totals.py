"""The four figures for browsers that run no scripts; the script computes them itself.

`Marts` -> lines of label and value, in one language.
"""

from collections.abc import Mapping
from typing import Any

from report.marts import Marts

# The page opens with the longest of these that has passed for two first weeks, or else for one.
_FIRST_HORIZONS = (4, 2, 1)


def totals(marts: Marts, texts: Mapping[str, Any], language: str) -> list[tuple[str, str]]:
    """Return label and value of each figure for the whole shop and all weeks shown."""
    weeks, shop = marts.weeks, marts.shop
    complete = [week.delivered_days == 7 for week in weeks]
    known = sum(week.known_days for week in weeks)
    lines = [(texts["dataTo"], weeks[-1].period_id if weeks else texts["noData"])]

    last = max((week for week, whole in enumerate(complete) if whole), default=None)
    if last is None:
        lines.append((texts["tileCustomers"], texts["noCompleteWeek"]))
    else:
        customers = shop.customers[last]
        before = customers - shop.first_customers[last]
        lines += [
            (
                f"{texts['tileCustomers']}, {weeks[last].period_id}",
                _number(customers, language),
            ),
            (texts["tileBefore"], _rate(before, customers, language)),
        ]

    horizon, firsts = first_horizon(marts)
    returned = sum(sum(shop.back[week][:horizon]) for week in firsts)
    cohort = sum(shop.first_customers[week] for week in firsts)
    lines.append((f"{texts['tileBack']} (+{horizon})", _rate(returned, cohort, language)))

    refunded, revenue = sum(shop.refunded), sum(shop.known_revenue)
    amount, part = _number(round(refunded / 100), language), _share(refunded, revenue, language)
    lines.append((texts["tileRefunded"], f"{amount} ({part})" if known else texts["unknown"]))
    return lines


def first_horizon(marts: Marts) -> tuple[int, list[int]]:
    """Return the horizon (in weeks) that the page opens with, and its first weeks."""
    complete = [week.delivered_days == 7 for week in marts.weeks]
    for fewest in (2, 1):
        for horizon in _FIRST_HORIZONS:
            firsts = [
                week
                for week in range(len(complete) - horizon)
                if all(complete[week : week + horizon + 1])
            ]
            if len(firsts) >= fewest:
                return horizon, firsts
    return _FIRST_HORIZONS[-1], []


def _number(value: int, language: str) -> str:
    return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}" if language == "ru" else ",")


def _rate(part: int, whole: int, language: str) -> str:
    return f"{_share(part, whole, language)}, n = {_number(whole, language)}"


def _share(part: int, whole: int, language: str) -> str:
    if not whole:
        return "–"
    text = f"{100 * part / whole:.1f}"
    return text.replace(".", ",") + "\N{NO-BREAK SPACE}%" if language == "ru" else text + "%"

"""The page itself: one HTML file with its figures, style and script inside.

`Marts` -> HTML text -> file. Names from the shop reach the page only as JSON text, which the script
puts into text nodes, and through Jinja's escaping.
"""

import base64
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from report.marts import MOST_ITEMS, MOST_LAGS, MOST_RESTATEMENTS, MOST_WEEKS, Marts, Series
from report.totals import first_horizon, totals

_FOLDER = Path(__file__).parent
# Joined in this order they make one script; the last one draws.
_SCRIPTS = (
    *("figures", "words", "elements"),
    *("head", "weeks", "items", "cohorts", "refunds", "trust"),
    "draw",
)


def render(marts: Marts, made_at: datetime) -> str:
    """Return the page as HTML text.

    `made_at` is shown in its head. The same marts and time give the same text.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined
    )
    style = _text("page.css")
    script = f'"use strict";\n{{\n{"".join(_text(f"script/{name}.js") for name in _SCRIPTS)}}}\n'
    texts = json.loads(_text("texts.json"))
    return environment.get_template("page.html.j2").render(
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        texts=texts,
        texts_json=_json(texts),
        data_json=_json(_data(marts, made_at)),
        totals={language: totals(marts, words, language) for language, words in texts.items()},
    )


def write(content: str, path: Path) -> None:
    """Write the page to `path`, whole or not at all; programs that have the old one open keep it.

    Raises:
        OSError: if the folder cannot be written; the old page is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _data(marts: Marts, made_at: datetime) -> dict[str, Any]:
    return {
        "madeAt": _instant(made_at),
        "loadedAt": _instant(marts.loaded_at),
        "firstDay": marts.first_day and marts.first_day.isoformat(),
        "lastDay": marts.last_day and marts.last_day.isoformat(),
        "deliveredDays": marts.delivered_days,
        "weeks": [
            {
                "id": week.period_id,
                "monday": week.monday.isoformat(),
                "days": week.delivered_days,
                "known": week.known_days,
            }
            for week in marts.weeks
        ],
        "shop": _series(marts.shop),
        "allItems": _series(marts.all_items),
        "items": [
            {"id": item.item_id, "name": item.name, **_series(item.series)} for item in marts.items
        ],
        "itemCount": marts.item_count,
        "weekCount": marts.week_count,
        "horizon": first_horizon(marts)[0],
        "most": {
            "items": MOST_ITEMS,
            "weeks": MOST_WEEKS,
            "lags": MOST_LAGS,
            "restatements": MOST_RESTATEMENTS,
        },
        "deliveries": vars(marts.deliveries),
        "restatements": [
            {
                "at": _instant(line.logged_at),
                "week": line.period_id,
                "itemId": line.item_id,
                "itemName": line.item_name,
                "measure": line.measure,
                "before": _number(line.before),
                "after": _number(line.after),
                "delivery": line.delivery_id,
            }
            for line in marts.restatements
        ],
    }


def _series(series: Series) -> Mapping[str, Any]:
    return {
        "customers": series.customers,
        "first": series.first_customers,
        "revenue": series.revenue,
        "firstRevenue": series.first_revenue,
        "repeat": series.repeat_customers,
        "refunders": series.refunded_customers,
        "knownRevenue": series.known_revenue,
        "refunded": series.refunded,
        "back": series.back,
    }


def _instant(at: datetime | None) -> str | None:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if at else None


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _json(value: Any) -> Markup:
    """Return JSON that cannot end its HTML element, whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")

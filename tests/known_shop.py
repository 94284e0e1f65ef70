"""A shop that remembers its accepted deliveries, so that the right marts are known."""

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from oracle import QUERIES, expected_marts
from support import Deliver, Warehouse, order

WEEK = [f"2024-02-{day}" for day in range(19, 26)]


def lines(day: str, *, seed: int = 0, count: int = 12) -> list[dict[str, object]]:
    """Return some order lines of a day, with refunds; days share customers and items."""
    chance = random.Random(f"{day} {seed}")
    return [
        order(
            f"{day} {seed} {number}",
            day,
            customer_id=chance.randrange(6),
            item_id=chance.randrange(3),
            item_name=f"item of {day} {seed}",
            city_id=chance.randrange(2),
            city_name=f"city of {day}",
            quantity=chance.randrange(1, 5),
            payment_amount=f"{chance.randrange(10_000) / 100:.2f}",
            status=chance.choice(["shipped", "shipped", "refunded"]),
        )
        for number in range(count)
    ]


class KnownShop:
    """Lands deliveries and remembers the lines of each day's last accepted delivery."""

    def __init__(self, warehouse: Warehouse, deliver: Deliver) -> None:
        self.warehouse = warehouse
        self._deliver = deliver
        self.days: dict[date, list[Mapping[str, Any]]] = {}
        self.deliveries: dict[date, tuple[str, int, bool]] = {}
        self._increments: set[date] = set()

    def deliver(
        self, first_day: str, orders: Sequence[Mapping[str, Any]], last_day: str | None = None
    ) -> None:
        """Land a delivery and remember it."""
        self._deliver(first_day, orders, last_day, allow_empty=True)
        self.accepted(first_day, orders, last_day)

    def accepted(
        self, first_day: str, orders: Sequence[Mapping[str, Any]], last_day: str | None = None
    ) -> None:
        """Remember a delivery that something else has landed."""
        first, last = date.fromisoformat(first_day), date.fromisoformat(last_day or first_day)
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        if last_day:
            days = [day for day in days if day not in self._increments]
        else:
            self._increments.add(first)
        for day in days:
            self.days[day] = [
                line for line in orders if date.fromisoformat(line["date_time"][:10]) == day
            ]
        loaded = sum(len(self.days[day]) for day in days)
        kind = "history" if last_day else "increment"
        # The file has the column for all lines if any line has a status.
        refunds_known = any("status" in line for line in orders)
        self.deliveries.update(dict.fromkeys(days, (kind, loaded, refunds_known)))

    def assert_marts_equal_a_fresh_build(self) -> None:
        """Compare every mart with the oracle, row for row."""
        expected = expected_marts(self.days, self.deliveries)
        for name, query in QUERIES.items():
            rows = sorted(self.warehouse.query(query))
            assert rows == [tuple(row) for row in expected[name]], name

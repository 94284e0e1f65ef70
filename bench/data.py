"""Writes files of order lines like the service's: thirteen columns, about 156 bytes a line.

As in the service's files, the lines of a day stand together and in no order. A dirty file repeats
lines, far from each other, and holds rejected lines of every kind. All names are made up here.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from pathlib import Path

from loaders.order_file import MAX_LINE_LENGTH
from shop_api.generated import CITIES, ITEMS

HEADER = (
    "id,uniq_id,date_time,city_id,city_name,customer_id,first_name,last_name"
    ",item_id,item_name,quantity,payment_amount,status"
)
FIRST_DAY = date(2024, 1, 1)

_FIRST_NAMES = ("Аркадий", "Всеволод", "Зинаида", "Тимофей", "Эдуард", "Яна")
_LAST_NAMES = ("Бондаренко", "Долгих", "Мирошник", "Седых", "Шевченко", "Юрченко")
_REFUNDED_SHARE = 0.05
# One over-long line is as long as 400 others. More of them would make it another file.
_MOST_LONG_LINES = 10


@dataclass(frozen=True)
class OrdersFile:
    """A written file, its days, and the numbers that a loader has to find in it."""

    path: Path
    first_day: date
    last_day: date
    lines: int
    repeated: int
    rejected: Counter[str]


def write_orders(
    path: Path,
    days: int,
    lines_a_day: int,
    *,
    first_day: date = FIRST_DAY,
    repeated_share: float = 0,
    rejected_share: float = 0,
    seed: int = 1,
) -> OrdersFile:
    """Write a file of `days` times `lines_a_day` order lines; about 10 million in 20 s.

    Args:
        repeated_share, rejected_share: 0 to 1, of all lines.
    """
    rng = random.Random(seed)
    customers = _customers(min(20 * lines_a_day, 200_000))
    kinds = _kinds()
    lines = repeated = 0
    rejected: Counter[str] = Counter()
    with path.open("wb") as file:
        file.write(f"{HEADER}\n".encode())
        for day in (first_day + timedelta(days=index) for index in range(days)):
            spoiled = round((lines + lines_a_day) * rejected_share) - rejected.total()
            again = round(lines_a_day * repeated_share)
            bodies = _bodies(rng, day, lines_a_day - spoiled - again, customers)
            bodies += rng.choices(bodies, k=again)
            rng.shuffle(bodies)
            texts = [f"{lines + index},{body}".encode() for index, body in enumerate(bodies, 1)]
            for index, (reason, spoil) in enumerate(islice(kinds, spoiled), 1):
                # After the first line of the day, which a line in conflict contradicts.
                place = index * len(bodies) // (spoiled + 1)
                texts[place] += b"\n" + spoil(f"0,{bodies[0]}".split(","))
                rejected[reason] += 1
            file.write(b"\n".join(texts) + b"\n")
            lines += lines_a_day
            repeated += again
    last_day = first_day + timedelta(days=days - 1)
    return OrdersFile(path, first_day, last_day, lines, repeated, rejected)


def _bodies(rng: random.Random, day: date, number: int, customers: list[str]) -> list[str]:
    """Return order lines of a day without their `id`, each with a different uniq_id."""
    uniq_ids = rng.randbytes(16 * number).hex()
    sold = [
        f"{item_id},{item_name},{quantity},{quantity * price},{status}"
        for status, share in (("shipped", 1 - _REFUNDED_SHARE), ("refunded", _REFUNDED_SHARE))
        for _ in range(round(share * 20))
        for item_id, (item_name, price) in enumerate(ITEMS)
        for quantity in range(1, 6)
    ]
    return [
        f"{uniq_ids[32 * index : 32 * index + 32]},{day}T00:00:00,{customer},{item}"
        for index, (customer, item) in enumerate(
            zip(rng.choices(customers, k=number), rng.choices(sold, k=number), strict=True)
        )
    ]


def _customers(number: int) -> list[str]:
    return [
        f"{city_id},{CITIES[city_id]},{1000 + index}"
        f",{_FIRST_NAMES[index % 6]},{_LAST_NAMES[index // 6 % 6]}"
        for index in range(number)
        for city_id in [index % len(CITIES)]
    ]


def _kinds() -> Iterator[tuple[str, Callable[[list[str]], bytes]]]:
    """Yield ways to spoil a line's fields, in turn, each with the loader's reason."""
    kinds = dict(_SPOILED)
    turn = 0
    while True:
        turn += 1
        if turn > _MOST_LONG_LINES:
            kinds.pop("line_too_long", None)
        yield from kinds.items()


def _with(column: str, value: str) -> Callable[[list[str]], bytes]:
    position = HEADER.split(",").index(column)

    def spoil(fields: list[str]) -> bytes:
        return ",".join([*fields[:position], value, *fields[position + 1 :]]).encode()

    return spoil


_SPOILED: dict[str, Callable[[list[str]], bytes]] = {
    "column_count": lambda fields: ",".join(fields[:-1]).encode(),
    "nul_byte": _with("item_name", "a\0b"),
    "not_utf8": lambda fields: ",".join(fields).encode("cp1251"),
    "line_too_long": _with("item_name", "a" * MAX_LINE_LENGTH),
    "quoting": _with("item_name", '"a'),
    "date_time": _with("date_time", "25.02.2024"),
    "outside_calendar": _with("date_time", "2050-01-01T00:00:00"),
    "outside_delivery": _with("date_time", "2049-12-31T00:00:00"),
    "uniq_id": _with("uniq_id", "a" * 33),
    "city_id": _with("city_id", "-1"),
    "city_name": _with("city_name", "a" * 101),
    "customer_id": _with("customer_id", "NULL"),
    "first_name": _with("first_name", "a" * 101),
    "last_name": _with("last_name", "a" * 101),
    "item_id": _with("item_id", "2147483648"),
    "item_name": _with("item_name", "a" * 101),
    "quantity": _with("quantity", "0"),
    "payment_amount": _with("payment_amount", "1e5"),
    "status": _with("status", "returned"),
    "conflict": _with("quantity", "6"),
}

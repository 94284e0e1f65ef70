"""Generates made-up orders with the properties that were measured in real deliveries.

By default the orders of a day depend only on the seed and the day: in every report, as history or
as increment, a day holds the same lines (except for the status, which a history does not tell).
With `fresh_orders` they depend on the report too, as at the real service.

Names, products, cities and prices are made up; no row is copied from a delivery.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from shop_api.ids import Task
from shop_api.window import Window

DEFAULT_SEED = 1
DEFAULT_ORDERS_PER_DAY = 200
# At most this many distinct lines a day, which is far below the 360,000 possible ones.
MOST_ORDERS_PER_DAY = 5_000

CITIES = ("Казань", "Самара", "Вологда")

# Name and unit price; the position is the item id. One name is longer than the 50 characters of the
# first warehouse's column, and one surname is longer than its 15.
ITEMS = (
    ("Кефир 1%", 90),
    ("Кефир 3%", 110),
    ("Творог 5%", 160),
    ("Набор кастрюль из нержавеющей стали для большой семьи", 2500),
    ("Соль поваренная", 30),
    ("Груша садовая", 180),
    ("Огурцы", 70),
    ("Порошок стиральный", 350),
    ("Батарейка AA", 60),
    ("Карандаш простой", 15),
    ("Хлеб пшеничный", 40),
    ("Чай черный", 220),
)

# As at the service, a customer's id decides the name: first name, last name, woman, namesake.
# Two of the four digits take 10 values, the third 2 and the last 10: 2,000 customers.
_FIRST_NAMES = (
    ("Андрей", "Вера"),
    ("Борис", "Галина"),
    ("Виктор", "Дарья"),
    ("Григорий", "Ирина"),
    ("Дмитрий", "Ксения"),
    ("Илья", "Лариса"),
    ("Кирилл", "Марина"),
    ("Михаил", "Наталья"),
    ("Николай", "Полина"),
    ("Юрий", "Татьяна"),
)
_LAST_NAMES = (
    ("Белов", "Белова"),
    ("Громов", "Громова"),
    ("Зайцев", "Зайцева"),
    ("Ильин", "Ильина"),
    ("Комаров", "Комарова"),
    ("Новорождественский", "Новорождественская"),
    ("Рябов", "Рябова"),
    ("Тихонов", "Тихонова"),
    ("Фомин", "Фомина"),
    ("Чернов", "Чернова"),
)

_MOST_QUANTITY = 5
_REFUND_SHARE = 0.05

# Even a small shop needs customers who order the same item again within an ISO week: a few regulars
# of the week make this share of the random lines.
_REGULAR_SHARE = 0.08

# Items differ in how often customers come back for them in later weeks; the position is the item
# id. Each item wins this many followers a day. They order it once, and then each week with this
# chance.
_FOLLOWING_CHANCES = (0.45, 0.75, 0.3, 0.02, 0.1, 0.2, 0.4, 0.15, 0.05, 0.0, 0.55, 0.35)
_FOLLOWING_WEEKS = 8
_FOLLOWERS_PER_ORDERS = 1 / 50

# Rows of a day in a file, including repetitions, and the bounds of the repeated share.
_FEWEST_ROWS, _MOST_ROWS = 800, 1190
_LEAST_REPEATED, _MOST_REPEATED = 0.50, 0.90

_ORDER_COLUMNS = (
    "id,uniq_id,date_time,city_id,city_name,customer_id,first_name,last_name,"
    "item_id,item_name,quantity,payment_amount"
)
_ACTIVITY_COLUMNS = "id,uniq_id,date_time,action_id,customer_id,quantity"
_RESEARCH_COLUMNS = "date_id,category_id,geo_id,sales_qty,sales_amt"

_ACTIVITIES_PER_DAY = 11
_RESEARCH_UNIT_AMOUNT = 1012


@dataclass(frozen=True)
class _OrderLine:
    uniq_id: str
    day: date
    city_id: int
    customer_id: int
    item_id: int
    quantity: int
    refunded: bool

    def text(self, with_status: bool) -> str:
        """Return the line as in a file, without its `id`."""
        first_name, last_name = _customer_name(self.customer_id)
        item_name, price = ITEMS[self.item_id]
        text = (
            f"{self.uniq_id},{self.day}T00:00:00,{self.city_id},{CITIES[self.city_id]},"
            f"{self.customer_id},{first_name},{last_name},{self.item_id},{item_name},"
            f"{self.quantity},{self.quantity * price}"
        )
        if with_status:
            text += ",refunded" if self.refunded else ",shipped"
        return text


@dataclass(frozen=True)
class GeneratedSource:
    """Deliveries drawn from a seed.

    `orders_per_day`: distinct order lines of an average day; a day has 75 to 125 % of them, and
    none at all with 0. `newline` ends the lines of every file.
    """

    seed: int = DEFAULT_SEED
    orders_per_day: int = DEFAULT_ORDERS_PER_DAY
    fresh_orders: bool = False
    newline: str = "\n"

    def __post_init__(self) -> None:
        if not 0 <= self.orders_per_day <= MOST_ORDERS_PER_DAY:
            raise ValueError(
                f"orders_per_day is {self.orders_per_day}, allowed: 0 to {MOST_ORDERS_PER_DAY}"
            )

    def increment_refusal(self, task: Task, day: date) -> str | None:
        """Return None: every day of the window can be generated."""
        return None

    def report_file(self, task: Task, name: str) -> bytes | None:
        """Return a file under the report's id, or None if there is none of that name."""
        days = Window(task.generated).history_days()
        match name:
            case "user_order_log.csv":
                return self._orders(task, days, with_status=False)
            case "user_activity_log.csv":
                return self._activities(task, days)
            case "customer_research.csv":
                return self._research(task, days)
            case "price_log.csv" | "price_log_inc.csv":
                return self._prices()
            case _:
                return None

    def increment_file(self, task: Task, day: date, name: str) -> bytes | None:
        """Return a file under the increment's id, or None; prices are under the report's id."""
        match name:
            case "user_order_log_inc.csv":
                with_status = day != Window(task.generated).first_increment
                return self._orders(task, [day], with_status)
            case "user_activity_log_inc.csv":
                return self._activities(task, [day])
            case "customer_research_inc.csv":
                return self._research(task, [day])
            case _:
                return None

    def _orders(self, task: Task, days: list[date], with_status: bool) -> bytes:
        header = _ORDER_COLUMNS + (",status" if with_status else "")
        rows = itertools.chain.from_iterable(self._day_rows(task, day, with_status) for day in days)
        return self._csv(header, (f"{number},{row}" for number, row in enumerate(rows, start=1)))

    def _day_rows(self, task: Task, day: date, with_status: bool) -> Iterator[str]:
        """Yield the rows of a day without their `id`: distinct ones, then some of them again."""
        lines = [line.text(with_status) for line in self._day_lines(task, day)]
        rng = self._rng(task, "repetitions", day)
        row_count = min(
            max(
                _FEWEST_ROWS + _draw(rng, _MOST_ROWS - _FEWEST_ROWS + 1),
                int(len(lines) / (1 - _LEAST_REPEATED)),
            ),
            int(len(lines) / (1 - _MOST_REPEATED)),
        )
        tail = lines[_draw(rng, len(lines)) :]
        yield from lines
        yield from itertools.islice(itertools.cycle(tail), row_count - len(lines))

    def _day_lines(self, task: Task, day: date) -> list[_OrderLine]:
        """Return the distinct order lines of a day; any two differ in more than `uniq_id`."""
        rng = self._rng(task, "orders", day)
        regulars = self._week_regulars(task, day)
        quarter = self.orders_per_day // 4
        count = self.orders_per_day - quarter + _draw(rng, 2 * quarter + 1)
        following = self._followers(task, day)
        lines: list[_OrderLine] = []
        # Two lines must not differ in status alone: in files without it they would be equal.
        seen: set[tuple[int, int, int, int]] = set()
        while len(lines) < count:
            if len(lines) % 2 and following:
                customer_id, item_id = following.pop()
            elif rng.random() < _REGULAR_SHARE:
                customer_id, item_id = regulars[_draw(rng, len(regulars))]
            else:
                customer_id, item_id = _draw_customer(rng), _draw(rng, len(ITEMS))
            city_id = _draw(rng, len(CITIES))
            quantity = 1 + _draw(rng, _MOST_QUANTITY)
            refunded = rng.random() < _REFUND_SHARE
            facts = (city_id, customer_id, item_id, quantity)
            if facts in seen:
                continue
            seen.add(facts)
            uniq_id = self._uniq_id(task, "order", day, len(lines))
            lines.append(_OrderLine(uniq_id, day, *facts, refunded))
        return lines

    def _followers(self, task: Task, day: date) -> list[tuple[int, int]]:
        """Return the followers of all items who order on `day`, each with the item, shuffled.

        A follower orders on one weekday only, so at most once a week.
        """
        rng = self._rng(task, "following", day)
        count = int(self.orders_per_day * _FOLLOWERS_PER_ORDERS)
        ordering = []
        for weeks_ago, (item_id, chance) in itertools.product(
            range(_FOLLOWING_WEEKS + 1), enumerate(_FOLLOWING_CHANCES)
        ):
            won = self._rng(task, "followers", day - timedelta(weeks=weeks_ago), item_id)
            for customer_id in [_draw_customer(won) for _ in range(count)]:
                if weeks_ago == 0 or rng.random() < chance:
                    ordering.append((customer_id, item_id))
        # Shuffled, so that followers who do not fit into the day are not all of one item.
        return [pair for _, pair in sorted((rng.random(), pair) for pair in ordering)]

    def _week_regulars(self, task: Task, day: date) -> list[tuple[int, int]]:
        """Return customers of the ISO week of `day`, each with the item they come back for."""
        year, week, _ = day.isocalendar()
        rng = self._rng(task, "regulars", f"{year}-W{week:02d}")
        count = 1 + self.orders_per_day // 10
        return [(_draw_customer(rng), _draw(rng, len(ITEMS))) for _ in range(count)]

    def _activities(self, task: Task, days: list[date]) -> bytes:
        rows: list[str] = []
        for day in days:
            rng = self._rng(task, "activities", day)
            for number in range(_ACTIVITIES_PER_DAY):
                uniq_id = self._uniq_id(task, "activity", day, number)
                action_id, customer_id, quantity = _draw(rng, 4), _draw(rng, 1000), _draw(rng, 24)
                rows.append(
                    f"{len(rows) + 1},{uniq_id},{day}T00:00:00,"
                    f"{action_id},{customer_id},{quantity + 1}"
                )
        return self._csv(_ACTIVITY_COLUMNS, rows)

    def _research(self, task: Task, days: list[date]) -> bytes:
        rows: list[str] = []
        for day in days:
            rng = self._rng(task, "research", day)
            for category_id, geo_id in itertools.product(range(1001, 1011), range(1, 4)):
                quantity = _draw(rng, 10)
                amount = quantity * _RESEARCH_UNIT_AMOUNT
                rows.append(f"{day}T00:00:00,{category_id},{geo_id},{quantity},{amount}")
        return self._csv(_RESEARCH_COLUMNS, rows)

    def _prices(self) -> bytes:
        # The one file without a header.
        (first_name, first_price), *others = ITEMS
        return self._csv(
            f"{first_name},{first_price}", (f"{name},{price}" for name, price in others)
        )

    def _csv(self, first: str, rest: Iterator[str] | list[str]) -> bytes:
        return "".join(line + self.newline for line in itertools.chain([first], rest)).encode()

    def _key(self, task: Task, *parts: object) -> str:
        """Return the key of a draw: the seed, the report if orders are fresh, and `parts`."""
        origin = task.report_id if self.fresh_orders else "any report"
        return "\t".join(str(part) for part in (self.seed, origin, *parts))

    def _rng(self, task: Task, *parts: object) -> random.Random:
        return random.Random(self._key(task, *parts))

    def _uniq_id(self, task: Task, *parts: object) -> str:
        key = self._key(task, *parts).encode()
        return hashlib.blake2b(key, digest_size=16).hexdigest()


def _draw(rng: random.Random, count: int) -> int:
    """Return a number from 0 to count-1. Only random() gives the same in every Python version."""
    return int(rng.random() * count)


def _draw_customer(rng: random.Random) -> int:
    first_and_last, woman, namesake = _draw(rng, 100), _draw(rng, 2), _draw(rng, 10)
    return first_and_last * 100 + woman * 10 + namesake


def _customer_name(customer_id: int) -> tuple[str, str]:
    first, last, woman = customer_id // 1000, customer_id // 100 % 10, customer_id // 10 % 10
    return _FIRST_NAMES[first][woman], _LAST_NAMES[last][woman]

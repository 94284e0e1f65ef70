"""Random deliveries, runs, repeats and kills, in random order, against the oracle."""

import string
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from known_shop import KnownShop
from support import Dbt, Warehouse, database, deliverer, order

from loaders.errors import DeliveryRefused
from local.postgres import EmbeddedPostgres

pytestmark = pytest.mark.faults

# Divided into this many tests, so that several processes share them.
SEQUENCES, SHARDS = 40, 8
# Across the turn of an ISO year, of a month and of two weeks.
FIRST_DAY = date(2024, 12, 27)
DAYS = [str(FIRST_DAY + timedelta(days=number)) for number in range(6)]

day_numbers = st.integers(0, len(DAYS) - 1)


@st.composite
def order_lines(draw: st.DrawFn, day: str) -> dict[str, Any]:
    return order(
        draw(st.sampled_from(string.ascii_lowercase)),
        draw(st.sampled_from([day, f"{day}T00:00:01", f"{day}T23:59:59.999999"])),
        item_id=draw(st.integers(0, 2)),
        item_name=draw(st.sampled_from(["Кефир", "Соль, крупная", 'Чай "Утро"'])),
        customer_id=draw(st.integers(0, 3)),
        city_id=draw(st.integers(0, 1)),
        city_name=draw(st.sampled_from(["Казань", "Самара"])),
        quantity=draw(st.integers(1, 9)),
        payment_amount=draw(st.sampled_from(["0", "0.01", "90", "1234.5"])),
        status=draw(st.sampled_from(["shipped", "refunded", " Refunded", ""])),
    )


def files(*days: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Draw order lines of these days; a uniq_id occurs once a day."""
    return st.tuples(
        *(
            st.lists(order_lines(day), max_size=5, unique_by=lambda line: line["uniq_id"])
            for day in days
        )
    ).map(lambda lists: [line for lines in lists for line in lines])


increments = day_numbers.flatmap(
    lambda day: st.tuples(st.just("increment"), st.just(day), files(DAYS[day]))
)
histories = st.tuples(day_numbers, day_numbers).flatmap(
    lambda ends: st.tuples(
        st.just("history"),
        st.just((min(ends), max(ends))),
        files(*DAYS[min(ends) : max(ends) + 1]),
    )
)
runs = st.tuples(day_numbers, day_numbers).map(lambda ends: ("run", min(ends), max(ends)))
# A run that dies between its facts, or a load before its commit, has the effect of a kill there.
deaths = st.tuples(
    st.just("death"), day_numbers, st.sampled_from(["d_item", "f_sales", "f_customer_retention"])
)
lost_loads = day_numbers.flatmap(
    lambda day: st.tuples(st.just("lost load"), st.just(day), files(DAYS[day]))
)
empty_files = day_numbers.map(lambda day: ("empty file", day))
sequences = st.lists(
    st.one_of(
        *(increments, increments, histories, st.just(("again",)), empty_files),
        *(runs, deaths, lost_loads),
    ),
    min_size=3,
    max_size=8,
)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("orders")


@pytest.mark.parametrize("shard", range(SHARDS))
def test_any_sequence_ends_in_the_fresh_build(
    server: EmbeddedPostgres,
    template: str,
    orders: Path,
    dbt_parsed: Dbt,
    shard: int,
    record_property: Callable[[str, object], None],
) -> None:
    tried: Counter[str] = Counter()

    # The seed gives each shard other sequences, which are the same in every run.
    @seed(shard)
    @settings(
        max_examples=SEQUENCES // SHARDS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    @given(sequence=sequences, last_runs=st.permutations([(0, 1), (2, 3), (4, 5)]))
    def attempt(sequence: list[tuple[Any, ...]], last_runs: list[tuple[int, int]]) -> None:
        with database(server, template) as warehouse:
            shop = KnownShop(warehouse, deliverer(orders))
            delivered = None
            for step in sequence:
                if step == ("again",):
                    step = delivered or ("run", 0, 5)
                elif step[0] in ("increment", "history"):
                    delivered = step
                take(step, shop, dbt_parsed)
            # Every day is run again, in any order, whatever was left unfinished.
            for first, last in last_runs:
                dbt_parsed.run(ds_start=DAYS[first], ds_end=DAYS[last])
            shop.assert_marts_equal_a_fresh_build()
            unbalanced = "select count(*) from staging.delivery where received != loaded + repeated"
            assert warehouse.value(unbalanced) == 0
        tried["random sequences"] += 1
        tried["steps in random sequences"] += len(sequence)

    attempt()
    assert tried["random sequences"] >= SEQUENCES // SHARDS
    record_property("tried", dict(tried))


def take(step: tuple[Any, ...], shop: KnownShop, dbt: Dbt) -> None:
    match step:
        case ("increment", day, lines):
            shop.deliver(DAYS[day], lines)
        case ("history", (first, last), lines):
            shop.deliver(DAYS[first], lines, DAYS[last])
        case ("empty file", day):
            # The file is not marked as meant to be empty.
            if shop.days.get(date.fromisoformat(DAYS[day])):
                with pytest.raises(DeliveryRefused, match="would empty"):
                    shop._deliver(DAYS[day], [])
            else:
                shop.deliver(DAYS[day], [])
        case ("run", first, last):
            dbt.run(ds_start=DAYS[first], ds_end=DAYS[last])
        case ("death", day, model):
            with dying(shop.warehouse, f"mart.{model}"):
                dbt.invoke("run", ds=DAYS[day])
        case ("lost load", day, lines):
            table = "staging.delivery_day"
            with dying(shop.warehouse, table), pytest.raises(Exception, match="died"):
                KnownShop(shop.warehouse, shop._deliver).deliver(DAYS[day], lines)


class dying:
    """Let every transaction that writes to the table fail at its commit."""

    def __init__(self, warehouse: Warehouse, table: str) -> None:
        self._warehouse, self._table = warehouse, table

    def __enter__(self) -> None:
        self._warehouse.query(
            "create or replace function die() returns trigger language plpgsql as"
            " $$ begin raise 'died'; end $$"
        )
        self._warehouse.query(
            f"create constraint trigger die after insert or update or delete on {self._table}"
            " deferrable initially deferred for each row execute function die()"
        )

    def __exit__(self, *_: object) -> None:
        self._warehouse.query(f"drop trigger die on {self._table}")

"""The SQL by hand makes the same marts as dbt, whatever is delivered."""

from datetime import date

from known_shop import lines
from support import Dbt, Deliver, Warehouse, order

from bench.measure import Server
from bench.models import by_hand, differences, hand_tables
from local.postgres import EmbeddedPostgres

DAYS = ["2024-02-19", "2024-02-25", "2024-02-26"]


def test_the_marts_are_those_of_dbt(
    server: EmbeddedPostgres, warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    bench, database = Server(server), warehouse.env["PGDATABASE"]
    bench.program(hand_tables(bench), database)

    def build(first: str, last: str | None = None) -> None:
        window = (date.fromisoformat(first), date.fromisoformat(last or first))
        dbt.run(ds_start=first, ds_end=last or first)
        bench.program(by_hand(bench, *window), database)
        assert differences(bench, database) == []

    for day in DAYS:
        deliver(day, lines(day, count=30))
    # One item is bought on one day only; another has a new name on the last day.
    deliver(
        DAYS[1], [*lines(DAYS[1]), order("once", DAYS[1], customer_id=77, city_id=7, item_id=7)]
    )
    build(DAYS[0], DAYS[-1])
    assert warehouse.value("select count(*) from hand.f_sales") == 73
    deliver(DAYS[2], [order("renamed", DAYS[2], item_id=2, item_name="renamed", first_name="Ия")])
    build(DAYS[2])
    # The customer, the city and the item of that day disappear with it.
    deliver(DAYS[1], lines(DAYS[1], seed=1))
    build(DAYS[1])
    assert warehouse.query("select * from hand.d_customer where customer_id = 77") == []
    # The names that the emptied day gave come from an earlier day now.
    deliver(DAYS[2], [], allow_empty=True)
    build(DAYS[2])
    build(DAYS[0])


def test_a_mart_that_differs_is_named(
    server: EmbeddedPostgres, warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    bench, database = Server(server), warehouse.env["PGDATABASE"]
    bench.program(hand_tables(bench), database)
    deliver(DAYS[0], lines(DAYS[0]))
    dbt.run(ds=DAYS[0])
    bench.program(by_hand(bench, *[date.fromisoformat(DAYS[0])] * 2), database)
    assert differences(bench, database) == []
    warehouse.query("update hand.d_city set city_name = 'another' where city_id = 1")
    assert differences(bench, database) == ["d_city"]

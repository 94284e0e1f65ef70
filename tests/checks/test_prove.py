"""`make prove` on warehouses that keep the promise, and on warehouses that do not."""

import re
from pathlib import Path

import pytest
from known_shop import WEEK, KnownShop, lines
from support import Dbt, Warehouse, run_command

from checks.dbt import marts
from checks.prove import SCRATCH, ProofError, prove
from loaders.errors import LoaderError

pytestmark = pytest.mark.faults


@pytest.fixture
def week(shop: KnownShop, dbt: Dbt) -> KnownShop:
    shop.deliver(WEEK[0], [*lines(WEEK[0]), *lines(WEEK[1])], WEEK[1])
    for day in WEEK[2:5]:
        shop.deliver(day, lines(day))
    dbt.run()
    return shop


def schemas(shop: KnownShop) -> int:
    found: int = shop.warehouse.value(
        "select count(*) from pg_namespace where nspname = %s", (SCRATCH,)
    )
    return found


def test_a_warehouse_that_keeps_the_promise(
    week: KnownShop, dbt_target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = week.warehouse.marts()
    assert prove()
    said = capsys.readouterr().out
    assert "The marts and a fresh build are identical" in said
    assert said.count("nothing changed") == 3
    proved = re.findall(r"mart\.(\w+), [0-9,]+ rows +identical", said)
    assert sorted(proved) == sorted(mart.name for mart in marts() if mart.key)
    assert "DIFFERS" not in said
    assert week.warehouse.marts() == before
    assert schemas(week) == 0
    assert "mart.restatement_log" not in said
    # The DAGs are made from the manifest, so it must not name the scratch schema.
    assert SCRATCH not in (dbt_target / "manifest.json").read_text()


def test_days_that_were_loaded_and_not_built_are_named(shop: KnownShop, dbt: Dbt) -> None:
    shop.deliver(WEEK[0], [*lines(WEEK[0]), *lines(WEEK[1])], WEEK[1])
    shop.deliver(WEEK[2], lines(WEEK[2]))
    shop.deliver(WEEK[4], lines(WEEK[4]))
    with pytest.raises(ProofError) as refused:
        prove()
    assert str(refused.value) == (
        "Loaded and not built into the marts yet; build these days, then prove again:\n"
        "  2024-02-19 to 2024-02-21: dbt run --vars"
        " '{ds_start: 2024-02-19, ds_end: 2024-02-21}'\n"
        "  2024-02-23: dbt run --vars '{ds: 2024-02-23}'"
    )
    dbt.run(ds_start=WEEK[0], ds_end=WEEK[4])
    # Loaded again: with other lines, with none, and with the same, which changes nothing.
    shop.deliver(WEEK[0], lines(WEEK[0], seed=1))
    shop.deliver(WEEK[2], [])
    shop.deliver(WEEK[4], lines(WEEK[4]))
    with pytest.raises(ProofError, match=r"again:\n  2024-02-19: .*\n  2024-02-21: .*'$"):
        prove()


def test_a_warehouse_that_is_not_prepared(empty_database: Warehouse) -> None:
    with pytest.raises(LoaderError, match="make warehouse"):
        prove()
    run_command("alembic", "upgrade", "head")
    empty_database.query(
        "insert into staging.user_order_log"
        " values ('a', '2024-02-19', 1, '', 1, '', '', 1, '', 1, 1)"
    )
    with pytest.raises(ProofError, match=r"no table mart\.f_sales: `make warehouse` creates it"):
        prove()


def test_a_warehouse_whose_marts_were_tampered_with(
    week: KnownShop, capsys: pytest.CaptureFixture[str]
) -> None:
    for sale in ("2024-02-19 0 0", "2024-02-23 0 0"):
        week.warehouse.query(
            "update mart.f_sales set quantity = quantity + 1 where uniq_id = %s", (sale,)
        )
    week.warehouse.query("insert into mart.d_city values (77, 'nowhere')")
    assert not prove(days=1)
    said = capsys.readouterr().out
    # The proof has run the last day again.
    assert "days again, one after the other    changed d_city, f_sales" in said
    assert "mart.f_sales, 60 rows              DIFFERS" in said
    assert said.count("only in") == 2
    assert "The marts and a fresh build are NOT identical" in said
    assert schemas(week) == 0


def test_a_warehouse_whose_staging_was_tampered_with(
    week: KnownShop, capsys: pytest.CaptureFixture[str]
) -> None:
    move = "update staging.user_order_log set date_time = %s where uniq_id = %s"
    week.warehouse.query(move, ("2024-02-18", "2024-02-19 0 0"))
    week.warehouse.query(move, ("2024-02-22", "2024-02-21 0 0"))
    assert not prove(days=1)
    said = capsys.readouterr().out
    for sentence in (
        "2024-02-19 to 2024-02-20: delivery 1 loaded 24 lines, staging holds 23",
        "2024-02-21: delivery 2 loaded 12 lines, staging holds 11",
        "2024-02-22: delivery 3 loaded 12 lines, staging holds 13",
        "2024-02-18: staging holds order lines that no delivery has brought",
    ):
        assert sentence in said
    assert "The marts and a fresh build are NOT identical" in said


def test_a_schema_of_somebody_else_is_not_touched(week: KnownShop) -> None:
    week.warehouse.query(f"create schema {SCRATCH}")
    with pytest.raises(ProofError, match="that no proof has made: rename it"):
        prove()
    assert schemas(week) == 1


def test_nothing_to_prove(shop: KnownShop) -> None:
    with pytest.raises(ProofError, match="nothing to prove yet"):
        prove()

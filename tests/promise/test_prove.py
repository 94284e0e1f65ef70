"""`make prove` on warehouses that keep the promise, and on such that do not."""

import os

import pytest
from promise import Shop
from support import ROOT, Dbt
from test_sequences import WEEK, lines

from local.prove import SCRATCH, ProofError, prove

pytestmark = pytest.mark.faults


@pytest.fixture
def week(shop: Shop, dbt: Dbt) -> Shop:
    for day in WEEK[:5]:
        shop.deliver(day, lines(day))
    dbt.run()
    return shop


def schemas(shop: Shop) -> int:
    found: int = shop.warehouse.value(
        "select count(*) from pg_namespace where nspname = %s", (SCRATCH,)
    )
    return found


def test_a_warehouse_that_keeps_the_promise(week: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    before = week.warehouse.marts()
    assert prove(os.environ)
    said = capsys.readouterr().out
    assert "The marts and a fresh build are identical" in said
    assert said.count("nothing changed") == 3
    assert said.count("rows") == 6 and "DIFFERS" not in said
    assert week.warehouse.marts() == before
    assert schemas(week) == 0
    # The DAGs are drawn from it: it must not speak of the scratch.
    assert SCRATCH not in (ROOT / "dbt_project" / "target" / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("tampering", "verdict"),
    [
        (
            "update mart.f_sales set quantity = quantity + 1 where date_id = 20240219"
            " and uniq_id = '2024-02-19 0 0'",
            "mart.f_sales, 60 rows              DIFFERS",
        ),
        (
            "update mart.f_sales set quantity = quantity + 1 where date_id = 20240223"
            " and uniq_id = '2024-02-23 0 0'",
            "days again, one after the other    changed f_sales",
        ),
        ("insert into mart.d_city values (77, 'nowhere')", "one after the other    changed d_city"),
        (
            "delete from staging.user_order_log where uniq_id = '2024-02-19 0 0'",
            "2024-02-19: delivery 1 loaded 12 lines, staging holds 11",
        ),
        (
            "update staging.user_order_log set date_time = '2024-02-18'"
            " where uniq_id = '2024-02-19 0 0'",
            "2024-02-18: staging holds order lines that no delivery has brought",
        ),
    ],
)
def test_a_warehouse_that_was_tampered_with(
    week: Shop, capsys: pytest.CaptureFixture[str], tampering: str, verdict: str
) -> None:
    week.warehouse.query(tampering)
    assert not prove(os.environ, days=1)
    said = capsys.readouterr().out
    assert verdict in said
    assert "The marts and a fresh build are NOT identical" in said
    assert schemas(week) == 0


def test_a_schema_of_somebody_else_is_not_touched(week: Shop) -> None:
    week.warehouse.query(f"create schema {SCRATCH}")
    with pytest.raises(ProofError, match="that no proof has made: rename it"):
        prove(os.environ)
    assert schemas(week) == 1


def test_nothing_to_prove(shop: Shop) -> None:
    with pytest.raises(ProofError, match="nothing to prove yet"):
        prove(os.environ)

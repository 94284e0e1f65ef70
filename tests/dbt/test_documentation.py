"""The descriptions in dbt and in the database, and the SQL of docs/data_model.md."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from known_shop import WEEK, KnownShop, lines
from support import ROOT, Dbt, Deliver, Warehouse, database, deliverer, order, run_command

from local.postgres import EmbeddedPostgres

COMMENTS = """
    select relname, attname, col_description(attrelid, attnum)
    from pg_attribute inner join pg_class on pg_class.oid = attrelid
    where relnamespace = 'mart'::regnamespace and relkind = 'r' and attnum > 0
        and not attisdropped
"""


SECTIONS = re.split(r"^## ", (ROOT / "docs" / "data_model.md").read_text(), flags=re.M)
# A query stands between backquotes on one line, or in a block of its own.
QUERY = r"`(select [^`]+)`|```sql\n(.+?)```"
QUERIES = [
    (section.splitlines()[0], query)
    for section in SECTIONS
    for query in re.findall(QUERY, section, re.S)
]


def documented(question: str) -> str:
    """Return the query that answers this question in docs/data_model.md."""
    (found,) = re.findall(rf"{re.escape(question)}\*\s+(?:{QUERY})", "## ".join(SECTIONS), re.S)
    return "".join(found)


@pytest.fixture
def manifest(dbt_parsed: Dbt, dbt_target: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((dbt_target / "manifest.json").read_text())
    return read


def models(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


def test_every_table_and_column_is_described(manifest: dict[str, Any]) -> None:
    files = {path.stem for path in ROOT.glob("dbt_project/models/**/*.sql")}
    assert {model["name"] for model in models(manifest)} == files
    described = [*models(manifest), *manifest["sources"].values()]
    for table in described:
        assert table["description"].strip(), table["name"]
        assert table["columns"], table["name"]
        for column in table["columns"].values():
            assert column["description"].strip(), f"{table['name']}.{column['name']}"


def test_the_sources_are_the_tables_of_staging(
    warehouse: Warehouse, manifest: dict[str, Any]
) -> None:
    there: dict[str, set[str]] = {}
    for table, column in warehouse.query(
        "select relname, attname from pg_attribute inner join pg_class on pg_class.oid = attrelid"
        " where relnamespace = 'staging'::regnamespace and relkind = 'r' and attnum > 0"
        " and not attisdropped and relname != 'alembic_version'"
    ):
        there.setdefault(table, set()).add(column)
    declared = {table["name"]: set(table["columns"]) for table in manifest["sources"].values()}
    assert declared == there


def test_the_database_tells_the_same(warehouse: Warehouse, manifest: dict[str, Any]) -> None:
    comments = {(table, column): text for table, column, text in warehouse.query(COMMENTS)}
    marts = [model for model in models(manifest) if model["config"]["materialized"] != "ephemeral"]
    assert comments == {
        (mart["name"], column["name"]): column["description"].strip()
        for mart in marts
        for column in mart["columns"].values()
    }
    for mart in marts:
        told = warehouse.value(
            "select obj_description(%s::regclass, 'pg_class')", (f"mart.{mart['name']}",)
        )
        assert told == mart["description"].strip()


def test_only_a_description_that_differs_is_written(warehouse: Warehouse, dbt: Dbt) -> None:
    descriptions = "select xmin::text, objoid, objsubid, description from pg_description"
    before = set(warehouse.query(descriptions))
    warehouse.query("comment on column mart.d_city.city_name is 'Something else.'")
    warehouse.query("comment on table mart.d_city is null")
    dbt.run("--select", "d_city", ds="2024-02-25")
    changed = before ^ set(warehouse.query(descriptions))
    city = warehouse.value("select 'mart.d_city'::regclass::oid")
    # Each description before and after, with the same words.
    assert {(number, column) for _, number, column, _ in changed} == {(city, 0), (city, 2)}
    assert len(changed) == 4 and len({text for *_, text in changed}) == 2


def test_freshness_passes_and_fails_rightly(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    def status() -> str:
        done = dbt.invoke("source", "freshness")
        return " ".join(str(result.status) for result in done.result)

    assert status() == "error", "nothing was delivered yet"
    deliver("2024-02-25", [order("a", "2024-02-25")])
    assert status() == "pass"
    warehouse.query("update staging.delivery set finished_at = now() - interval '31 hours'")
    assert status() == "warn"
    warehouse.query("update staging.delivery set finished_at = now() - interval '55 hours'")
    # A refused delivery does not count.
    warehouse.query(
        "insert into staging.delivery overriding system value"
        " select (jsonb_populate_record(delivery, jsonb_build_object("
        "'delivery_id', 99, 'outcome', 'refused', 'refusal', 'no', 'finished_at', now()))).*"
        " from staging.delivery"
    )
    assert status() == "error"


def test_the_documentation_is_one_page_of_our_own(warehouse: Warehouse, dbt_target: Path) -> None:
    run_command("dbt", "--quiet", "docs", "generate", "--static")
    page = (dbt_target / "static_index.html").read_text()
    assert "Which items bring customers back, and what refunds cost." in page
    assert "exposure.retail_retention.report" in page


def test_the_share_of_revenue_from_customers_who_came_back_counts_each_customer_once(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    first, second = "2024-02-18", "2024-02-19"  # the end of one week, the start of the next
    deliver(first, [order("a", first, customer_id=1, item_id=1, payment_amount=100)])
    deliver(
        second,
        [
            # One customer came back, for another item; the other is new and orders one item twice.
            order("b", second, customer_id=1, item_id=2, payment_amount=30),
            order("c", second, customer_id=2, item_id=1, payment_amount=35),
            order("d", second, customer_id=2, item_id=1, payment_amount=35),
        ],
    )
    dbt.run()
    came_back = documented(
        "What share of a week's revenue is from customers who came back, having first ordered in an"
        " earlier week?"
    )
    assert dict(warehouse.query(came_back)) == {"2024-W07": 0, "2024-W08": Decimal("0.3")}
    more_than_once = documented(
        "What share of an item's revenue in a week is from customers who ordered it more than once"
        " in that week?"
    )
    assert sorted(warehouse.query(more_than_once)) == [
        ("2024-W07", 1, 0),
        ("2024-W08", 1, 1),
        ("2024-W08", 2, 0),
    ]


@pytest.fixture(scope="module")
def built(
    server: EmbeddedPostgres,
    template: str,
    dbt_parsed: Dbt,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Warehouse]:
    with database(server, template) as warehouse:
        shop = KnownShop(warehouse, deliverer(tmp_path_factory.mktemp("orders")))
        for day in WEEK:
            shop.deliver(day, lines(day))
        dbt_parsed.run()
        yield warehouse


@pytest.mark.parametrize(("section", "query"), QUERIES)
def test_a_query_of_the_data_model_runs(
    built: Warehouse, section: str, query: tuple[str, str]
) -> None:
    built.query("".join(query))


def test_every_mart_has_two_questions(manifest: dict[str, Any]) -> None:
    for mart in models(manifest):
        if mart["config"]["materialized"] != "ephemeral":
            asked = [query for _, query in QUERIES if re.search(mart["name"], "".join(query))]
            assert len(asked) >= 2, mart["name"]

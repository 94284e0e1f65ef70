"""The marts against the rules of docs/data_model.md, delivery by delivery.

dbt's unit tests have the rules of single models; here real deliveries go through all of them.
"""

from datetime import date
from pathlib import Path

import pytest
from samples import (
    DIMENSION_SIZES,
    FEBRUARY_2024,
    RETENTION_BY_PERIOD,
    SALES_TOTALS,
    SAMPLES,
    needs_samples,
)
from support import Dbt, Deliver, Warehouse, order, run_command

from checks.dbt import marts

SALES = (
    "select date_id, uniq_id, quantity, payment_amount::text, refund_flag"
    " from mart.f_sales order by 1, 2"
)
RETENTION = """
    select period_id, item_id, new_customers_count, returning_customers_count,
        refunded_customer_count, new_customers_revenue::int, returning_customers_revenue::int,
        customers_refunded::int
    from mart.f_customer_retention order by 1, 2
"""


def test_a_refund_is_negative_in_the_mart_and_positive_in_staging(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    deliver(
        "2024-02-25",
        [order("a", "2024-02-25"), order("b", "2024-02-25", status="refunded", quantity=1)],
    )
    dbt.run(ds="2024-02-25")
    assert warehouse.query(SALES) == [
        (20240225, "a", 2, "180.00", False),
        (20240225, "b", -1, "-180.00", True),
    ]
    assert warehouse.value("select min(payment_amount) from staging.user_order_log") > 0


def test_a_file_without_status_counts_as_shipped(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    deliver("2024-02-25", [order("a", "2024-02-25")])
    dbt.run(ds="2024-02-25")
    assert warehouse.query(SALES) == [(20240225, "a", 2, "180.00", False)]
    assert warehouse.value("select status from staging.user_order_log") == "shipped"


@pytest.mark.parametrize(
    ("day", "week"),
    [("2024-12-30", "2025-W01-1"), ("2021-01-01", "2020-W53-5"), ("2024-02-25", "2024-W08-7")],
)
def test_a_week_belongs_to_its_iso_year(warehouse: Warehouse, day: str, week: str) -> None:
    of_day = "select week_of_year_iso from mart.d_calendar where date_actual = %s"
    assert warehouse.value(of_day, (day,)) == week


def test_a_run_without_window_builds_all_of_staging(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    deliver("2024-02-25", [order("a", "2024-02-25")])
    deliver("2023-07-01", [order("b", "2023-07-01")])
    dbt.run()
    assert len(warehouse.query(SALES)) == 2
    warehouse.query("delete from staging.user_order_log where uniq_id = 'b'")
    dbt.run()
    assert warehouse.query(SALES) == [(20240225, "a", 2, "180.00", False)]
    assert warehouse.query(RETENTION) == [("2024-W08", 1, 1, 0, 0, 180, 0, 0)]


def test_a_run_changes_nothing_outside_its_window(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    deliver("2024-02-02", [order("a", "2024-02-02"), order("b", "2024-02-09")], "2024-02-09")
    dbt.run(ds_start="2024-02-02", ds_end="2024-02-08")
    assert [row[1] for row in warehouse.query(SALES)] == ["a"]
    dbt.run(ds="2024-02-09")
    assert [row[1] for row in warehouse.query(SALES)] == ["a", "b"]


def test_an_emptied_day_is_empty_in_the_marts(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    deliver("2024-02-25", [order("a", "2024-02-25")])
    dbt.run(ds="2024-02-25")
    deliver("2024-02-25", [], allow_empty=True)
    dbt.run(ds="2024-02-25")
    assert {table: rows for table, rows in warehouse.marts().items() if rows} == {}


def test_an_empty_run_wipes_nothing(warehouse: Warehouse, dbt: Dbt, deliver: Deliver) -> None:
    deliver("2024-02-25", [order("a", "2024-02-25")])
    dbt.run()
    before = warehouse.marts()
    dbt.run("--empty")
    assert warehouse.marts() == before


def test_a_full_refresh_keeps_the_foreign_keys(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    keys = (
        "select count(*) from pg_constraint"
        " where contype = 'f' and conrelid::regclass::text like 'mart.%'"
    )
    declared = sum(len(mart.references) for mart in marts())
    deliver("2024-02-25", [order("a", "2024-02-25")])
    dbt.run()
    assert warehouse.value(keys) == declared > 0
    before = warehouse.marts()
    # Only dimensions: rebuilding the facts as well would make their keys again.
    dbt.run("--full-refresh", "--select", "d_calendar", "d_item")
    assert warehouse.value(keys) == declared
    dbt.run("--full-refresh")
    assert warehouse.value(keys) == declared
    assert warehouse.marts() == before


def test_monthly_periods_are_there_on_request_only(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    names = "select period_name, period_id from mart.f_customer_retention order by 1"
    deliver("2024-02-25", [order("a", "2024-02-25")])
    dbt.run(ds="2024-02-25", retention_periods=["weekly", "monthly"])
    assert warehouse.query(names) == [("monthly", "2024-02"), ("weekly", "2024-W08")]
    dbt.run()
    assert warehouse.query(names) == [("weekly", "2024-W08")]


def test_a_day_replaces_its_whole_week_and_month(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    periods = ["weekly", "monthly"]
    # The ends of months, weeks and a year, and days next to them.
    days = ["2023-12-31", "2024-01-01", "2024-01-31", "2024-02-01", "2024-02-29", "2024-03-01"]
    for day in reversed(days):
        deliver(day, [order(day, day)])
        dbt.run(ds=day, retention_periods=periods)
    by_day = sorted(warehouse.query("select * from mart.f_customer_retention"))
    dbt.run(retention_periods=periods)
    assert sorted(warehouse.query("select * from mart.f_customer_retention")) == by_day
    months = "select period_id, returning_customers_count from mart.f_customer_retention"
    assert sorted(warehouse.query(f"{months} where period_name = 'monthly'")) == [
        ("2023-12", 0),
        ("2024-01", 1),
        ("2024-02", 1),
        ("2024-03", 0),
    ]


@pytest.mark.parametrize("days", [["2024-02-24", "2024-02-25"], ["2024-02-25", "2024-02-24"]])
def test_dimensions_hold_the_latest_order_line_whatever_came_first(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver, days: list[str]
) -> None:
    for day in days:
        deliver(
            day,
            [
                order("a", day, city_id=1, item_name=f"a {day}"),
                order("b", day, city_id=2, item_name=f"b {day}", city_name="Самара"),
            ],
        )
        dbt.run(ds=day)
    latest = date(2024, 2, 25)
    assert warehouse.query("select * from mart.d_item") == [(1, "b 2024-02-25", latest)]
    assert warehouse.query("select * from mart.d_customer") == [(100, "Вера", "Орлова", 2, latest)]
    assert len(warehouse.query("select * from mart.d_city")) == 2


def test_names_longer_than_the_old_columns_fit(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver
) -> None:
    names = {name: name[0] * 100 for name in ("city_name", "first_name", "last_name", "item_name")}
    deliver("2024-02-25", [order("a", "2024-02-25", **names)])
    dbt.run(ds="2024-02-25")
    assert warehouse.value("select item_name from mart.d_item") == names["item_name"]


def test_the_calendar_spans_its_years_with_the_columns_of_old(warehouse: Warehouse) -> None:
    calendar = "select min(date_id), max(date_id), count(*) from mart.d_calendar"
    assert warehouse.query(calendar) == [(19700101, 20491231, 29220)]
    leap_day = warehouse.value(
        "select row_to_json(d) from mart.d_calendar as d where date_actual = '2024-02-29'"
    )
    assert leap_day == {
        "date_id": 20240229,
        "date_actual": "2024-02-29",
        "epoch": 1709164800,
        "day_suffix": "29th",
        "day_name": "Thursday",
        "day_of_week": 4,
        "day_of_month": 29,
        "day_of_quarter": 60,
        "day_of_year": 60,
        "week_of_month": 5,
        "week_of_year": 9,
        "week_of_year_iso": "2024-W09-4",
        "month_actual": 2,
        "month_name": "February",
        "month_name_abbreviated": "Feb",
        "quarter_actual": 1,
        "quarter_name": "First",
        "year_actual": 2024,
        "first_day_of_week": "2024-02-26",
        "last_day_of_week": "2024-03-03",
        "first_day_of_month": "2024-02-01",
        "last_day_of_month": "2024-02-29",
        "first_day_of_quarter": "2024-01-01",
        "last_day_of_quarter": "2024-03-31",
        "first_day_of_year": "2024-01-01",
        "last_day_of_year": "2024-12-31",
        "mmyyyy": "022024",
        "mmddyyyy": "02292024  ",
        "weekend_indr": False,
    }


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ds": "2024-02-30"}, "ds is '2024-02-30': expected a day"),
        ({"ds": "1969-12-31"}, "expected a day from 1970-01-01 to 2049-12-31"),
        ({"ds": "None"}, "ds is 'None'"),
        ({"ds": ""}, "ds is ''"),
        ({"ds": "2024-02-25'; drop table mart.f_sales; --"}, "expected a day"),
        ({"ds": "2024-02-25", "ds_end": "2024-02-26"}, "either ds, or ds_start and ds_end"),
        ({"ds_start": "2024-02-25"}, "either ds, or ds_start and ds_end"),
        ({"ds_start": "2024-02-26", "ds_end": "2024-02-25"}, "2024-02-26 is after ds_end"),
        ({"retention_periods": ["daily"]}, "holds 'daily': expected weekly or monthly"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused_in_a_sentence(
    dbt: Dbt, variables: dict[str, object], message: str
) -> None:
    done = dbt.invoke("run", **variables)
    assert not done.success
    said = str(done.exception) + "".join(str(result.message) for result in done.result or [])
    assert message in said


@pytest.mark.parametrize(
    ("environment", "variables", "days"),
    [
        (("2024-02-25", "2024-02-25"), {}, ["25"]),
        (("2024-02-24", "2024-02-25"), {}, ["24", "25"]),
        # Variables of the call take precedence over the environment.
        (("2024-02-24", "2024-02-25"), {"ds": "2024-02-26"}, ["26"]),
        (("", ""), {}, ["24", "25", "26"]),
    ],
)
def test_the_window_may_come_from_the_environment(
    warehouse: Warehouse,
    dbt: Dbt,
    deliver: Deliver,
    monkeypatch: pytest.MonkeyPatch,
    environment: tuple[str, str],
    variables: dict[str, object],
    days: list[str],
) -> None:
    for day in ("24", "25", "26"):
        deliver(f"2024-02-{day}", [order(day, f"2024-02-{day}")])
    monkeypatch.setenv("SALES_WINDOW_START", environment[0])
    monkeypatch.setenv("SALES_WINDOW_END", environment[1])
    dbt.run(**variables)
    assert [row[1] for row in warehouse.query(SALES)] == days


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2024-02-25", "", "SALES_WINDOW_END is ''"),
        ("", "2024-02-25", "SALES_WINDOW_START is ''"),
        ("2024-02-30", "2024-03-01", "SALES_WINDOW_START is '2024-02-30': expected a day"),
        ("2024-02-26", "2024-02-25", "SALES_WINDOW_START 2024-02-26 is after SALES_WINDOW_END"),
    ],
)
def test_a_window_of_the_environment_that_makes_no_sense_is_refused(
    dbt: Dbt, monkeypatch: pytest.MonkeyPatch, first: str, last: str, message: str
) -> None:
    monkeypatch.setenv("SALES_WINDOW_START", first)
    monkeypatch.setenv("SALES_WINDOW_END", last)
    done = dbt.invoke("run", "--select", "f_sales")
    assert not done.success
    assert message in str([result.message for result in done.result])


def test_another_day_in_the_environment_does_not_parse_the_project_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = ("--target-path", str(tmp_path), "--log-path", str(tmp_path))
    for day in ("2024-02-25", "2024-02-26"):
        monkeypatch.setenv("SALES_WINDOW_START", day)
        monkeypatch.setenv("SALES_WINDOW_END", day)
        said = run_command("dbt", "--debug", "run", "--select", "d_item", *paths).stdout
    assert "no changes found, skipping parsing" in said


@needs_samples
@pytest.mark.parametrize("history_first", [True, False])
def test_real_deliveries_give_the_numbers_computed_by_hand(
    warehouse: Warehouse, dbt: Dbt, deliver: Deliver, history_first: bool
) -> None:
    def history() -> None:
        path = SAMPLES / "report_2024-03-03__user_order_log.csv"
        assert deliver("2024-02-02", path, "2024-02-24").counts.received == 22525
        dbt.run(ds_start="2024-02-02", ds_end="2024-02-24")

    def increment() -> None:
        path = SAMPLES / "increment_2024-02-25__user_order_log_inc.csv"
        assert deliver("2024-02-25", path).counts.received == 1091
        dbt.run(ds="2024-02-25")

    for step in (history, increment) if history_first else (increment, history):
        step()
    for question, answer in FEBRUARY_2024.items():
        assert warehouse.query(question) == answer

    dbt.run("--select", "f_customer_retention", retention_periods=["monthly"])
    assert warehouse.query(RETENTION_BY_PERIOD) == [
        ("2024-02", 4252, 493, 0, 2145420, 575255, 0, 12)
    ]


@needs_samples
def test_a_real_delivery_with_refunds(warehouse: Warehouse, dbt: Dbt, deliver: Deliver) -> None:
    deliver("2022-12-05", SAMPLES / "increment_2022-12-05__user_order_log_inc.csv")
    dbt.run(ds="2022-12-05")
    assert warehouse.query(SALES_TOTALS) == [(130, 6, 361, 56475)]
    assert warehouse.query(RETENTION_BY_PERIOD) == [("2022-W49", 124, 0, 5, 58865, 0, 6, 12)]
    assert warehouse.query(DIMENSION_SIZES) == [(12, 3, 126)]

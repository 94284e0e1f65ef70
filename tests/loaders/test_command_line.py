"""`python -m loaders history` and `increment`, against the service on a real socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest
from samples import FEBRUARY_2024, SAMPLES, needs_samples
from support import Dbt, Warehouse, order, write_orders

from loaders.__main__ import main
from loaders.deliveries import Delivery
from loaders.errors import TerminalError
from migrations.__main__ import main as migrations
from shop_api.recorded import RecordedSource
from shop_api.server import serve
from shop_api.shop import Shop

KEY = "5f55e6c0-e9e5-4a9c-b313-63c01fc31460"
HISTORY = ["history"]
INCREMENT = ["increment", "--date", "2024-02-25"]
STATE = """
    select (select count(*) from staging.user_order_log), (select count(*) from staging.delivery)
"""


@contextmanager
def service(folder: Path) -> Iterator[None]:
    shop = Shop(RecordedSource(folder), today=date(2024, 3, 3), api_key=KEY, running_seconds=0)
    with serve(shop) as url, pytest.MonkeyPatch.context() as patch:
        for name, value in (("URL", url), ("KEY", KEY), ("NICKNAME", "local"), ("COHORT", "1")):
            patch.setenv(f"REPORT_API_{name}", value)
        yield


@pytest.fixture
def recorded(warehouse: Warehouse, tmp_path: Path) -> Iterator[Path]:
    """The folder of the deliveries that the service serves: a history of 23 days, an increment."""
    history = [order(f"{day}", f"2024-02-{day:02}") for day in range(2, 25)]
    write_orders(tmp_path / "report_2024-03-03__user_order_log.csv", history)
    write_orders(increment_of(tmp_path), [order("a", "2024-02-25", status="refunded")])
    with service(tmp_path):
        yield tmp_path


def increment_of(folder: Path) -> Path:
    return folder / "increment_2024-02-25__user_order_log_inc.csv"


def test_history_and_increment_are_loaded_and_told(
    warehouse: Warehouse, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, state in ((HISTORY, (23, 1)), (INCREMENT, (24, 2))):
        before = warehouse.query(STATE)
        assert main([*arguments, "--dry-run"]) == 0
        assert ": would be loaded\nreceived " in capsys.readouterr().out
        assert warehouse.query(STATE) == before
        assert main(arguments) == 0
        assert ": loaded\nreceived " in capsys.readouterr().out
        assert warehouse.query(STATE) == [state]
    assert main(["increment", "--date", "2024-02-26"]) == 1
    assert "error: no increment for 2024-02-26: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [HISTORY, INCREMENT], ids=["history", "increment"])
def test_a_day_is_emptied_only_when_that_is_asked_for(
    warehouse: Warehouse,
    recorded: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    assert main(arguments) == 0
    for path in recorded.iterdir():
        write_orders(path, [])
    before = warehouse.query("select * from staging.user_order_log order by date_time")
    assert main(arguments) == 1
    assert "--allow-empty" in capsys.readouterr().err
    assert warehouse.query("select * from staging.user_order_log order by date_time") == before
    assert main([*arguments, "--allow-empty"]) == 0
    assert warehouse.query(STATE) == [(0, 3)]


@pytest.mark.parametrize(
    "text",
    ["20240225", "2024-W08-7", "2024-2-25", "2024-02-30", "2024-02-25 ", "２０２４-02-25", ""],
)
def test_a_day_has_one_form(capsys: pytest.CaptureFixture[str], text: str) -> None:
    for command, arguments in (
        (main, ["increment", f"--date={text}"]),
        (migrations, ["takeover", "--plan", "--rebuild", text]),
    ):
        with pytest.raises(SystemExit):
            command(arguments)
        assert f"{text!r} is not a day like 2024-02-25" in capsys.readouterr().err
    delivery = Delivery("history", "r", None, date(2024, 2, 24), date(2024, 2, 25), "address")
    assert Delivery.from_json(delivery.as_json()) == delivery
    with pytest.raises(TerminalError, match="is not a day like 2024-02-25"):
        Delivery.from_json({**delivery.as_json(), "last_day": text})


@needs_samples
def test_real_deliveries_make_the_marts_that_were_computed_by_hand(
    warehouse: Warehouse, dbt: Dbt
) -> None:
    with service(SAMPLES):
        for arguments in (INCREMENT, HISTORY):
            assert main(arguments) == 0
            dbt.run()
    assert {question: warehouse.query(question) for question in FEBRUARY_2024} == FEBRUARY_2024

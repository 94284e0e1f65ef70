"""Rejected lines: listed, exported, and judged again after a fix, any number of times."""

import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support import Deliver, Warehouse, order

from loaders import order_file, quarantine
from loaders.__main__ import main
from loaders.errors import DeliveryRefused

DAY = "2024-02-25"
LEDGER = "select received, loaded, repeated, rejected from staging.delivery where delivery_id = %s"
OPEN = (
    "select line_number, reason from staging.quarantine"
    " where delivery_id = %s and replayed_at is null order by 1"
)
LINES = "select uniq_id::text, quantity from staging.user_order_log order by date_time, uniq_id"

Run = Callable[..., str]


@pytest.fixture
def run(warehouse: Warehouse, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a `quarantine` command; return its output, or its error output if it fails."""

    def run(*arguments: Any, fails: bool = False) -> str:
        code = main(["quarantine", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert (code, bool(err)) == ((1, True) if fails else (0, False)), out + err
        balance = "select every(received = loaded + repeated + rejected) from staging.delivery"
        assert warehouse.value(balance) in (True, None)
        differences = """
            select delivery_id from staging.delivery
            where rejected <> (
                select count(*) from staging.quarantine
                where quarantine.delivery_id = delivery.delivery_id and replayed_at is null
            )
        """
        assert warehouse.query(differences) == []
        return err if fails else out

    return run


def state(warehouse: Warehouse) -> list[list[tuple[Any, ...]]]:
    tables = ("user_order_log", "delivery", "delivery_day", "quarantine")
    return [
        sorted(warehouse.query(f"select t.*::text from staging.{table} as t")) for table in tables
    ]


def plain(number: int = 40) -> list[dict[str, Any]]:
    return [order(f"plain {index:02}", DAY) for index in range(number)]


def correct(path: Path, **replacements: str) -> None:
    """Edit an exported file like an operator: `line_2="old -> new"`."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        old, _, new = replacements.get(f"line_{line['line_number']}", "").partition(" -> ")
        line["raw_line"] = line["raw_line"].replace(old, new) if old else line["raw_line"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)


def test_list_groups_by_delivery_and_reason(
    warehouse: Warehouse, deliver: Deliver, run: Run
) -> None:
    assert run("list") == "nothing is rejected\n"
    deliver("2024-02-24", [order("a", "2024-02-24")])
    deliver(DAY, [order("a", DAY, status="lost"), *plain()])
    deliver(DAY, [*plain(60), order("a", DAY, quantity=0), order("b", DAY, quantity=0)])
    refused = [order("a", DAY, status="lost"), order("b", DAY, status="?")]
    with pytest.raises(DeliveryRefused):
        deliver(DAY, refused)
    assert run("list") == (
        "delivery 4 (increment 2024-02-25): refused: 2 of 2 lines rejected, more than 5%"
        " (MAX_REJECTED_SHARE); the first is line 2 (status)\n"
        "  status: 2 lines, the first is line 2\n"
        "delivery 3 (increment 2024-02-25): current\n"
        "  quantity: 2 lines, the first is line 62\n"
        "delivery 2 (increment 2024-02-25): replaced by a later delivery\n"
        "  status: 1 lines, the first is line 2\n"
    )
    assert run("list", "--delivery", 3).splitlines()[0].startswith("delivery 3 ")


def test_list_says_what_has_been_mended_by_a_later_delivery(deliver: Deliver, run: Run) -> None:
    def refuse(*delivery: Any) -> str:
        with pytest.raises(DeliveryRefused):
            deliver(*delivery)
        return run("list").splitlines()[0]

    wrong = [order("a", DAY, status="lost")]
    again = "its days delivered again since"
    assert again not in refuse("2024-02-24", wrong, DAY)
    deliver("2024-02-24", [order("a", "2024-02-24")])
    assert again not in run("list"), "one of two days is not enough"
    deliver(DAY, plain())
    assert again in run("list")
    # An earlier increment: no history replaces it, but another increment would.
    assert again in refuse("2024-02-24", [order("a", "2024-02-30")], DAY)
    assert again not in refuse(DAY, wrong)


def test_show_writes_the_raw_lines_as_csv(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    name = 'Кефир, "Наш" 🥛'
    deliver(
        DAY, [*plain(), order("a", DAY, item_name=name, quantity=0), order("b", DAY, city_id="x")]
    )
    raw = f'41,a,{DAY}T00:00:00,1,Казань,100,Вера,Орлова,1,"Кефир, ""Наш"" 🥛",0,180'
    expected = [
        {"delivery_id": "1", "line_number": "42", "reason": "quantity", "raw_line": raw},
    ]
    shown = run("show", "--delivery", 1, "--reason", "quantity")
    assert list(csv.DictReader(shown.splitlines())) == expected
    output = tmp_path / "rejected.csv"
    assert run("show", "--delivery", 1, "--output", output) == ""
    assert output.read_text(encoding="utf-8").startswith(shown)
    assert len(output.read_text(encoding="utf-8").splitlines()) == 3
    assert "cannot be written" in run("show", "--delivery", 1, "--output", tmp_path, fails=True)


def test_a_relaxed_rule_brings_lines_back_once(
    warehouse: Warehouse, deliver: Deliver, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        *plain(),
        order("a", DAY, status="returned", quantity=7),
        order("plain 01", DAY, status="returned"),
    ]
    deliver(DAY, lines)
    before = state(warehouse)
    assert "replayed 2 = loaded 0 + repeated 0 + still rejected 2" in run("replay", "--delivery", 1)
    assert state(warehouse) == before

    monkeypatch.setattr(
        order_file.Status,
        "judge",
        lambda _, text: text.strip().replace("returned", "shipped") or "shipped",
    )
    assert run("replay", "--delivery", 1) == (
        "delivery 1 (increment 2024-02-25):"
        " replayed 2 = loaded 1 + repeated 1 + still rejected 0\n"
        "now rebuild the marts: dbt run --vars '{ds: 2024-02-25}'\n"
    )
    assert warehouse.query(LEDGER, (1,)) == [(42, 41, 1, 0)]
    assert warehouse.value("select quantity from staging.user_order_log where uniq_id = 'a'") == 7
    assert warehouse.query("select quantity, payment_amount from staging.delivery") == [
        (87, 41 * 180)
    ]
    assert warehouse.query(
        "select line_number, replayed_as, corrected_line from staging.quarantine order by 1"
    ) == [(42, "loaded", None), (43, "repeated", None)]

    after = state(warehouse)
    assert "replayed 0 = loaded 0 + repeated 0 + still rejected 0" in run("replay", "--delivery", 1)
    assert state(warehouse) == after


def test_corrected_lines_are_loaded_once(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    lines = [
        order("plain 00", DAY, quantity=-9),  # line 2: corrected, but unlike staging
        order("b", DAY, payment_amount="1e5"),  # line 3: corrected
        order("c", DAY, payment_amount="1e5"),  # line 4: left as it is
        *plain(80),
    ]
    deliver(DAY, lines)
    path = tmp_path / "rejected.csv"
    run("show", "--delivery", 1, "--output", path)
    correct(path, line_2=",-9, -> ,9,", line_3="1e5 -> 100")
    corrected = run("replay", "--delivery", 1, "--lines", path)
    assert corrected == (
        "delivery 1 (increment 2024-02-25):"
        " replayed 3 = loaded 1 + repeated 0 + still rejected 2\n"
        "still rejected by reason: conflict 1, payment_amount 1\n"
        "now rebuild the marts: dbt run --vars '{ds: 2024-02-25}'\n"
    )
    assert warehouse.query(LEDGER, (1,)) == [(83, 81, 0, 2)]
    assert warehouse.query(OPEN, (1,)) == [(2, "quantity"), (4, "payment_amount")]
    ((raw_line, corrected_line),) = warehouse.query(
        "select raw_line, corrected_line from staging.quarantine where line_number = 3"
    )
    assert raw_line.replace("1e5", "100") == corrected_line

    after = state(warehouse)
    assert "replayed 2 = loaded 0" in run("replay", "--delivery", 1, "--lines", path)
    assert state(warehouse) == after


def test_two_replays_at_once_load_a_line_once(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    deliver(DAY, [*[order(f"key {n}", DAY, quantity=0) for n in range(4)], *plain(80)])
    path = tmp_path / "rejected.csv"
    run("show", "--delivery", 1, "--output", path)
    correct(path, **{f"line_{number}": ",0, -> ,3," for number in range(2, 6)})
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: quarantine.replay(1, path), range(4)))
    run("list")  # checks the balance
    assert warehouse.query(LEDGER, (1,)) == [(84, 84, 0, 0)]
    assert len(warehouse.query(LINES)) == 84


def test_bytes_that_became_escapes_are_not_what_was_delivered(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "orders.csv"
    good = [f"{n},plain {n},{DAY},1,Казань,1,Вера,Орлова,1,Кефир,1,1" for n in range(80)]
    header = ",".join(("id", *order_file.REQUIRED_COLUMNS))
    bad = [f"1,{n},{DAY},1,Казань,1,Вера,Орлова,1,КефирX,1,1" for n in "abc"]
    file = "\n".join([header, *bad, *good]).encode().split(b"X")
    path.write_bytes(file[0] + b"\xff" + file[1] + b"\0" + file[2] + b"a" * 2**16 + file[3])
    deliver(DAY, path)
    rejected = [(2, "not_utf8"), (3, "nul_byte"), (4, "line_too_long")]
    assert warehouse.query(OPEN, (1,)) == rejected
    export = tmp_path / "rejected.csv"
    run("show", "--delivery", 1, "--output", export)
    for options in ((), ("--lines", export)):
        assert "loaded 0 + repeated 0 + still rejected 3" in run(
            "replay", "--delivery", 1, *options
        )
        assert warehouse.query(OPEN, (1,)) == rejected

    correct(export, line_2=r"\xff -> !")
    assert "loaded 1 + repeated 0 + still rejected 2" in run(
        "replay", "--delivery", 1, "--lines", export
    )
    assert warehouse.value("select item_name from staging.user_order_log where uniq_id = 'a'") == (
        "Кефир!"
    )


def test_the_longest_line_of_escapes_can_be_exported_and_read_again(
    deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "delivery.csv"
    path.write_bytes(f"{','.join(order_file.REQUIRED_COLUMNS)}\n".encode() + b"\xff" * 65_000)
    deliver(DAY, path, max_rejected_share=1)
    run("show", "--delivery", 1, "--output", tmp_path / "rejected.csv")
    assert "still rejected 1" in run(
        "replay", "--delivery", 1, "--lines", tmp_path / "rejected.csv"
    )


def test_a_replay_does_not_bring_what_the_marts_cannot_hold(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    most = [order(f"most {n}", DAY, payment_amount="99999999.99") for n in range(3)]
    bad = order("a", DAY, payment_amount="99999999.990")
    deliver(DAY, [bad, *most, *[order(f"{n}", DAY, item_id=2) for n in range(40)]])
    path = tmp_path / "rejected.csv"
    run("show", "--delivery", 1, "--output", path)
    correct(path, line_2="99999999.990 -> 99999999.99")
    before = state(warehouse)
    said = run("replay", "--delivery", 1, "--lines", path, fails=True)
    assert "the lines of item 1 on 2024-02-25 total 399,999,999.96, more than" in said
    assert state(warehouse) == before
    run("show", "--delivery", 1, "--output", path)
    correct(path, line_2="99999999.990 -> 1.99")
    assert "loaded 1" in run("replay", "--delivery", 1, "--lines", path)


def test_lines_of_a_day_that_another_delivery_holds_stay_away(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    history = [
        order("a", "2024-02-23", quantity=0),
        order("b", DAY, quantity=0),
        *[order(f"{n}", "2024-02-24") for n in range(40)],
    ]
    deliver("2024-02-23", history, DAY)
    deliver(DAY, [order("increment", DAY)])
    path = tmp_path / "rejected.csv"
    run("show", "--delivery", 1, "--output", path)
    correct(path, line_2=",0, -> ,3,", line_3=",0, -> ,3,")
    assert run("replay", "--delivery", 1, "--lines", path) == (
        "delivery 1 (history 2024-02-23 to 2024-02-25):"
        " replayed 1 = loaded 1 + repeated 0 + still rejected 0\n"
        "left in quarantine 1 lines of days that another delivery holds\n"
        "now rebuild the marts: dbt run --vars '{ds_start: 2024-02-23, ds_end: 2024-02-24}'\n"
    )
    assert warehouse.query(LINES)[0] == ("a", 3)
    assert warehouse.query(LINES)[-1] == ("increment", 2)
    assert warehouse.query(LEDGER, (1,)) == [(42, 41, 0, 1)]
    assert warehouse.query(OPEN, (1,)) == [(3, "quantity")]


def test_a_new_delivery_of_the_day_takes_replayed_lines_away(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    deliver(DAY, [order("a", DAY, quantity=0), *plain()])
    path = tmp_path / "rejected.csv"
    run("show", "--delivery", 1, "--output", path)
    correct(path, line_2=",0, -> ,3,")
    run("replay", "--delivery", 1, "--lines", path)
    deliver(DAY, [order("new", DAY)])
    after = state(warehouse)
    assert "rebuild" not in run("replay", "--delivery", 1, "--lines", path)
    assert state(warehouse) == after
    assert warehouse.query(LINES) == [("new", 2)]


def test_a_refused_delivery_is_replayed_as_a_whole_file(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    deliver(DAY, [order("previous", DAY)])
    path = tmp_path / "corrected.csv"
    path.write_text("id;uniq_id\n")
    with pytest.raises(DeliveryRefused):
        deliver(DAY, path)
    before = state(warehouse)
    assert run("replay", "--delivery", 2, fails=True) == (
        "error: delivery 2 (increment 2024-02-25) was refused, so none of it was loaded: replay the"
        " whole file, corrected (quarantine replay --delivery 2 --file corrected.csv)\n"
    )
    assert state(warehouse) == before
    assert "corrected.csv): line 1: columns" in run(
        "replay", "--delivery", 2, "--file", path, fails=True
    )
    assert warehouse.query(LINES) == [("previous", 2)]

    columns = ",".join(order_file.REQUIRED_COLUMNS)
    path.write_text(f"{columns}\na,{DAY},1,Казань,1,Вера,Орлова,1,Кефир,5,1\n", encoding="utf-8")
    for _ in range(2):
        said = run("replay", "--delivery", 2, "--file", path)
        assert said.startswith("increment 2024-02-25: loaded\nreceived 1 = loaded 1 +")
        assert said.endswith("now rebuild the marts: dbt run --vars '{ds: 2024-02-25}'\n")
        assert warehouse.query(LINES) == [("a", 5)]
    assert "): refused, its days delivered again since: " in run("list", "--delivery", 2)

    # The corrected file counts as of its delivery's time: later deliveries are newer and stay.
    deliver(DAY, [order("newer", DAY)])
    assert "left alone 1 lines of days" in run("replay", "--delivery", 2, "--file", path)
    assert warehouse.query(LINES) == [("newer", 2)]


def test_a_whole_file_does_not_empty_a_day_unasked(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    deliver(DAY, [order("a", DAY)])
    path = tmp_path / "corrected.csv"
    path.write_text(",".join(order_file.REQUIRED_COLUMNS))
    assert "say --allow-empty" in run("replay", "--delivery", 1, "--file", path, fails=True)
    assert warehouse.query(LINES) == [("a", 2)]
    run("replay", "--delivery", 1, "--file", path, "--allow-empty")
    assert warehouse.query(LINES) == []


HEADER = "delivery_id,line_number,reason,raw_line\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file"),
        (b"", "missing delivery_id, line_number, reason, raw_line: not a file of quarantine show"),
        (b"line_number,raw_line\n", "missing delivery_id, reason: not a file of quarantine show"),
        (f"{HEADER}2,2,x,y\n".encode(), "line 2: not a line of delivery 1"),
        (f"{HEADER}1,1e5,x,y\n".encode(), "line 2: line_number is '1e5', not a number"),
        (f"{HEADER}1,{'9' * 19},x,y\n".encode(), f"line_number is '{'9' * 19}', not a number"),
        (f"{HEADER}1\n".encode(), "line 2: line_number is '', not a number"),
        (f"{HEADER}1,2,x,y\n1,2,x,y\n".encode(), "line 3: line_number 2 stands there twice"),
        (f'{HEADER}1,2,x,"y\nz"\n'.encode(), "line 3: raw_line holds a line break"),
        (f'{HEADER}1,2,x,"y\n'.encode(), "cannot be read: unexpected end of data"),
        (f"{HEADER}1,2,x,{'y' * 2**20}\n".encode(), "cannot be read: field larger than"),
        (f"{HEADER}1,2,x,Кефир\n".encode("cp1251"), "cannot be read: it is not UTF-8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_corrections_that_cannot_be_read_change_nothing(
    warehouse: Warehouse,
    deliver: Deliver,
    run: Run,
    tmp_path: Path,
    content: bytes | None,
    says: str,
) -> None:
    deliver(DAY, [order("a", DAY, quantity=0), *plain()])
    before = state(warehouse)
    path = tmp_path / "rejected.csv"
    if content is not None:
        path.write_bytes(content)
    assert says in run("replay", "--delivery", 1, "--lines", path, fails=True)
    assert state(warehouse) == before


def test_a_correction_is_judged_by_all_rules(
    warehouse: Warehouse, deliver: Deliver, run: Run, tmp_path: Path
) -> None:
    """Lines that are not in quarantine, NUL bytes, no text, and a day outside the delivery."""
    deliver(DAY, [order(f"{n}", DAY, quantity=0) for n in range(3)] + plain(80))
    before = state(warehouse)
    path = tmp_path / "rejected.csv"
    run("show", "--delivery", 1, "--output", path)
    correct(path, line_2="0,2024 -> \0,2024", line_3="2024-02-25 -> 2024-02-24")
    with path.open("a", encoding="utf-8") as file:
        file.write(f'1,50,,"9,z,{DAY},1,Казань,1,Вера,Орлова,1,Кефир,5,1"\n')
    path.write_text(path.read_text(encoding="utf-8").replace("quantity,", "anything,"), "utf-8")
    said = run("replay", "--delivery", 1, "--lines", path)
    assert "replayed 3 = loaded 0 + repeated 0 + still rejected 3" in said
    assert "still rejected by reason: nul_byte 1, outside_delivery 1, quantity 1" in said
    assert state(warehouse) == before


def test_deliveries_that_cannot_be_replayed_by_lines(
    warehouse: Warehouse, deliver: Deliver, run: Run
) -> None:
    for arguments in (["show"], ["replay"], ["replay", "--file", "x.csv"]):
        assert run(*arguments, "--delivery", 10**30, fails=True) == (
            f"error: there is no delivery {10**30} (see staging.delivery)\n"
        )
    deliver(DAY, [order("a", DAY)])
    assert "x.csv cannot be read: No such file" in run(
        "replay", "--delivery", 1, "--file", "x.csv", fails=True
    )
    warehouse.query("update staging.delivery set header = null")
    assert "was loaded before headers were kept: replay the whole file" in run(
        "replay", "--delivery", 1, fails=True
    )


def test_an_unprepared_warehouse_is_said_to_be_so(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(warehouse.connect()) as connection:
        connection.cursor().execute("alter table staging.quarantine rename to something_else")
        connection.commit()
        try:
            assert main(["quarantine", "list"]) == 1
        finally:
            connection.cursor().execute("alter table staging.something_else rename to quarantine")
            connection.commit()
    assert "the warehouse is not prepared (make warehouse)" in capsys.readouterr().err

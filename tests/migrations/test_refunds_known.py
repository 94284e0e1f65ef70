"""An old ledger gets `refunds_known` from headers, else from the order lines of the days."""

import pytest
from support import Warehouse, run_command


@pytest.mark.parametrize(
    ("header", "days", "known"),
    [
        ("id,uniq_id,status", [], True),
        ('id, "status" ,uniq_id', [], True),
        ("status,uniq_id", [], True),
        ("id,uniq_id", ["2024-02-25"], False),
        ("id,order_status,status_date", ["2024-02-25"], False),
        ("<html>", [], False),
        (None, ["2024-02-24", "2024-02-25"], True),
        (None, ["2024-02-24"], False),
        (None, [], False),
    ],
)
def test_refunds_are_known_where_they_were_told(
    empty_database: Warehouse, header: str | None, days: list[str], known: bool
) -> None:
    run_command("alembic", "upgrade", "0003")
    empty_database.query(
        "insert into staging.delivery (kind, outcome, report_id, source_file, sha256, first_day,"
        " last_day, received, loaded, repeated, rejected, superseded, quantity, payment_amount,"
        " header, started_at) values ('history', 'accepted', 'r', 'f', repeat('0', 64),"
        " '2024-02-24', '2024-02-25', 0, 0, 0, 0, 0, 0, 0, %s, now())",
        (header,),
    )
    empty_database.query(
        "insert into staging.user_order_log values"
        " ('a', '2024-02-24', 1, '', 1, '', '', 1, '', 1, 1, 'shipped'),"
        " ('b', '2024-02-25 10:00', 1, '', 1, '', '', 1, '', 1, 1, 'refunded')"
    )
    empty_database.query(
        "insert into staging.delivery_day select unnest(%s::date[]), delivery_id"
        " from staging.delivery",
        (days,),
    )
    run_command("alembic", "upgrade", "head")
    assert empty_database.value("select refunds_known from staging.delivery") is known

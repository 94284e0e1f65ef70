"""The way back to the old shape, as long as nothing was loaded since the takeover.

The way back keeps every old row. Some things remain that the old pipeline does not notice: room for
longer texts, cities added to mart.d_city, descriptions of mart.d_calendar, the index of
mart.f_sales that replaces mart.f_ds3, and the tables of the ledger and of the new marts. These
tables are empty; the next takeover fills them. The results of the old pipeline's last scripts stay,
and their retention mart gets its old rows back.
"""

from collections.abc import Collection

import psycopg2

from loaders.errors import TerminalError, TransientError
from migrations.takeover import retention
from migrations.takeover.changes import BACK_KEY, ORDER_KEY
from migrations.takeover.old_warehouse import OldWarehouse
from migrations.takeover.tables import (
    CITY,
    CUSTOMER,
    ITEM,
    OF_OLD,
    OLD_RETENTION,
    ORDERS,
    OTHER_MARTS,
    REPORT_ID,
    RETENTION,
    SALES,
)

# A longer wait for one reader would make other readers queue behind it.
READERS_WAIT = "2s"


def go(warehouse: OldWarehouse) -> None:
    """Go all the way; see `takeover.go_back`."""
    _refuse_if_loaded(warehouse)
    # Readers pass while the old key is built again.
    warehouse.alone(f"drop index concurrently if exists {BACK_KEY}")
    key = BACK_KEY.removeprefix("staging.")
    warehouse.alone(f"create unique index concurrently {key} on {ORDERS} (uniq_id)")
    # From here on one transaction. It reads only rows of the retention mart.
    warehouse.rows("begin")
    try:
        warehouse.rows("select set_config('lock_timeout', %s, true)", (READERS_WAIT,))
        for table in (ORDERS, SALES, RETENTION):
            warehouse.rows("select pg_advisory_xact_lock(hashtext(%s))", (table,))
        # Check again, because building the index took a while. The locks keep loads out now.
        _refuse_if_loaded(warehouse)
        _restore(warehouse)
        warehouse.rows("commit")
    except psycopg2.errors.LockNotAvailable as error:
        raise TransientError(
            f"somebody is at work with these tables ({str(error).strip()}): the shape was not"
            " changed; run this again, or `python -m migrations takeover` to stay"
        ) from error
    warehouse.say("done: this warehouse has the old shape")


def _refuse_if_loaded(warehouse: OldWarehouse) -> None:
    if "id" not in warehouse.columns(SALES):
        raise TerminalError(
            "this warehouse is no old one that was taken over. Nothing was changed."
        )
    if warehouse.has_table("staging.delivery") and warehouse.value(
        "select exists (select from staging.delivery"
        " where report_id != %s and outcome = 'accepted')",
        (REPORT_ID,),
    ):
        raise TerminalError(
            "something was loaded since the takeover: the old shape cannot hold it."
            " Nothing was changed."
        )


def _restore(warehouse: OldWarehouse) -> None:
    if warehouse.has_table("staging.delivery"):
        warehouse.rows("delete from staging.delivery_day")
        warehouse.rows("delete from staging.delivery where report_id = %s", (REPORT_ID,))
    if retention.is_copied(warehouse):
        _restore_retention(warehouse)
    elif warehouse.has_table(RETENTION) and not retention.is_of_old(warehouse):
        warehouse.rows(f"truncate {RETENTION}")
    for table in OTHER_MARTS:
        if warehouse.has_table(table):
            warehouse.rows(f"truncate {table}")
    if warehouse.constraint(ORDERS, "p", "uniq_id"):
        warehouse.rows(f"drop index {BACK_KEY}")
    else:
        warehouse.rows(
            f"alter table {ORDERS} add constraint user_order_log_pk"
            f" primary key using index {BACK_KEY.removeprefix('staging.')}"
        )
    made = _columns_made(warehouse)
    _undo(
        warehouse,
        ORDERS,
        optional=("quantity", "payment_amount"),
        constraints=[f"user_order_log_{name}_check" for name in CHECKED],
        columns=[name for table, name in made if table == ORDERS],
    )
    warehouse.rows(f"drop index if exists staging.{ORDER_KEY}")
    _undo(warehouse, CITY, optional=("city_id",))
    for dimension in (ITEM, CITY, CUSTOMER):
        # The first run of dbt has added this column.
        _undo(warehouse, dimension, columns=("latest_order_date",))
    _undo(
        warehouse,
        SALES,
        optional=("quantity", "payment_amount"),
        constraints=("f_sales_city_id_fkey",),
        columns=[name for table, name in made if table == SALES],
    )


CHECKED = ("quantity", "payment_amount", "date_time", "status")


def _columns_made(warehouse: OldWarehouse) -> list[tuple[str, str]]:
    """Return the columns that the takeover has made; unmark those that it has found."""
    if "uniq_id" not in warehouse.columns(SALES):
        return []
    made = [(SALES, "uniq_id")]
    for table, column in ((SALES, "refund_flag"), (ORDERS, "status")):
        if warehouse.value(IS_OF_OLD, {"table": table, "column": column, "mark": OF_OLD}):
            warehouse.rows(UNMARK.format(table=table, column=column, mark=OF_OLD))
        else:
            made.append((table, column))
    if (SALES, "refund_flag") not in made:
        warehouse.rows(f"alter table {SALES} alter column refund_flag set default false")
    return made


def _undo(
    warehouse: OldWarehouse,
    table: str,
    *,
    optional: Collection[str] = (),
    constraints: Collection[str] = (),
    columns: Collection[str] = (),
) -> None:
    """Undo what the takeover has done to a table, as far as it has come."""
    known = [f"{column}_is_known" for column in optional]
    warehouse.rows(
        f"alter table {table} "
        + ", ".join(
            [
                *(f"alter column {column} drop not null" for column in optional),
                *(f"drop constraint if exists {name}" for name in (*known, *constraints)),
                *(f"drop column if exists {column}" for column in columns),
            ]
        )
    )


def _restore_retention(warehouse: OldWarehouse) -> None:
    copied, mart = warehouse.columns(OLD_RETENTION), retention.contract()
    names = ", ".join(map(warehouse.quoted, copied))
    warehouse.rows(f"delete from {RETENTION}")  # noqa: S608
    warehouse.rows(f"alter table {RETENTION} drop constraint if exists {retention.KEY}")
    warehouse.rows(f"drop index if exists mart.{retention.KEY}")
    _undo(
        warehouse,
        RETENTION,
        optional=[name for name, (_, _, required) in copied.items() if not required],
        columns=[name for name in mart.columns if name not in copied],
    )
    warehouse.rows(
        f"insert into {RETENTION} ({names}) overriding system value"  # noqa: S608
        f" select {names} from {OLD_RETENTION}"
    )
    warehouse.rows(f"drop table {OLD_RETENTION}")


IS_OF_OLD = """
    select coalesce(bool_or(col_description(attrelid, attnum) like '%%' || %(mark)s), false)
    from pg_attribute where attrelid = to_regclass(%(table)s) and attname = %(column)s
"""

UNMARK = """
    do $$
    begin
        execute format('comment on column {table}.{column} is %L', (
            select nullif(rtrim(replace(col_description(attrelid, attnum), '{mark}', '')), '')
            from pg_attribute
            where attrelid = to_regclass('{table}') and attname = '{column}'
        ));
    end
    $$
"""

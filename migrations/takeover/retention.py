"""Brings the retention mart of the old pipeline's last scripts to our shape.

dbt builds all of it again from mart.f_sales, so afterwards the mart agrees with the sales. All its
old rows stay in another table, whatever their periods were called, and whether or not their sales
are still known.
"""

from checks import dbt
from migrations.takeover.old_warehouse import OldWarehouse
from migrations.takeover.tables import OLD_RETENTION, RETENTION, RETENTION_COLUMNS

KEY = "f_customer_retention_period_name_period_id_item_id_key"


def contract() -> dbt.Mart:
    """Return the mart as dbt declares it."""
    return dbt.mart(RETENTION.partition(".")[2])


def is_of_old(warehouse: OldWarehouse) -> bool:
    """Return whether the table exists and is not ours yet: its key is added last but one."""
    return warehouse.has_table(RETENTION) and not warehouse.constraint(
        RETENTION, "pu", *contract().key
    )


def retyped(warehouse: OldWarehouse) -> dict[str, str]:
    """Return the old columns that are too small, with the type that they get."""
    columns = warehouse.columns(RETENTION)
    return {
        name: declared
        for name, declared in contract().columns.items()
        if name in columns and name in RETENTION_COLUMNS and not _fits(columns[name], declared)
    }


def _fits(column: tuple[str, int, bool], declared: str) -> bool:
    kind, length, _ = column
    if declared.startswith("varchar("):
        return length >= int(declared.removeprefix("varchar(").removesuffix(")"))
    return kind == declared.replace(", ", ",")


COPY_COMMENT = f"What {RETENTION} held before the takeover. Only the way back needs it."


def is_copied(warehouse: OldWarehouse) -> bool:
    """Return whether the old rows of the mart are copied already."""
    return warehouse.value(  # type: ignore[no-any-return]
        "select obj_description(to_regclass(%s), 'pg_class') is not distinct from %s",
        (OLD_RETENTION, COPY_COMMENT),
    )


def copy_pending(warehouse: OldWarehouse) -> str | None:
    if not is_of_old(warehouse) or is_copied(warehouse):
        return None
    return f"{OLD_RETENTION}: the {warehouse.row_count(RETENTION):,} rows that {RETENTION} has now"


def copy(warehouse: OldWarehouse) -> None:
    warehouse.write(
        RETENTION,
        f"create table {OLD_RETENTION} (like {RETENTION});"  # noqa: S608
        f" insert into {OLD_RETENTION} select * from {RETENTION};"
        f" comment on table {OLD_RETENTION} is '{COPY_COMMENT}'",
    )


def columns_pending(warehouse: OldWarehouse) -> str | None:
    if not is_of_old(warehouse):
        return None
    missing = contract().columns.keys() - warehouse.columns(RETENTION).keys()
    names = sorted(missing | retyped(warehouse).keys())
    return f"{RETENTION}: columns {', '.join(names)}" if names else None


def add_columns(warehouse: OldWarehouse) -> None:
    present = warehouse.columns(RETENTION)
    warehouse.alter(
        RETENTION,
        *(
            f"alter table {RETENTION} alter column {name} type {declared}"
            for name, declared in retyped(warehouse).items()
        ),
        *(
            f"alter table {RETENTION} add column {name} {declared}"
            for name, declared in contract().columns.items()
            if name not in present
        ),
    )


def constraints_pending(warehouse: OldWarehouse) -> str | None:
    if not warehouse.has_table(RETENTION) or not (is_of_old(warehouse) or _lacking(warehouse)):
        return None
    return f"{RETENTION}: keys, not null and indexes as in a new warehouse"


def _lacking(warehouse: OldWarehouse) -> bool:
    columns, mart = warehouse.columns(RETENTION), contract()
    return not (
        all(columns[name][2] for name in mart.required & columns.keys())
        and all(warehouse.is_indexed(RETENTION, *index) for index in mart.indexes)
    )


def add_constraints(warehouse: OldWarehouse) -> None:
    mart, table = contract(), RETENTION.partition(".")[2]
    columns = warehouse.columns(RETENTION)
    for reference in mart.references:
        (column,) = reference.columns
        warehouse.add_reference(RETENTION, column, f"{dbt.SCHEMA}.{reference.to}")
    for column in sorted(mart.required):
        if not columns[column][2]:
            warehouse.add_not_null(RETENTION, column)
    for index in mart.indexes:
        if not warehouse.is_indexed(RETENTION, *index):
            warehouse.add_index(RETENTION, f"{table}_{'_'.join(index)}_idx", ", ".join(index))
    # Last, because this key marks the table as ours.
    if not warehouse.constraint(RETENTION, "pu", *mart.key):
        warehouse.add_unique(RETENTION, KEY, *mart.key)

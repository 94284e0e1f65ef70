"""Takes out of ledger and quarantine what is old and needed by nothing any more.

What stays, however old it is:
  * a delivery that a day comes from: a later load of the day is judged by it;
  * its rejected lines, which can be replayed, and its ledger row, whose header reads them;
  * a refused delivery, as long as one of its days has not come in another way: its file can be
    corrected and replayed under its ledger row.
"""

from psycopg2.extensions import cursor as Cursor

from loaders.errors import TerminalError
from loaders.quarantine import WAITING
from loaders.warehouse import lock, row, transaction, tried_again

# Longer than that nobody has deliveries.
MOST_MONTHS = 1200

_OLD = "finished_at < clock_timestamp() - make_interval(months => %(months)s)"
_HOLDS_A_DAY = """
    exists (
        select from staging.delivery_day as held where held.delivery_id = delivery.delivery_id
    )
"""


def trim(months: int, *, apply: bool = False) -> str:
    """Delete what is older than so many months; return what an operator reads.

    Args:
        apply: without it everything is done and rolled back.

    Raises:
        TerminalError: if `months` is no number of months to keep.
        TransientError: if the warehouse is busy or went away.
    """
    if not 1 <= months <= MOST_MONTHS:
        raise TerminalError(f"{months} months: expected a number from 1 to {MOST_MONTHS}")

    def attempt() -> str:
        with transaction(commit=apply) as cursor:
            # No load may take up a delivery that is just going.
            lock(cursor, "staging.user_order_log")
            return _trim(cursor, months, apply)

    return tried_again(attempt)


def _trim(cursor: Cursor, months: int, apply: bool) -> str:
    parameters = {"months": months}
    cursor.execute(
        f"""
        create temporary table going on commit drop as
        select delivery_id from staging.delivery
        where {_OLD} and not {_HOLDS_A_DAY} and not ({WAITING})
        """,  # noqa: S608 - the conditions are ours
        parameters,
    )
    cursor.execute(
        "delete from staging.quarantine using going"
        " where quarantine.delivery_id = going.delivery_id"
    )
    lines = cursor.rowcount
    cursor.execute(
        "delete from staging.delivery using going where delivery.delivery_id = going.delivery_id"
    )
    deliveries = cursor.rowcount
    cursor.execute(
        f"""
        delete from staging.quarantine using staging.delivery
        where quarantine.delivery_id = delivery.delivery_id and replayed_at is not null and {_OLD}
        """,  # noqa: S608
        parameters,
    )
    replayed = cursor.rowcount
    cursor.execute(
        f"""
        select current_date - make_interval(months => %(months)s),
            count(*) filter (where {_HOLDS_A_DAY}), count(*) filter (where {WAITING}),
            coalesce(sum(rejected) filter (where {_HOLDS_A_DAY}), 0)
        from staging.delivery where {_OLD}
        """,  # noqa: S608
        parameters,
    )
    since, holding, waiting, rejected = row(cursor)
    verb = "went" if apply else "would go"
    text = [
        f"older than {since:%Y-%m-%d}:",
        f"  {deliveries} deliveries that hold no day {verb}, with {lines} rejected lines",
        f"  {replayed} lines that were replayed {verb}",
        f"  {holding} deliveries that hold a day stay, with {rejected} rejected lines",
        f"  {waiting} refused deliveries that wait for a replay stay",
    ]
    return "\n".join([*text, *([] if apply else ["nothing was changed: --apply does it"])])

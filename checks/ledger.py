"""What the ledger says and staging does not bear out."""

from psycopg2.extensions import cursor as Cursor

_HELD = """
    with staged as (
        select cast(date_time as date) as day, count(*) as line_count
        from staging.user_order_log group by 1
    ),
    held as (
        select delivery_id, count(*) as day_count, coalesce(sum(line_count), 0) as line_count
        from staging.delivery_day left join staged using (day) group by 1
    )
    select first_day, last_day, delivery_id, loaded, line_count
    from held inner join staging.delivery using (delivery_id)
    -- Less where another delivery has replaced some of its days.
    where line_count > loaded
        or line_count < loaded and day_count = last_day - first_day + 1
    order by 1, 3
"""


def unbalanced(cursor: Cursor) -> list[str]:
    """Return a sentence for each delivery or day that does not add up; reads all order lines."""
    cursor.execute(
        "select delivery_id from staging.delivery"
        " where received != loaded + repeated + rejected order by 1"
    )
    sentences = [
        f"delivery {number}: received is not loaded + repeated + rejected"
        for (number,) in cursor.fetchall()
    ]
    cursor.execute(_HELD)
    sentences += [
        f"{first}{f' to {last}' if last != first else ''}: delivery {number} loaded {loaded}"
        f" lines, staging holds {staged}"
        for first, last, number, loaded, staged in cursor.fetchall()
    ]
    cursor.execute(
        "select distinct cast(date_time as date) from staging.user_order_log"
        " except select day from staging.delivery_day order by 1"
    )
    sentences += [
        f"{day}: staging holds order lines that no delivery has brought"
        for (day,) in cursor.fetchall()
    ]
    return sentences

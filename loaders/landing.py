"""Lands a delivery in schema `staging`: one transaction replaces all days that it covers.

Data flow: lines of the file -> COPY into a temporary table -> delete the old rows of the days and
insert the first line of every key -> tell repetitions from conflicts -> checks -> ledger,
quarantine -> commit. A refused delivery writes its ledger row and its rejected lines, and no order
line.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import repeat
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from loaders.deliveries import Delivery
from loaders.errors import DeliveryRefused
from loaders.order_file import (
    ALTERED,
    DEFAULT_STATUS,
    ORDER_COLUMNS,
    STATUSES,
    JudgedLine,
    OrderFile,
    PlainLines,
)
from loaders.warehouse import lock, row, transaction, tried_again

# The limit for the sum of one item's lines on one day, in the shop's currency. The columns of
# mart.f_customer_retention are numeric(12, 2), and its longest period has 31 days.
MAX_ITEM_DAY_AMOUNT = Decimal("322580645.16")

_ORDERS = ", ".join(ORDER_COLUMNS)
# The expression of each column for an acceptable line of `incoming`.
_VALUES = {name: f"incoming.{name}" for name in ORDER_COLUMNS}
_VALUES["status"] = f"coalesce(incoming.status, '{DEFAULT_STATUS}')"
# The first line of every key among the lines that are acceptable by themselves. The order is that
# of the index of staging.user_order_log, because sorted rows fill an index faster.
_FIRSTS = f"""
    select distinct on (cast(date_time as date), uniq_id)
        line_number, {", ".join(f"{value} as {name}" for name, value in _VALUES.items())}
    from incoming
    where reason is null
    order by cast(date_time as date), uniq_id, line_number
"""  # noqa: S608 - the names are this module's own
# Stands for a line without text, which has only a number.
_BLANK = "blank"


@dataclass(frozen=True)
class Counts:
    """Numbers of lines. received = loaded + repeated + rejected; `superseded` is not part of it."""

    received: int
    loaded: int
    repeated: int
    rejected: int
    superseded: int


class DayTotal(NamedTuple):
    """The lines loaded for one day and status; `payment_amount` in the shop's currency."""

    date: date
    status: str
    rows: int
    quantity: Decimal
    payment_amount: Decimal


@dataclass(frozen=True)
class LoadResult:
    """The result of landing a delivery.

    `days` are the days that it holds now, in order. Days that it left to another delivery are not
    among them; a refused delivery has none.
    """

    delivery: Delivery
    outcome: str
    counts: Counts
    days: list[date]
    unknown_columns: list[str]
    reasons: dict[str, int]
    totals: list[DayTotal]

    @property
    def first_day(self) -> date:
        """The first day to build the marts for: of `days`, else of the delivery."""
        return self.days[0] if self.days else self.delivery.first_day

    @property
    def last_day(self) -> date:
        """The last day to build the marts for, chosen like `first_day`."""
        return self.days[-1] if self.days else self.delivery.last_day

    def summary(self) -> dict[str, Any]:
        """Return plain values for other programs: days, counts of lines, no value of any line."""
        return {
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "outcome": self.outcome,
            "days": [str(day) for day in self.days],
            **asdict(self.counts),
            "reasons": self.reasons,
        }

    def describe(self) -> str:
        """Return the lines for the operator."""
        counts = self.counts
        text = [
            f"{self.delivery.name}: {self.outcome}",
            f"received {counts.received} = loaded {counts.loaded} + repeated {counts.repeated}"
            f" + rejected {counts.rejected}",
        ]
        if counts.superseded:
            text.append(f"left alone {counts.superseded} lines of days that another delivery holds")
        if self.reasons:
            text.append(f"rejected by reason: {described(self.reasons)} (staging.quarantine)")
        if self.unknown_columns:
            text.append(f"columns not known, ignored: {', '.join(map(repr, self.unknown_columns))}")
        if self.totals:
            table = [DayTotal._fields, *([str(value) for value in total] for total in self.totals)]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            text.append("")
            text += [
                "  ".join(value.rjust(width) for value, width in zip(line, widths, strict=True))
                for line in table
            ]
        return "\n".join(text)


def described(reasons: dict[str, int]) -> str:
    """Return the reasons with their numbers of lines, most frequent first."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {number}" for reason, number in ordered)


def land(
    delivery: Delivery,
    orders: Callable[[], OrderFile],
    *,
    source_file: str,
    sha256: str,
    started_at: datetime,
    max_rejected_share: float,
    allow_empty: bool = False,
    dry_run: bool = False,
) -> LoadResult:
    """Replace the days that `delivery` covers by the order lines of its file.

    Args:
        orders: opens the file; called once for each try of the transaction.
        started_at: when the load began, by `warehouse.clock`, before the file was fetched.
        max_rejected_share: 0 to 1; a larger share of rejected lines refuses the delivery.
        allow_empty: let the delivery empty days that have order lines.
        dry_run: do everything, and roll back at the end.

    Raises:
        DeliveryRefused: the message says why; nothing of the delivery was loaded.
        TransientError: if the warehouse went away, is busy, or stayed deadlocked.
    """

    def attempt() -> tuple[LoadResult, str | None]:
        with orders() as file, transaction(commit=not dry_run) as cursor:
            _copy_file(cursor, file)
            lock(cursor, "staging.user_order_log")
            # A file that cannot be read says nothing about its days.
            days = [] if file.refusal else _covered_days(cursor, delivery, started_at)
            accepted, superseded, reasons = _judge_alone(cursor, days)
            held = _days_with_lines(cursor, days)
            cursor.execute("savepoint untouched")
            loaded = _replace(cursor, days)
            if loaded < accepted:
                reasons |= _judge_beside(cursor, "staging.user_order_log", days)
            counts = _counts(accepted, loaded, superseded, reasons)
            totals, excess = _totals(cursor, days)
            emptied = [] if allow_empty else sorted(held - {total.date for total in totals})
            refusal = (
                file.refusal
                or _too_many_rejected(cursor, file, counts, max_rejected_share)
                or _would_empty(emptied)
                or excess
            )
            if refusal is not None:
                cursor.execute("rollback to savepoint untouched")
                if loaded < accepted:
                    _judge_beside(cursor, f"({_FIRSTS})", days)
            result = LoadResult(
                delivery,
                "refused" if refusal else "would be loaded" if dry_run else "loaded",
                counts,
                [] if refusal else days,
                file.rules.unknown_columns if file.rules else [],
                reasons,
                totals,
            )
            delivery_id = _record(cursor, result, refusal, file, source_file, sha256, started_at)
            if counts.rejected:
                _quarantine(cursor, delivery_id, file)
            return result, refusal

    result, refusal = tried_again(attempt)
    if refusal is not None:
        refused = DeliveryRefused(
            f"{delivery.name} ({source_file}): {refusal}\n{result.describe()}"
        )
        refused.summary = result.summary()
        raise refused
    return result


@dataclass(frozen=True)
class ReplayResult:
    """The result of judging rejected lines again; `days` are the days the delivery holds."""

    counts: Counts
    reasons: dict[str, int]
    days: list[date]


def replay(delivery_id: int, lines: Callable[[], Iterable[JudgedLine]]) -> ReplayResult:
    """Add to an accepted delivery those of its rejected lines that are acceptable now.

    Lines are identified by number. A line that is not in quarantine, or no longer, is ignored, so a
    second run changes nothing. A line of a day that another delivery holds by now stays there.

    Args:
        lines: yields the judged lines; called once for each try of the transaction.

    Raises:
        DeliveryRefused: if the marts cannot hold the sum; nothing was changed.
        TransientError: as `land`.
    """

    def attempt() -> ReplayResult:
        with transaction() as cursor:
            _copy_lines(cursor, lines())
            lock(cursor, "staging.user_order_log")
            _keep_rejected(cursor, delivery_id)
            cursor.execute(
                "select day from staging.delivery_day where delivery_id = %s order by day",
                (delivery_id,),
            )
            days = [day for (day,) in cursor.fetchall()]
            accepted, superseded, reasons = _judge_alone(cursor, days)
            loaded = _add(cursor, days)
            if loaded < accepted:
                reasons |= _judge_beside(cursor, "staging.user_order_log", days)
            _, excess = _totals(cursor, days)
            if loaded and excess:
                raise DeliveryRefused(excess)
            counts = _counts(accepted, loaded, superseded, reasons)
            _record_replay(cursor, delivery_id, counts)
            return ReplayResult(counts, reasons, days)

    return tried_again(attempt)


def _copy_file(cursor: Cursor, file: OrderFile) -> None:
    """Copy every line of a file into a temporary table with the columns of the file."""
    if file.rules is None:
        _create_incoming(cursor, ())
        return
    columns = [
        f"ignored_{number}" if name not in ORDER_COLUMNS else name
        for number, name in enumerate(file.rules.columns)
    ]
    _create_incoming(cursor, [name for name in columns if name not in ORDER_COLUMNS])
    columns += ["reason", "raw_line", "day"]
    _copy(cursor, columns, _file_as_csv(file, columns))


def _copy_lines(cursor: Cursor, lines: Iterable[JudgedLine]) -> None:
    """Copy judged lines into a temporary table, with their own numbers."""
    _create_incoming(cursor, ())
    columns = [*ORDER_COLUMNS, "reason", "raw_line", "day", "line_number"]
    _copy(cursor, columns, map(_csv_writer(columns), lines))


def _create_incoming(cursor: Cursor, ignored: Iterable[str]) -> None:
    """Make the temporary table for the lines of the file.

    Rejected lines fill `reason`, `raw_line` and `day`; their order columns are null. The columns
    `ignored` are text that nothing reads.
    """
    # Compiling expressions costs more than it saves for one sort and one join.
    cursor.execute("select set_config('work_mem', '64MB', true), set_config('jit', 'off', true)")
    cursor.execute(
        f"""
        create temporary table incoming on commit drop as
        select {_ORDERS}, ''::text as reason, ''::text as raw_line, null::date as day
        from staging.user_order_log
        with no data
        """  # noqa: S608
    )
    # PostgreSQL numbers the lines in the order of the COPY. The header is line 1.
    added = ["line_number bigint generated by default as identity (start 2 cache 1000)"]
    added += [f"{name} text" for name in ignored]
    cursor.execute(f"alter table incoming add {', add '.join(added)}")


def _copy(cursor: Cursor, columns: Iterable[str], chunks: Iterator[bytes]) -> None:
    stream = _Stream(chunks)
    statement = f"copy incoming ({', '.join(columns)}) from stdin with (format csv)"
    try:
        cursor.copy_expert(statement, stream)
    except psycopg2.errors.QueryCanceled:
        # Else an interruption, or a file that cannot be read, would look like an error of
        # PostgreSQL.
        if stream.error is not None:
            raise stream.error from None
        raise


class _Stream(io.BufferedIOBase):
    """The file that COPY reads from: each chunk, of any size, is made when COPY asks for it."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.error: BaseException | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return next(self._chunks, b"")
        except BaseException as error:
            self.error = error
            raise


def _file_as_csv(file: OrderFile, columns: Sequence[str]) -> Iterator[bytes]:
    as_csv = _csv_writer(columns)
    blank = as_csv(JudgedLine(0, "", None, _BLANK, None))
    next_number = 2
    for lines in file:
        yield from repeat(blank, lines.line_number - next_number)
        if isinstance(lines, PlainLines):
            # The columns without reason, raw line and day.
            text = lines.text.replace(b"\n", b",,,\n")
            next_number = lines.line_number + lines.line_count
        else:
            text = as_csv(lines)
            next_number = lines.line_number + 1
        yield text


def _csv_writer(columns: Sequence[str]) -> Callable[[JudgedLine], bytes]:
    """Return a function that makes a line of CSV with these columns; ignored ones stay empty."""
    writer = csv.writer(_Echo(), lineterminator="\n")

    def as_csv(line: JudgedLine) -> bytes:
        values = {**(line.order._asdict() if line.order else {}), **line._asdict()}
        text: str = writer.writerow([values.get(name) for name in columns])
        return text.encode()

    return as_csv


class _Echo:
    """A file for csv.writer: `writerow` returns what this `write` returns."""

    def write(self, text: str) -> str:
        return text


def _covered_days(cursor: Cursor, delivery: Delivery, started_at: datetime) -> list[date]:
    """Return the days that the delivery replaces.

    A history leaves alone the days of increments, which know refunds. Every load leaves alone a day
    whose delivery began later: a task that outlives its own retry must not undo the retry.
    """
    cursor.execute(
        """
        select cast(days.day as date)
        from generate_series(%(first)s::timestamp, %(last)s::timestamp, '1 day') as days(day)
        where not exists (
            select from staging.delivery_day
            inner join staging.delivery using (delivery_id)
            where delivery_day.day = days.day
                and (
                    (%(kind)s = 'history' and delivery.kind = 'increment')
                    or delivery.started_at > %(started_at)s
                )
        )
        order by 1
        """,
        {
            "first": delivery.first_day,
            "last": delivery.last_day,
            "kind": delivery.kind,
            "started_at": started_at,
        },
    )
    return [day for (day,) in cursor.fetchall()]


def _judge_alone(cursor: Cursor, days: list[date]) -> tuple[int, int, dict[str, int]]:
    """Count the lines that are acceptable by themselves, the lines of other days, and the rejected
    lines by reason. Leave in `incoming` only the lines for these days.
    """
    # The condition is not true for an unknown day, because the list is never empty.
    of_another_day = """
        coalesce(day, cast(date_time as date)) != all(date 'infinity' || %(days)s::date[])
    """
    cursor.execute(
        f"""
        select case when {of_another_day} then 'superseded' else reason end, count(*)
        from incoming group by 1
        """,  # noqa: S608
        {"days": days},
    )
    numbers: dict[Any, int] = dict(cursor.fetchall())
    accepted, superseded, blank = (
        numbers.pop(verdict, 0) for verdict in (None, "superseded", _BLANK)
    )
    if superseded or blank:
        cursor.execute(
            f"delete from incoming where reason = %(blank)s or {of_another_day}",  # noqa: S608
            {"days": days, "blank": _BLANK},
        )
    return accepted, superseded, numbers


def _days_with_lines(cursor: Cursor, days: list[date]) -> set[date]:
    cursor.execute(
        """
        select day from unnest(%s::date[]) as covered (day)
        where exists (select from staging.user_order_log where cast(date_time as date) = day)
        """,
        (days,),
    )
    return {day for (day,) in cursor.fetchall()}


def _replace(cursor: Cursor, days: list[date]) -> int:
    """Replace the rows of these days by the first line of every key; return how many."""
    cursor.execute(
        "delete from staging.user_order_log where cast(date_time as date) = any(%s::date[])",
        (days,),
    )
    return _insert(cursor, f"({_FIRSTS})")


def _add(cursor: Cursor, days: list[date]) -> int:
    """Add the first line of every key that these days do not hold yet, and keep these lines in the
    table `added`; return how many."""
    cursor.execute(
        f"""
        create temporary table added on commit drop as
        select * from ({_FIRSTS}) as firsts
        where not exists (
            select from staging.user_order_log as standing
            where cast(standing.date_time as date) = any(%(days)s::date[])
                and cast(standing.date_time as date) = cast(firsts.date_time as date)
                and standing.uniq_id = firsts.uniq_id
        )
        """,  # noqa: S608
        {"days": days},
    )
    return _insert(cursor, "added")


def _insert(cursor: Cursor, firsts: str) -> int:
    cursor.execute(
        f"insert into staging.user_order_log ({_ORDERS})"  # noqa: S608
        f" select {_ORDERS} from {firsts} as firsts"
    )
    return cursor.rowcount


def _judge_beside(cursor: Cursor, firsts: str, days: list[date]) -> dict[str, int]:
    """Reject the lines that contradict the first line of their key, which is in `firsts`."""
    conflicts = _without_nested_loops(
        cursor,
        f"""
        update incoming set reason = 'conflict'
        from {firsts} as firsts
        where incoming.reason is null
            and cast(firsts.date_time as date) = any(%(days)s::date[])
            and cast(firsts.date_time as date) = cast(incoming.date_time as date)
            and firsts.uniq_id = incoming.uniq_id
            and ({", ".join(f"firsts.{name}" for name in _VALUES)})
            is distinct from ({", ".join(_VALUES.values())})
        """,  # noqa: S608
        {"days": days},
    )
    return {"conflict": conflicts} if conflicts else {}


def _without_nested_loops(cursor: Cursor, statement: str, parameters: dict[str, Any]) -> int:
    """Run a statement that joins tables without statistics; return how many rows it changed.

    The planner assumes that such tables are small, and would compare every row with every other.
    """
    cursor.execute("set local enable_nestloop = off")
    cursor.execute(statement, parameters)
    changed = cursor.rowcount
    cursor.execute("set local enable_nestloop to default")
    return changed


def _counts(accepted: int, loaded: int, superseded: int, reasons: dict[str, int]) -> Counts:
    rejected = sum(reasons.values())
    received = accepted + rejected - reasons.get("conflict", 0)
    return Counts(received, loaded, received - loaded - rejected, rejected, superseded)


def _totals(cursor: Cursor, days: list[date]) -> tuple[list[DayTotal], str | None]:
    """Return the totals of these days in staging, and the reason to refuse them if the marts cannot
    hold them."""
    cursor.execute(
        """
        select day, status, row_count, quantity, payment_amount, item_id
        from (
            select day, status, item_id, count(*) as row_count, sum(quantity) as quantity,
                sum(payment_amount) as payment_amount
            from (
                select cast(date_time as date) as day, user_order_log.*
                from staging.user_order_log
                where cast(date_time as date) = any(%(days)s::date[])
            ) as landed
            group by grouping sets ((day, status), (day, item_id))
        ) as totals
        where item_id is null or payment_amount > %(most)s
        order by item_id is not null, day, status, item_id
        -- One item is enough to refuse a delivery.
        limit %(limit)s
        """,
        {"days": days, "most": MAX_ITEM_DAY_AMOUNT, "limit": len(STATUSES) * len(days) + 1},
    )
    totals, excess = [], None
    for *total, item_id in cursor.fetchall():
        if item_id is None:
            totals.append(DayTotal(*total))
        elif excess is None:
            day, *_, amount = total
            excess = (
                f"the lines of item {item_id} on {day} total {amount:,}, more than the"
                f" {MAX_ITEM_DAY_AMOUNT:,} that the marts can hold of one item and day"
            )
    return totals, excess


def _too_many_rejected(
    cursor: Cursor, file: OrderFile, counts: Counts, max_rejected_share: float
) -> str | None:
    if counts.rejected <= max_rejected_share * counts.received:
        return None
    cursor.execute(
        """
        select line_number, reason, raw_line from incoming
        where reason is not null order by line_number limit 1
        """
    )
    line_number, reason, raw_line = row(cursor)
    hint = file.rules.judge(line_number, raw_line).hint if file.rules and raw_line else ""
    return (
        f"{counts.rejected} of {counts.received} lines rejected, more than"
        f" {100 * max_rejected_share:g}% (MAX_REJECTED_SHARE); the first is line {line_number}"
        f" ({reason}){hint and ': '}{hint}"
    )


def _would_empty(days: Iterable[date]) -> str | None:
    if not days:
        return None
    return (
        f"it would empty {', '.join(map(str, days))}, which has order lines now;"
        " if that is meant, say --allow-empty (DAG parameter allow_empty)"
    )


def _record(
    cursor: Cursor,
    result: LoadResult,
    refusal: str | None,
    file: OrderFile,
    source_file: str,
    sha256: str,
    started_at: datetime,
) -> int:
    """Write the ledger row and the delivery of each day; return the number of the delivery."""
    cursor.execute(
        """
        insert into staging.delivery (
            kind, outcome, refusal, report_id, increment_id, source_file, sha256, header,
            first_day, last_day, received, loaded, repeated, rejected, superseded,
            quantity, payment_amount, unknown_columns, refunds_known, started_at
        )
        values (
            %(kind)s, %(outcome)s, %(refusal)s, %(report_id)s, %(increment_id)s, %(source_file)s,
            %(sha256)s, %(header)s, %(first_day)s, %(last_day)s, %(received)s, %(loaded)s,
            %(repeated)s, %(rejected)s, %(superseded)s, %(quantity)s, %(payment_amount)s,
            %(unknown_columns)s::text[], %(refunds_known)s, %(started_at)s
        )
        returning delivery_id
        """,
        {
            **asdict(result.delivery),
            **asdict(result.counts),
            "outcome": "refused" if refusal else "accepted",
            "refusal": refusal,
            "source_file": source_file,
            "sha256": sha256,
            "header": file.header,
            "quantity": sum(total.quantity for total in result.totals),
            "payment_amount": sum(total.payment_amount for total in result.totals),
            "unknown_columns": result.unknown_columns,
            "refunds_known": file.rules is not None and file.rules.refunds_known,
            "started_at": started_at,
        },
    )
    (delivery_id,) = row(cursor)
    cursor.execute(
        """
        insert into staging.delivery_day (day, delivery_id)
        select unnest(%s::date[]), %s
        on conflict (day) do update set delivery_id = excluded.delivery_id
        """,
        (result.days, delivery_id),
    )
    return delivery_id  # type: ignore[no-any-return]


def _quarantine(cursor: Cursor, delivery_id: int, file: OrderFile) -> None:
    """Write the rejected lines to quarantine. Lines in conflict have values only, so their text is
    read from the file."""
    columns = "delivery_id, line_number, reason, raw_line"
    cursor.execute(
        f"""
        insert into staging.quarantine ({columns})
        select %s, line_number, reason, raw_line from incoming where reason != 'conflict'
        """,  # noqa: S608
        (delivery_id,),
    )
    with cursor.connection.cursor("conflicts") as conflicts:
        conflicts.execute(
            "select line_number from incoming where reason = 'conflict' order by line_number"
        )
        lines = file.raw_lines(line_number for (line_number,) in conflicts)
        execute_values(
            cursor,
            f"insert into staging.quarantine ({columns}) values %s",  # noqa: S608
            ((delivery_id, line_number, "conflict", text) for line_number, text in lines),
            page_size=1000,
        )


def _keep_rejected(cursor: Cursor, delivery_id: int) -> None:
    """Keep in `incoming` only lines that are still in quarantine and may be judged again."""
    _without_nested_loops(
        cursor,
        """
        delete from incoming where not exists (
            select from staging.quarantine
            where delivery_id = %(delivery_id)s and quarantine.line_number = incoming.line_number
                and replayed_at is null
        )
        """,
        {"delivery_id": delivery_id},
    )
    # Their kept text may look acceptable but was not delivered so: they need a correction.
    _without_nested_loops(
        cursor,
        """
        update incoming set reason = quarantine.reason from staging.quarantine
        where delivery_id = %(delivery_id)s and quarantine.line_number = incoming.line_number
            and quarantine.raw_line = incoming.raw_line and quarantine.reason = any(%(altered)s)
        """,
        {"delivery_id": delivery_id, "altered": list(ALTERED)},
    )


def _record_replay(cursor: Cursor, delivery_id: int, counts: Counts) -> None:
    """Mark the lines that left quarantine, and count them as loaded or repeated in the ledger."""
    _without_nested_loops(
        cursor,
        """
        update staging.quarantine set
            replayed_at = clock_timestamp(),
            replayed_as = case when added.line_number is null then 'repeated' else 'loaded' end,
            corrected_line = nullif(incoming.raw_line, quarantine.raw_line)
        from incoming left join added using (line_number)
        where delivery_id = %(delivery_id)s and quarantine.line_number = incoming.line_number
            and incoming.reason is null
        """,
        {"delivery_id": delivery_id},
    )
    cursor.execute(
        """
        update staging.delivery set
            loaded = delivery.loaded + %(loaded)s,
            repeated = delivery.repeated + %(repeated)s,
            rejected = delivery.rejected - %(loaded)s - %(repeated)s,
            quantity = delivery.quantity + replayed.quantity,
            payment_amount = delivery.payment_amount + replayed.payment_amount
        from (
            select coalesce(sum(quantity), 0) as quantity,
                coalesce(sum(payment_amount), 0) as payment_amount
            from added
        ) as replayed
        where delivery_id = %(delivery_id)s
        """,
        {**asdict(counts), "delivery_id": delivery_id},
    )

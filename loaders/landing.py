"""Lands a delivery in schema `staging`: replaces the days it covers, whole, in one transaction.

Data flow: judged lines -> COPY into a temporary table -> repetitions and conflicts told apart ->
checks -> old rows of the days out, new rows in, ledger, quarantine -> commit. A refused delivery
writes its ledger row and its rejected lines, and no order line.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, astuple, dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd
from psycopg2.extensions import cursor as Cursor

from loaders.deliveries import Delivery
from loaders.errors import DeliveryRefused
from loaders.order_file import ALTERED, REQUIRED_COLUMNS, JudgedLine, OrderFile
from loaders.warehouse import lock, row, transaction, tried_again

ORDER_COLUMNS = (*REQUIRED_COLUMNS, "status")


@dataclass(frozen=True)
class Counts:
    """Lines of a delivery. received = loaded + repeated + rejected; superseded ones are beside."""

    received: int
    loaded: int
    repeated: int
    rejected: int
    superseded: int


@dataclass(frozen=True)
class LoadResult:
    """What became of a delivery. `summary` has a row per day and status of the loaded lines."""

    delivery: Delivery
    outcome: str
    counts: Counts
    unknown_columns: list[str]
    reasons: dict[str, int]
    summary: pd.DataFrame

    def describe(self) -> str:
        """Return the lines an operator reads."""
        counts = self.counts
        text = [
            f"{self.delivery.name}: {self.outcome}",
            f"received {counts.received} = loaded {counts.loaded} + repeated {counts.repeated}"
            f" + rejected {counts.rejected}",
        ]
        if counts.superseded:
            text.append(f"left alone {counts.superseded} lines of days that another delivery holds")
        if self.reasons:
            grouped = ", ".join(f"{reason} {number}" for reason, number in self.reasons.items())
            text.append(f"rejected by reason: {grouped} (staging.quarantine)")
        if self.unknown_columns:
            text.append(f"columns not known, ignored: {', '.join(map(repr, self.unknown_columns))}")
        if not self.summary.empty:
            text += ["", self.summary.to_string(index=False)]
        return "\n".join(text)


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
        orders: opens the file; called again if the transaction has to be tried again.
        started_at: when the load began, by `warehouse_clock`, before the file was fetched.
        max_rejected_share: 0 to 1; a larger share of rejected lines refuses the delivery.
        allow_empty: let the delivery empty days that have order lines.
        dry_run: do everything, then roll back.

    Raises:
        DeliveryRefused: nothing of the delivery was loaded; the message says why.
        TransientError: if the warehouse went away, is busy, or stayed deadlocked.
    """

    def attempt() -> tuple[LoadResult, str | None]:
        with orders() as file, transaction(commit=not dry_run) as cursor:
            _copy(cursor, file)
            lock(cursor, "staging.user_order_log")
            days = _covered_days(cursor, delivery, started_at)
            _judge_repetitions(cursor, days)
            counts = _counts(cursor)
            refusal = file.refusal or _refusal(
                cursor, delivery, counts, days, max_rejected_share, allow_empty=allow_empty
            )
            if refusal is None:
                _replace(cursor, days)
            result = LoadResult(
                delivery,
                "refused" if refusal else "would be loaded" if dry_run else "loaded",
                counts,
                file.unknown_columns,
                _reasons(cursor),
                _summary(cursor),
            )
            _record(cursor, result, refusal, file.header, source_file, sha256, started_at, days)
            return result, refusal

    result, refusal = tried_again(attempt)
    if refusal is not None:
        raise DeliveryRefused(f"{delivery.name} ({source_file}): {refusal}\n{result.describe()}")
    return result


@dataclass(frozen=True)
class ReplayResult:
    """What became of rejected lines that were judged again; `days` are those the delivery holds."""

    counts: Counts
    reasons: dict[str, int]
    days: list[date]


def replay(delivery_id: int, lines: Callable[[], Iterable[JudgedLine]]) -> ReplayResult:
    """Add to an accepted delivery those of its rejected lines that are acceptable now.

    Lines are known by their number. One that is not in quarantine, or no longer, is passed over, so
    that a second run changes nothing; one of a day that another delivery holds by now stays there.

    Args:
        lines: gives the lines, judged; called again if the transaction has to be tried again.

    Raises:
        TransientError: as `land`.
    """

    def attempt() -> ReplayResult:
        with transaction() as cursor:
            _copy(cursor, lines())
            lock(cursor, "staging.user_order_log")
            _keep_rejected(cursor, delivery_id)
            cursor.execute(
                "select day from staging.delivery_day where delivery_id = %s order by day",
                (delivery_id,),
            )
            days = [day for (day,) in cursor.fetchall()]
            _judge_beside_staging(cursor, days)
            counts = _counts(cursor)
            _insert(cursor)
            _record_replay(cursor, delivery_id, counts)
            return ReplayResult(counts, _reasons(cursor), days)

    return tried_again(attempt)


def _copy(cursor: Cursor, file: Iterable[JudgedLine]) -> None:
    """Bring every line into a temporary table; the order columns of rejected ones are null."""
    cursor.execute(
        """
        create temporary table incoming on commit drop as
        select 0::bigint as line_number, ''::text as raw_line, ''::text as reason,
            null::date as day, orders.*
        from staging.user_order_log as orders
        with no data
        """
    )
    columns = ", ".join(("line_number", "raw_line", "reason", "day", *ORDER_COLUMNS))
    cursor.copy_expert(
        f"copy incoming ({columns}) from stdin with (format csv)",
        io.BufferedReader(_CsvStream(file)),
    )


class _CsvStream(io.RawIOBase):
    """Judged lines as the CSV that COPY reads, made as it is read, so that memory stays flat."""

    _NO_ORDER = (None,) * len(ORDER_COLUMNS)

    def __init__(self, lines: Iterable[JudgedLine]) -> None:
        self._blocks = self._encoded(iter(lines))
        self._rest = b""

    @classmethod
    def _encoded(cls, lines: Iterator[JudgedLine]) -> Iterator[bytes]:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        for line in lines:
            order = astuple(line.order) if line.order else cls._NO_ORDER
            writer.writerow((line.line_number, line.raw_line, line.reason, line.day, *order))
            if buffer.tell() > io.DEFAULT_BUFFER_SIZE:
                yield buffer.getvalue().encode()
                buffer.seek(0)
                buffer.truncate()
        yield buffer.getvalue().encode()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        if not self._rest:
            self._rest = next(self._blocks, b"")
        size = min(len(target), len(self._rest))
        target[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _covered_days(cursor: Cursor, delivery: Delivery, started_at: datetime) -> list[date]:
    """The days the delivery replaces.

    A history load leaves alone what an increment delivered, which knows more; and any load what
    another delivered that began later: a task that outlives its own retry must not undo it.
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


def _judge_repetitions(cursor: Cursor, days: list[date]) -> None:
    """Tell what only shows beside other lines: repeated, in conflict, or of a superseded day."""
    columns = ", ".join(ORDER_COLUMNS)
    cursor.execute(
        f"""
        create temporary table judged on commit drop as
        select
            line_number, raw_line, {columns},
            case
                when day is not null and day != all(%(days)s::date[]) then 'superseded'
                when reason is not null then reason
                when line_number = first_line then 'loaded'
                when content = first_content then 'repeated'
                else 'conflict'
            end as verdict
        from (
            select *,
                first_value(line_number) over same_key as first_line,
                first_value(content) over same_key as first_content
            from (
                select *, cast(row({columns}) as text) as content
                from incoming
            ) as contents
            window same_key as (partition by reason is null, day, uniq_id order by line_number)
        ) as firsts
        """,  # noqa: S608 - the names are this module's own
        {"days": days},
    )


def _counts(cursor: Cursor) -> Counts:
    cursor.execute("select verdict, count(*) from judged group by verdict")
    numbers = dict(cursor.fetchall())
    loaded, repeated, superseded = (
        numbers.pop(verdict, 0) for verdict in ("loaded", "repeated", "superseded")
    )
    rejected = sum(numbers.values())
    return Counts(loaded + repeated + rejected, loaded, repeated, rejected, superseded)


def _reasons(cursor: Cursor) -> dict[str, int]:
    cursor.execute(
        """
        select verdict, count(*) from judged
        where verdict not in ('loaded', 'repeated', 'superseded')
        group by verdict order by count(*) desc, verdict
        """
    )
    return dict(cursor.fetchall())


def _refusal(
    cursor: Cursor,
    delivery: Delivery,
    counts: Counts,
    days: list[date],
    max_rejected_share: float,
    *,
    allow_empty: bool,
) -> str | None:
    if counts.rejected > max_rejected_share * counts.received:
        cursor.execute(
            """
            select line_number, verdict from judged
            where verdict not in ('loaded', 'repeated', 'superseded') order by 1 limit 1
            """
        )
        line_number, reason = row(cursor)
        return (
            f"{counts.rejected} of {counts.received} lines rejected, more than"
            f" {100 * max_rejected_share:g}% (MAX_REJECTED_SHARE); the first is line {line_number}"
            f" ({reason})"
        )
    if not allow_empty:
        cursor.execute(
            """
            select cast(date_time as date) from staging.user_order_log
            where cast(date_time as date) = any(%(days)s::date[])
            except
            select cast(date_time as date) from judged where verdict = 'loaded'
            order by 1
            """,
            {"days": days},
        )
        if emptied := [f"{day}" for (day,) in cursor.fetchall()]:
            return (
                f"it would empty {', '.join(emptied)}, which has order lines now;"
                " if that is meant, say --allow-empty (DAG parameter allow_empty)"
            )
    return None


def _replace(cursor: Cursor, days: list[date]) -> None:
    cursor.execute(
        "delete from staging.user_order_log where cast(date_time as date) = any(%s::date[])",
        (days,),
    )
    _insert(cursor)


def _insert(cursor: Cursor) -> None:
    columns = ", ".join(ORDER_COLUMNS)
    cursor.execute(
        f"insert into staging.user_order_log ({columns})"  # noqa: S608
        f" select {columns} from judged where verdict = 'loaded'"
    )


def _summary(cursor: Cursor) -> pd.DataFrame:
    cursor.execute(
        """
        select cast(date_time as date), status, count(*), sum(quantity), sum(payment_amount)
        from judged where verdict = 'loaded' group by 1, 2 order by 1, 2
        """
    )
    columns = ["date", "status", "rows", "quantity", "payment_amount"]
    return pd.DataFrame(cursor.fetchall(), columns=columns)


def _record(
    cursor: Cursor,
    result: LoadResult,
    refusal: str | None,
    header: str,
    source_file: str,
    sha256: str,
    started_at: datetime,
    days: list[date],
) -> None:
    """Write the ledger row, the rejected lines, and which delivery the days now come from."""
    delivery = result.delivery
    cursor.execute(
        """
        insert into staging.delivery (
            kind, outcome, refusal, report_id, increment_id, source_file, sha256, header,
            first_day, last_day, received, loaded, repeated, rejected, superseded,
            quantity, payment_amount, unknown_columns, started_at
        )
        select
            %(kind)s, %(outcome)s, %(refusal)s, %(report_id)s, %(increment_id)s, %(source_file)s,
            %(sha256)s, %(header)s, %(first_day)s, %(last_day)s, %(received)s, %(loaded)s,
            %(repeated)s, %(rejected)s, %(superseded)s, coalesce(sum(quantity), 0),
            coalesce(sum(payment_amount), 0), %(unknown_columns)s::text[], %(started_at)s
        from judged where verdict = 'loaded'
        returning delivery_id
        """,
        {
            **asdict(delivery),
            **asdict(result.counts),
            "outcome": "refused" if refusal else "accepted",
            "refusal": refusal,
            "source_file": source_file,
            "sha256": sha256,
            "header": header,
            "unknown_columns": result.unknown_columns,
            "started_at": started_at,
        },
    )
    (delivery_id,) = row(cursor)
    cursor.execute(
        """
        insert into staging.quarantine (delivery_id, line_number, reason, raw_line)
        select %s, line_number, verdict, raw_line from judged
        where verdict not in ('loaded', 'repeated', 'superseded')
        """,
        (delivery_id,),
    )
    if refusal is None:
        cursor.execute(
            """
            insert into staging.delivery_day (day, delivery_id)
            select unnest(%s::date[]), %s
            on conflict (day) do update set delivery_id = excluded.delivery_id
            """,
            (days, delivery_id),
        )


def _keep_rejected(cursor: Cursor, delivery_id: int) -> None:
    """Keep of `incoming` what is in quarantine still, and may be judged again."""
    # Joined with a table that may have no statistics yet: without it every line looks at every one.
    cursor.execute("create index on incoming (line_number)")
    cursor.execute(
        """
        delete from incoming where not exists (
            select from staging.quarantine
            where delivery_id = %s and quarantine.line_number = incoming.line_number
                and replayed_at is null
        )
        """,
        (delivery_id,),
    )
    # As kept they may look acceptable, but that is not what was delivered: only a correction helps.
    cursor.execute(
        """
        update incoming set reason = quarantine.reason from staging.quarantine
        where delivery_id = %s and quarantine.line_number = incoming.line_number
            and quarantine.raw_line = incoming.raw_line and quarantine.reason = any(%s)
        """,
        (delivery_id, list(ALTERED)),
    )


def _judge_beside_staging(cursor: Cursor, days: list[date]) -> None:
    """Judge repetitions and conflicts as if what stands in staging came first, as line 0."""
    columns = ", ".join(ORDER_COLUMNS)
    cursor.execute(
        f"""
        insert into incoming (line_number, raw_line, day, {columns})
        select 0, '', cast(date_time as date), {columns} from staging.user_order_log
        where cast(date_time as date) = any(%s::date[])
        """,  # noqa: S608
        (days,),
    )
    _judge_repetitions(cursor, days)
    cursor.execute("delete from judged where line_number = 0")
    cursor.execute("create index on judged (line_number)")  # as that on incoming


def _record_replay(cursor: Cursor, delivery_id: int, counts: Counts) -> None:
    """Mark the lines that left quarantine, and move them in the ledger row."""
    cursor.execute(
        """
        update staging.quarantine set
            replayed_at = clock_timestamp(),
            replayed_as = verdict,
            corrected_line = nullif(judged.raw_line, quarantine.raw_line)
        from judged
        where delivery_id = %s and quarantine.line_number = judged.line_number
            and verdict in ('loaded', 'repeated')
        """,
        (delivery_id,),
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
            from judged where verdict = 'loaded'
        ) as replayed
        where delivery_id = %(delivery_id)s
        """,
        {**asdict(counts), "delivery_id": delivery_id},
    )

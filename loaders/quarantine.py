"""Rejected lines: the list of them, the lines as CSV, and judging them again after a fix.

    list -> show --output rejected.csv -> correct raw_line in it -> replay --lines rejected.csv

A replayed line stays in staging.quarantine, marked with the result. The lines of a refused delivery
cannot be replayed, because none of that delivery was loaded; the whole corrected file can.
"""

import csv
import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TextIO

from loaders import landing, settings, warehouse
from loaders.deliveries import Delivery
from loaders.errors import DeliveryRefused, TerminalError
from loaders.landing import ReplayResult
from loaders.order_file import MAX_LINE_LENGTH, JudgedLine, LineRules, OrderFile

# Of a row of staging.delivery: it was refused, and not all of its days have come in another way.
WAITING = """
    outcome = 'refused' and exists (
        select from generate_series(first_day, last_day, '1 day') as days (day)
        where not exists (
            select from staging.delivery_day as held
            inner join staging.delivery as holder using (delivery_id)
            where held.day = days.day and (
                -- A replay of the whole file began, for the ledger, when it did.
                (holder.started_at, holder.delivery_id)
                > (delivery.started_at, delivery.delivery_id)
                or (holder.kind = 'increment' and delivery.kind = 'history')
            )
        )
    )
"""

EXPORTED_COLUMNS = ("delivery_id", "line_number", "reason", "raw_line")
# The export writes a byte that is not UTF-8 as four characters.
csv.field_size_limit(4 * MAX_LINE_LENGTH)


@dataclass(frozen=True)
class LedgerRow:
    """A delivery from staging.delivery, without its address, which may hold a signature."""

    delivery_id: int
    delivery: Delivery
    outcome: str
    header: str | None
    started_at: datetime

    @classmethod
    def read(cls, delivery_id: int) -> "LedgerRow":
        """Return the row.

        Raises:
            TerminalError: if there is no such delivery.
        """
        found = list(
            warehouse.rows(
                """
                select outcome, header, started_at,
                    kind, report_id, increment_id, first_day, last_day, '' as orders_url
                from staging.delivery where delivery_id = %(delivery_id)s
                """,
                {"delivery_id": delivery_id},
            )
        )
        if not found:
            raise TerminalError(f"there is no delivery {delivery_id} (see staging.delivery)")
        ((outcome, header, started_at, *announced),) = found
        return cls(delivery_id, Delivery(*announced), outcome, header, started_at)

    @property
    def name(self) -> str:
        """The name of the delivery in messages."""
        return f"delivery {self.delivery_id} ({self.delivery.name})"


def listed(delivery_id: int | None = None) -> Iterator[str]:
    """Yield the lines of a report on rejected lines: newest delivery first, grouped by reason."""
    found = warehouse.rows(
        f"""
        select
            delivery_id, kind, report_id, increment_id, first_day, last_day, '' as orders_url,
            case
                when {WAITING} then 'refused: ' || refusal
                when outcome = 'refused' then 'refused, its days delivered again since: ' || refusal
                when exists (
                    select from staging.delivery_day as held
                    where held.delivery_id = delivery.delivery_id
                ) then 'current'
                else 'replaced by a later delivery'
            end,
            reason, count(line_number), min(line_number)
        from staging.delivery
        left join staging.quarantine using (delivery_id)
        where replayed_at is null
            and (line_number is not null or outcome = 'refused')
            and delivery_id = coalesce(%(delivery_id)s, delivery_id)
        group by delivery.delivery_id, reason
        order by delivery_id desc, count(line_number) desc, reason
        """,  # noqa: S608 - the condition is this module's own
        {"delivery_id": delivery_id},
    )
    last = None
    for this, *announced, state, reason, number, first in found:
        if this != last:
            yield f"delivery {this} ({Delivery(*announced).name}): {state}"
            last = this
        if reason:
            yield f"  {reason}: {number} lines, the first is line {first}"
    if last is None:
        yield "nothing is rejected"


def export(delivery_id: int, reason: str | None, output: Path | None) -> None:
    """Write the rejected lines of a delivery, or those with one reason, as CSV to a file or stdout.

    Raises:
        TerminalError: if there is no such delivery, or the file cannot be written.
    """
    LedgerRow.read(delivery_id)
    if output is None:
        _export(delivery_id, reason, sys.stdout)
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as target:
            _export(delivery_id, reason, target)
    except OSError as error:
        raise TerminalError(f"{output} cannot be written: {error.strerror}") from error


def _export(delivery_id: int, reason: str | None, target: TextIO) -> None:
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(EXPORTED_COLUMNS)
    writer.writerows(
        warehouse.rows(
            """
            select delivery_id, line_number, reason, raw_line from staging.quarantine
            where delivery_id = %(delivery_id)s and replayed_at is null
                and reason = coalesce(%(reason)s, reason)
            order by line_number
            """,
            {"delivery_id": delivery_id, "reason": reason},
        )
    )


def replay(delivery_id: int, corrections: Path | None = None) -> str:
    """Judge the rejected lines of an accepted delivery again; return the text for the operator.

    Args:
        corrections: rejected lines as `export` writes them, with raw_line corrected. Without it the
            lines as delivered are judged by today's rules.

    Raises:
        DeliveryRefused: if the delivery was refused: the whole file has to be corrected.
        TerminalError: if the corrections cannot be read.
    """
    row = LedgerRow.read(delivery_id)
    if row.outcome == "refused":
        raise DeliveryRefused(
            f"{row.name} was refused, so none of it was loaded: replay the whole file, corrected"
            f" (quarantine replay --delivery {delivery_id} --file corrected.csv)"
        )
    if row.header is None:
        raise TerminalError(
            f"{row.name} was loaded before headers were kept: replay the whole file, corrected"
            f" (quarantine replay --delivery {delivery_id} --file corrected.csv)"
        )
    rules = LineRules(row.header, row.delivery.first_day, row.delivery.last_day)
    corrected = None if corrections is None else list(_corrected(corrections, delivery_id))

    def lines() -> Iterator[JudgedLine]:
        for line_number, text in _rejected(delivery_id) if corrected is None else corrected:
            yield rules.judge(line_number, text)

    result = landing.replay(delivery_id, lines)
    return "\n".join(_described(row, result))


def replay_file(delivery_id: int, path: Path, *, allow_empty: bool = False) -> str:
    """Load a whole corrected file in place of the delivered one; return the operator's text.

    The file counts as that delivery in time, too: it leaves alone a day that a later one holds.

    Raises:
        DeliveryRefused: if the corrected file is not acceptable either.
        TerminalError: if it cannot be read.
    """
    row = LedgerRow.read(delivery_id)
    delivery = row.delivery
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TerminalError(f"{path.name} cannot be read: {error.strerror}") from error
    result = landing.land(
        delivery,
        lambda: OrderFile(path, delivery.first_day, delivery.last_day),
        source_file=path.name,
        sha256=sha256,
        started_at=row.started_at,
        max_rejected_share=settings.max_rejected_share(),
        allow_empty=allow_empty,
    )
    return f"{result.describe()}\n\n{_rebuild(delivery.first_day, delivery.last_day)}"


def _rebuild(first_day: date, last_day: date) -> str:
    """Return the command that builds these days in the marts."""
    window = f"ds: {first_day}"
    if first_day != last_day:
        window = f"ds_start: {first_day}, ds_end: {last_day}"
    return f"now rebuild the marts: dbt run --vars '{{{window}}}'"


def _rejected(delivery_id: int) -> Iterator[tuple[Any, ...]]:
    return warehouse.rows(
        """
        select line_number, raw_line from staging.quarantine
        where delivery_id = %(delivery_id)s and replayed_at is null
        """,
        {"delivery_id": delivery_id},
    )


def _corrected(path: Path, delivery_id: int) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of an exported file; refuse any other file."""
    seen = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            names = lines.fieldnames or ()
            if missing := [name for name in EXPORTED_COLUMNS if name not in names]:
                raise TerminalError(
                    f"{path.name}: missing {', '.join(missing)}: not a file of quarantine show"
                )
            for line in lines:
                where = f"{path.name}, line {lines.line_num}"
                if line["delivery_id"] != str(delivery_id):
                    raise TerminalError(f"{where}: not a line of delivery {delivery_id}")
                number, text = line["line_number"] or "", line["raw_line"] or ""
                if not re.fullmatch("[0-9]{1,18}", number):
                    raise TerminalError(f"{where}: line_number is {number!r}, not a number")
                if int(number) in seen:
                    raise TerminalError(f"{where}: line_number {number} stands there twice")
                if "\n" in text or "\r" in text:
                    raise TerminalError(f"{where}: raw_line holds a line break")
                seen.add(int(number))
                yield int(number), text
    except OSError as error:
        raise TerminalError(f"{path.name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TerminalError(f"{path.name} cannot be read: it is not UTF-8") from error
    except csv.Error as error:
        raise TerminalError(f"{path.name} cannot be read: {error}") from error


def _described(row: LedgerRow, result: ReplayResult) -> Iterator[str]:
    counts = result.counts
    yield (
        f"{row.name}: replayed {counts.received}"
        f" = loaded {counts.loaded} + repeated {counts.repeated} + still rejected {counts.rejected}"
    )
    if result.reasons:
        yield f"still rejected by reason: {landing.described(result.reasons)}"
    if counts.superseded:
        yield f"left in quarantine {counts.superseded} lines of days that another delivery holds"
    # Even if this run has added nothing: an earlier run may have ended before it printed this.
    if result.days:
        yield _rebuild(result.days[0], result.days[-1])

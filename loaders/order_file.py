"""Reads a file of order lines and judges every line by itself.

One physical line is one order line: no field of the service holds a line break, and taking lines
one by one keeps an unclosed quote from swallowing the rest of the file. What the rules mean stands
in docs/data_model.md.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from loaders.errors import DeliveryRefused

REQUIRED_COLUMNS = (
    "uniq_id",
    "date_time",
    "city_id",
    "city_name",
    "customer_id",
    "first_name",
    "last_name",
    "item_id",
    "item_name",
    "quantity",
    "payment_amount",
)
# id numbers the lines of one file and is no key; files from before refunds have no status.
KNOWN_COLUMNS = (*REQUIRED_COLUMNS, "id", "status")
STATUSES = ("shipped", "refunded")
# The span of mart.d_calendar.
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2049, 12, 31)
# Of staging.user_order_log.
UNIQ_ID_LENGTH, NAME_LENGTH = 32, 100
MAX_INTEGER, MAX_BIGINT = 2**31 - 1, 2**63 - 1
# A real line has about 150 characters. Longer ones are read in pieces, so that memory stays flat.
MAX_LINE_LENGTH = 64 * 1024

# Reasons whose raw line is not what was delivered: bytes as escapes, or the start of the line only.
ALTERED = ("not_utf8", "nul_byte", "line_too_long")

_INTEGER = re.compile(r"[0-9]{1,19}")
_AMOUNT = re.compile(r"0*[0-9]{1,8}(\.[0-9]{1,2})?")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?)?"
)


class _Rejected(Exception):
    """The line cannot be accepted; the one argument is the reason as quarantine shows it."""


@dataclass(frozen=True, slots=True)
class OrderLine:
    """The values of one order line, in the order of REQUIRED_COLUMNS, then the status."""

    uniq_id: str
    date_time: datetime
    city_id: int
    city_name: str
    customer_id: int
    first_name: str
    last_name: str
    item_id: int
    item_name: str
    quantity: int
    payment_amount: Decimal
    status: str


@dataclass(frozen=True, slots=True)
class JudgedLine:
    """A data line of the file: accepted by the rules of a single line, or the reason why not.

    `day` is that of the line, also of a rejected one if that much could be read.
    """

    line_number: int
    raw_line: str
    order: OrderLine | None
    reason: str | None
    day: date | None


class LineRules:
    """Judges the data lines that stand under one header, each by itself.

    Args:
        header: the first line of the file.
        first_day, last_day: the days the delivery covers; other days are rejected.

    Raises:
        DeliveryRefused: if the header does not hold the required columns, each once.
    """

    def __init__(self, header: str, first_day: date, last_day: date) -> None:
        self._first_day, self._last_day = first_day, last_day
        columns = _columns(header)
        self._column_count = len(columns)
        self.unknown_columns = [name for name in columns if name not in KNOWN_COLUMNS]
        self._positions = [columns.index(name) for name in REQUIRED_COLUMNS]
        self._date_time_position = columns.index("date_time")
        self._status_position = columns.index("status") if "status" in columns else None

    def judge(self, line_number: int, text: str) -> JudgedLine:
        """Return the order line that `text` holds, or the reason why it cannot be accepted."""
        order = reason = day = None
        try:
            fields = _fields(text)
            if len(fields) != self._column_count:
                raise _Rejected("column_count")
            moment = self._moment(fields[self._date_time_position])
            day = moment.date()
            order = self._order(fields, moment)
        except _Rejected as rejected:
            reason = str(rejected)
        return JudgedLine(line_number, _printable(text), order, reason, day)

    def _order(self, fields: Sequence[str], moment: datetime) -> OrderLine:
        (
            uniq_id,
            _,
            city_id,
            city_name,
            customer_id,
            first_name,
            last_name,
            item_id,
            item_name,
            quantity,
            payment_amount,
        ) = (fields[position] for position in self._positions)
        status = "" if self._status_position is None else fields[self._status_position]
        return OrderLine(
            _uniq_id(uniq_id),
            moment,
            _integer(city_id, "city_id"),
            _name(city_name, "city_name"),
            _integer(customer_id, "customer_id"),
            _name(first_name, "first_name"),
            _name(last_name, "last_name"),
            _integer(item_id, "item_id"),
            _name(item_name, "item_name"),
            _integer(quantity, "quantity", smallest=1, largest=MAX_BIGINT),
            _amount(payment_amount),
            _status(status),
        )

    def _moment(self, text: str) -> datetime:
        if not _MOMENT.fullmatch(text.strip()):
            raise _Rejected("date_time")
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            raise _Rejected("date_time") from None
        if not FIRST_DAY <= moment.date() <= LAST_DAY:
            raise _Rejected("outside_calendar")
        if not self._first_day <= moment.date() <= self._last_day:
            raise _Rejected("outside_delivery")
        return moment


class OrderFile:
    """One open file of order lines. Iterating gives a `JudgedLine` for every line that has text.

    A file whose header breaks the contract gives no lines; `refusal` says why.

    Args:
        path: UTF-8 with or without a byte order mark; LF, CRLF or CR.
        first_day, last_day: the days the delivery covers; other days are rejected.
    """

    def __init__(self, path: Path, first_day: date, last_day: date) -> None:
        # Bytes that are not UTF-8 cost their line, not the file.
        self._file: TextIO = path.open(encoding="utf-8-sig", errors="surrogateescape", newline=None)
        header = self._file.readline(MAX_LINE_LENGTH).rstrip("\n")
        self.header = _printable(header)
        self.refusal: str | None = None
        self.unknown_columns: list[str] = []
        try:
            self._rules = LineRules(header, first_day, last_day)
            self.unknown_columns = self._rules.unknown_columns
        except DeliveryRefused as refused:
            self.refusal = f"line 1: {refused}"

    def __enter__(self) -> "OrderFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[JudgedLine]:
        if self.refusal is None:
            for line_number, text in self._lines(first_line=2):
                yield self._rules.judge(line_number, text)

    def _lines(self, first_line: int) -> Iterator[tuple[int, str]]:
        line_number = first_line - 1
        while piece := self._file.readline(MAX_LINE_LENGTH):
            line_number += 1
            text = piece.rstrip("\n")
            # The rest of an over-long line; what was kept is enough to recognise it by.
            while not piece.endswith("\n") and (piece := self._file.readline(MAX_LINE_LENGTH)):
                pass
            # Of an over-long line only the beginning is known to be blank.
            if text.strip() or len(text) >= MAX_LINE_LENGTH:
                yield line_number, text


def _columns(header: str) -> list[str]:
    """Return the names of the header's columns; refuse those that break the contract."""
    if not header.strip():
        raise DeliveryRefused("there is no header")
    if "\0" in header:
        raise DeliveryRefused("the header holds NUL bytes: not a UTF-8 text file (UTF-16?)")
    try:
        columns = [name.strip() for name in _fields(header)]
    except _Rejected as rejected:
        raise DeliveryRefused(f"the header cannot be read ({rejected})") from None
    problems = []
    if missing := [name for name in REQUIRED_COLUMNS if name not in columns]:
        problems.append(f"missing {', '.join(missing)}")
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        problems.append(f"more than once {_shown(repeated)}")
    if problems:
        if unknown := [name for name in columns if name not in KNOWN_COLUMNS]:
            problems.append(f"not known {_shown(unknown)}")
        for delimiter in (";", "\t", "|"):
            if set(REQUIRED_COLUMNS) <= {name.strip('" ') for name in header.split(delimiter)}:
                problems = [f"separated by {delimiter!r}, not by ','"]
        raise DeliveryRefused(f"columns of the header: {'; '.join(problems)}")
    return columns


def _shown(names: Sequence[str]) -> str:
    """Names from a file as a message shows them: escaped, and not a page of them."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(repr(name[:50]) for name in names[:10]) + more


def _fields(text: str) -> Sequence[str]:
    if len(text) >= MAX_LINE_LENGTH:
        raise _Rejected("line_too_long")
    if "\0" in text:
        raise _Rejected("nul_byte")
    if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
        raise _Rejected("not_utf8")
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error:
        raise _Rejected("quoting") from None


def _uniq_id(text: str) -> str:
    text = text.strip()
    if not 1 <= len(text) <= UNIQ_ID_LENGTH:
        raise _Rejected("uniq_id")
    return text


def _integer(text: str, name: str, smallest: int = 0, largest: int = MAX_INTEGER) -> int:
    text = text.strip()
    if not _INTEGER.fullmatch(text) or not smallest <= int(text) <= largest:
        raise _Rejected(name)
    return int(text)


def _amount(text: str) -> Decimal:
    text = text.strip()
    if not _AMOUNT.fullmatch(text):
        raise _Rejected("payment_amount")
    return Decimal(text)


def _name(text: str, name: str) -> str:
    if len(text) > NAME_LENGTH:
        raise _Rejected(name)
    return text


def _status(text: str) -> str:
    status = text.strip().lower() or "shipped"
    if status not in STATUSES:
        raise _Rejected("status")
    return status


def _printable(text: str) -> str:
    """Return the line as PostgreSQL can keep it: bytes it has no characters for become escapes."""
    raw = text.encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")

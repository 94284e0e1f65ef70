"""Reads a file of order lines and judges every line by itself.

One physical line is one order line: no field of the service holds a line break, and reading line by
line keeps an unclosed quote from swallowing the rest of the file. docs/data_model.md explains the
rules.

Nearly every line is plain, which means acceptable as it stands. The rule of each column says which
values are. Joined, the rules match a stretch of plain lines in one step, and PostgreSQL reads that
stretch as it is. This module splits only the other lines into fields
(docs/decisions/0006-landing.md).
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TextIO

from loaders.errors import DeliveryRefused

STATUSES = ("shipped", "refunded")
# The status of a line without one, and of every line of a file without that column.
DEFAULT_STATUS = "shipped"
# The span of mart.d_calendar.
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2049, 12, 31)
# The sizes of the columns of staging.user_order_log.
UNIQ_ID_LENGTH, NAME_LENGTH = 32, 100
MAX_INTEGER, MAX_BIGINT = 2**31 - 1, 2**63 - 1
# In characters; a real line has about 150. Longer lines are read in pieces, so that memory does not
# grow.
MAX_LINE_LENGTH = 64 * 1024
# A plain line with this many columns is not longer than MAX_LINE_LENGTH.
MAX_COLUMNS = 500

# With these reasons the raw line is not as delivered: it has bytes as escapes, or only its start.
ALTERED = ("not_utf8", "nul_byte", "line_too_long")

_TIME = r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6}+)?)?"
_MOMENT = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}{_TIME}")
_INTEGER = re.compile(r"[0-9]{1,19}")
_AMOUNT = re.compile(r"0*[0-9]{1,8}(\.[0-9]{1,2})?")

_BYTE_ORDER_MARK = "\ufeff"
# While the file is read, a character is a byte. In UTF-8 a character has at most four bytes.
_BLOCK = 64 * 1024
_LONGEST_LINE = 4 * MAX_LINE_LENGTH


class _Rejected(Exception):
    """The line cannot be accepted.

    `reason` is what quarantine shows (by default the column's name); `hint` says what to do.
    """

    def __init__(self, reason: str = "", hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


class Rule(Protocol):
    """Which values of a column are acceptable.

    `plain` is a regular expression, over bytes, for values that are acceptable as they stand:
    PostgreSQL's COPY reads each as the value that `judge` returns.
    """

    @property
    def plain(self) -> str: ...

    def judge(self, text: str) -> Any:
        """Return the value of a field, or raise `_Rejected`."""


class UniqId:
    # Printable ASCII except blank, quote and comma.
    plain = rf"[!#-+\--~]{{1,{UNIQ_ID_LENGTH}}}+"

    def judge(self, text: str) -> str:
        text = text.strip()
        if not 1 <= len(text) <= UNIQ_ID_LENGTH:
            raise _Rejected
        return text


@dataclass(frozen=True)
class Moment:
    """A moment on a day that the delivery covers, first and last day included."""

    first_day: date
    last_day: date

    @property
    def plain(self) -> str:
        first, last = max(self.first_day, FIRST_DAY), min(self.last_day, LAST_DAY)
        count = max((last - first).days + 1, 0)
        return _one_of({f"{first + timedelta(days=number)}" for number in range(count)}) + _TIME

    def judge(self, text: str) -> datetime:
        text = text.strip()
        if not _MOMENT.fullmatch(text):
            raise _Rejected
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise _Rejected from None
        if not FIRST_DAY <= moment.date() <= LAST_DAY:
            raise _Rejected("outside_calendar")
        if not self.first_day <= moment.date() <= self.last_day:
            raise _Rejected("outside_delivery")
        return moment


@dataclass(frozen=True)
class Integer:
    smallest: int = 0  # or 1
    largest: int = MAX_INTEGER

    @property
    def plain(self) -> str:
        # A number with fewer digits than the largest is not larger.
        return rf"[{self.smallest}-9][0-9]{{0,{len(str(self.largest)) - 2}}}+"

    def judge(self, text: str) -> int:
        text = text.strip()
        if not _INTEGER.fullmatch(text):
            if re.fullmatch(r"[0-9]+\.0+", text):
                raise _Rejected(
                    hint="whole numbers have no decimals: a spreadsheet may have added the .0,"
                    " and saves the column without if its format is a number of 0 decimals"
                )
            raise _Rejected
        if not self.smallest <= int(text) <= self.largest:
            raise _Rejected
        return int(text)


class Amount:
    plain = r"[0-9]{1,8}+(?:\.[0-9]{1,2}+)?"

    def judge(self, text: str) -> Decimal:
        text = text.strip()
        if not _AMOUNT.fullmatch(text):
            raise _Rejected
        return Decimal(text)


class Name:
    # So many bytes are at most so many characters.
    plain = rf'[^,"\n\0]{{0,{NAME_LENGTH}}}+'

    def judge(self, text: str) -> str:
        if len(text) > NAME_LENGTH:
            raise _Rejected
        return text


class Status:
    plain = f"(?:{'|'.join(STATUSES)})?"

    def judge(self, text: str) -> str:
        status = text.strip().lower() or DEFAULT_STATUS
        if status not in STATUSES:
            raise _Rejected
        return status


class OrderLine(NamedTuple):
    """The values of one order line, by the names of the columns in the file and in staging."""

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
    # Files from before refunds have no status.
    status: str = DEFAULT_STATUS


ORDER_COLUMNS = OrderLine._fields
REQUIRED_COLUMNS = tuple(name for name in ORDER_COLUMNS if name != "status")
# `id` numbers the lines of one file and is not a key.
KNOWN_COLUMNS = (*ORDER_COLUMNS, "id")


def _rules(first_day: date, last_day: date) -> dict[str, Rule]:
    """Return the rule of each column, for a delivery of these days.

    They are judged in this order; the first that fails gives the reason.
    """
    return {
        "date_time": Moment(first_day, last_day),
        "uniq_id": UniqId(),
        "city_id": Integer(),
        "city_name": Name(),
        "customer_id": Integer(),
        "first_name": Name(),
        "last_name": Name(),
        "item_id": Integer(),
        "item_name": Name(),
        "quantity": Integer(smallest=1, largest=MAX_BIGINT),
        "payment_amount": Amount(),
        "status": Status(),
    }


class JudgedLine(NamedTuple):
    """A data line of the file: accepted by the rules of a single line, or the reason why not.

    `day` is the day of the line; for a rejected line only if it could be read. For some reasons
    `hint` says what to do.
    """

    line_number: int
    raw_line: str
    order: OrderLine | None
    reason: str | None
    day: date | None
    hint: str = ""


class LineRules:
    """Judges the data lines under one header, each by itself.

    `columns` are the names in the header; `unknown_columns` are those that nothing reads. A column
    without a name is ignored as long as it holds no value.

    Args:
        header: the first line of the file.
        first_day, last_day: the days the delivery covers; other days are rejected.

    Raises:
        DeliveryRefused: unless the header holds each required column once.
    """

    def __init__(self, header: str, first_day: date, last_day: date) -> None:
        self.columns = _columns(header)
        self.unknown_columns = [name for name in self.columns if name and name not in KNOWN_COLUMNS]
        self._rules = _rules(first_day, last_day)
        self._judged = [
            (name, rule, self.columns.index(name))
            for name, rule in self._rules.items()
            if name in self.columns
        ]
        self._nameless = [index for index, name in enumerate(self.columns) if not name]

    @property
    def refunds_known(self) -> bool:
        """Whether the file says which lines are refunds."""
        return "status" in self.columns

    def plain_lines(self) -> re.Pattern[str]:
        """Return a pattern, over bytes, that matches any number of consecutive plain lines."""
        columns = [
            self._rules[name].plain if name in self._rules else Name.plain if name else ""
            for name in self.columns
        ]
        # Not a possessive repetition, which Python 3.11.0 to 3.11.4 get wrong for groups.
        return re.compile(f"(?:{','.join(columns)}\n)*")

    def judge(self, line_number: int, text: str) -> JudgedLine:
        """Return the order line that `text` holds, or the reason why it cannot be accepted."""
        values: dict[str, Any] = {}
        name, order, reason, hint = "", None, None, ""
        try:
            fields = _fields(text)
            if len(fields) != len(self.columns):
                raise _Rejected("column_count")
            if any(fields[index].strip() for index in self._nameless):
                raise _Rejected("column_count")
            for name, rule, index in self._judged:
                values[name] = rule.judge(fields[index])
            order = OrderLine(**values)
        except _Rejected as rejected:
            reason, hint = rejected.reason or name, rejected.hint
        moment = values.get("date_time")
        day = moment.date() if moment else None
        return JudgedLine(line_number, _printable(text), order, reason, day, hint)


class PlainLines(NamedTuple):
    """Whole lines in UTF-8, each ended by LF; `line_number` is that of the first."""

    line_number: int
    line_count: int
    text: bytes


class OrderFile:
    """One open file of order lines.

    Iterating yields the lines that have text, in the order of the file: stretches of plain lines,
    and every other line judged. If the header breaks the contract, iterating yields nothing,
    `refusal` says why, and `rules` is None.

    Args:
        path: UTF-8 with or without a byte order mark; LF, CRLF or CR.
        first_day, last_day: the days the delivery covers; other days are rejected.
    """

    def __init__(self, path: Path, first_day: date, last_day: date) -> None:
        # In latin-1 every byte is a character. So all kinds of line ends become one, and plain
        # lines need no decoding.
        self._file: TextIO = path.open(encoding="latin-1", newline=None)
        header = _decoded(self._file.readline(_LONGEST_LINE).rstrip("\n"))
        header = header.removeprefix(_BYTE_ORDER_MARK)
        self.header = _printable(header[:MAX_LINE_LENGTH])
        self.rules: LineRules | None = None
        self.refusal: str | None = None
        try:
            self.rules = LineRules(header, first_day, last_day)
        except DeliveryRefused as refused:
            self.refusal = f"line 1: {refused}"

    def __enter__(self) -> "OrderFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[PlainLines | JudgedLine]:
        if self.rules is None:
            return
        plain = self.rules.plain_lines()
        line_number = 2
        for block in self._blocks():
            raw = block.encode("latin-1")
            position = utf8_end = 0
            while position < len(block):
                if position >= utf8_end:
                    utf8_end = _end_of_utf8(raw, position)
                end = plain.match(block, position, utf8_end).end()  # type: ignore[union-attr]
                if end > position:
                    count = block.count("\n", position, end)
                    yield PlainLines(line_number, count, raw[position:end])
                    line_number += count
                else:
                    end = block.index("\n", position) + 1
                    text = _decoded(block[position : end - 1])
                    # Only the beginning of an over-long line is known to be blank.
                    if text.strip() or len(text) >= MAX_LINE_LENGTH:
                        yield self.rules.judge(line_number, text)
                    line_number += 1
                position = end

    def raw_lines(self, line_numbers: Iterable[int]) -> Iterator[tuple[int, str]]:
        """Yield the lines of these ascending numbers, with the number, as quarantine keeps them.

        Reads the file from its beginning, so do not call it while iterating.
        """
        wanted = iter(line_numbers)
        line_number = next(wanted, None)
        first = 2
        for block in self._blocks():
            lines: list[str] = []
            end = first + block.count("\n")
            while line_number is not None and line_number < end:
                lines = lines or block.split("\n")
                yield line_number, _printable(_decoded(lines[line_number - first]))
                line_number = next(wanted, None)
            first = end

    def _blocks(self) -> Iterator[str]:
        """Yield what follows the header: whole lines, one character a byte, each ended by LF."""
        self._file.seek(0)
        self._file.readline()
        while block := self._file.read(_BLOCK):
            if not block.endswith("\n"):
                piece = self._file.readline(_LONGEST_LINE)
                block += piece
                # Skip the rest of an over-long line; the part that was kept identifies it.
                while piece and not piece.endswith("\n"):
                    piece = self._file.readline(_LONGEST_LINE)
                if not block.endswith("\n"):
                    block += "\n"
            yield block


def _end_of_utf8(raw: bytes, start: int) -> int:
    """Return the end of the lines from `start` on that are valid UTF-8."""
    try:
        raw[start:].decode()
    except UnicodeDecodeError as error:
        return raw.rfind(b"\n", start, start + error.start) + 1 or start
    return len(raw)


def _columns(header: str) -> list[str]:
    """Return the names of the header's columns, blank ones too; refuse what breaks the contract."""
    if not header.strip():
        raise DeliveryRefused("there is no header")
    if "\0" in header:
        raise DeliveryRefused("the header holds NUL bytes: not a UTF-8 text file (UTF-16?)")
    try:
        columns = [name.strip() for name in _fields(header)]
    except _Rejected as rejected:
        raise DeliveryRefused(f"the header cannot be read ({rejected.reason})") from None
    if len(columns) >= len(REQUIRED_COLUMNS) and set(columns).isdisjoint(KNOWN_COLUMNS):
        # Not shown: an order line in the header's place says who has ordered.
        raise DeliveryRefused(
            f"columns of the header: none of the {len(columns)} is known; is the header missing?"
        )
    problems = []
    if missing := [name for name in REQUIRED_COLUMNS if name not in columns]:
        problems.append(f"missing {', '.join(missing)}")
    if repeated := sorted({name for name in columns if name and columns.count(name) > 1}):
        problems.append(f"more than once {_shown(repeated)}")
    if problems:
        if unknown := [name for name in columns if name not in KNOWN_COLUMNS]:
            problems.append(f"not known {_shown(unknown)}")
        for delimiter in (";", "\t", "|"):
            if set(REQUIRED_COLUMNS) <= {name.strip('" ') for name in header.split(delimiter)}:
                problems = [f"separated by {delimiter!r}, not by ','"]
    elif len(columns) > MAX_COLUMNS:
        problems.append(f"{len(columns)} of them, more than {MAX_COLUMNS}")
    if problems:
        raise DeliveryRefused(f"columns of the header: {'; '.join(problems)}")
    return columns


def _shown(names: Sequence[str]) -> str:
    """Return names from a file for a message: escaped, and only some of them."""
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


def _one_of(words: Set[str]) -> str:
    """Return a regular expression of these words: letters, digits or hyphens, all of one length."""
    if not words:
        return "(?!)"
    if "" in words:
        return ""
    rests: dict[str, set[str]] = {}
    for word in words:
        rests.setdefault(word[0], set()).add(word[1:])
    # Initials with the same rests become one alternative: the days of a month need only four.
    initials: dict[str, str] = {}
    for initial, rest in sorted(rests.items()):
        expression = _one_of(rest)
        initials[expression] = initials.get(expression, "") + initial
    alternatives = "|".join(f"[{some}]{rest}" for rest, some in initials.items())
    return f"(?:{alternatives})" if len(initials) > 1 else alternatives


def _decoded(line: str) -> str:
    """Return the text of a line that was read as latin-1; bytes that are not UTF-8 are kept."""
    return line.encode("latin-1").decode("utf-8", "surrogateescape")


def _printable(text: str) -> str:
    """Return the line in a form for PostgreSQL: bytes that are no characters become escapes."""
    raw = text[:MAX_LINE_LENGTH].encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")

"""A table of wrong and suspicious files, each with the result it has to have."""

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass

# The outcomes. If a line is rejected, the rest of the delivery is loaded.
LOADED, REJECTED, REFUSED = "loaded", "row rejected", "delivery refused"

DAY = "2024-02-25"
HEADER = (
    "id,uniq_id,date_time,city_id,city_name,customer_id,first_name,last_name"
    ",item_id,item_name,quantity,payment_amount,status"
)
COLUMNS = HEADER.split(",")
# So many good lines that one or two rejected ones are below the 5 % that refuse a delivery.
PLAIN_LINES = 40


@dataclass(frozen=True)
class Case:
    """One file.

    `says` depends on the outcome: the value of `column` in staging, the lines in quarantine with
    their reasons, or the end of the sentence that refuses the delivery. `counts` are received,
    loaded, repeated and rejected.
    """

    name: str
    file: bytes
    outcome: str
    says: str
    counts: tuple[int, int, int, int]
    column: str = ""
    unknown_columns: Sequence[str] = ()
    first_day: str = DAY
    last_day: str | None = None


def values(uniq_id: str, /, **changed: str) -> dict[str, str]:
    """Return the fields of an order line: a plain sale, except for the given values."""
    plain = [uniq_id, f"{DAY}T00:00:00", "1", "Казань", "100", "Вера", "Орлова"]
    plain += ["1", "Кефир 1%", "2", "180", "shipped"]
    return {**dict(zip(COLUMNS, ["1", *plain], strict=True)), **changed}


def text(uniq_id: str, /, **changed: str) -> str:
    """Return an order line as the service writes it."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values(uniq_id, **changed).values())
    return buffer.getvalue()


def plain_lines(number: int = PLAIN_LINES) -> list[str]:
    return [text(f"plain {index}") for index in range(number)]


def joined(*lines: str, end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def whole(
    name: str,
    file: bytes,
    outcome: str,
    says: str = "",
    counts: tuple[int, int, int, int] = (0, 0, 0, 0),
    *,
    unknown: Sequence[str] = (),
    days: tuple[str, str | None] = (DAY, None),
) -> Case:
    """Return a case with the bytes of the whole file."""
    return Case(name, file, outcome, says, counts, "", unknown, *days)


def line(name: str, line: bytes | str, outcome: str, says: str = "", column: str = "") -> Case:
    """Return a case whose tested line is line 2 (or more, if it breaks), with plain lines below."""
    raw = line.encode() if isinstance(line, str) else line
    file = joined(HEADER) + raw + b"\n" + joined(*plain_lines())
    rejected = says.count("line ") if outcome == REJECTED else 0
    loaded = PLAIN_LINES + (outcome == LOADED)
    return Case(name, file, outcome, says, (loaded + rejected, loaded, 0, rejected), column)


def row(name: str, column: str, value: str, outcome: str, says: str | None = None) -> Case:
    """Return a case for one value: its column rejects it, or staging keeps it as it is."""
    if says is None:
        says = value if outcome == LOADED else f"line 2: {column}"
    return line(name, text("case", **{column: value}), outcome, says, column)


def _without(*names: str) -> bytes:
    kept = [index for index, name in enumerate(COLUMNS) if name not in names]
    return joined(
        *(",".join(line.split(",")[index] for index in kept) for line in [HEADER, text("case")])
    )


ONE = (1, 1, 0, 0)
PLAIN = joined(HEADER, *plain_lines(2))
BOM = "\ufeff"
NO_TEXT = "line 1: the header holds NUL bytes: not a UTF-8 text file (UTF-16?)"

CASES: tuple[Case, ...] = (
    # The file as a whole.
    whole("empty", b"", REFUSED, "line 1: there is no header"),
    whole("blank lines only", b"\n\n", REFUSED, "line 1: there is no header"),
    whole(
        "header only",
        joined(HEADER),
        REFUSED,
        f"it would empty {DAY}, which has order lines now;"
        " if that is meant, say --allow-empty (DAG parameter allow_empty)",
    ),
    whole("header only, a new day", joined(HEADER), LOADED, days=("2024-02-26", None)),
    whole("no final newline", joined(HEADER, text("case"))[:-1], LOADED, counts=ONE),
    whole("LF", PLAIN, LOADED, counts=(2, 2, 0, 0)),
    whole("CRLF", PLAIN.replace(b"\n", b"\r\n"), LOADED, counts=(2, 2, 0, 0)),
    whole("CR", PLAIN.replace(b"\n", b"\r"), LOADED, counts=(2, 2, 0, 0)),
    whole("CRLF, then LF", PLAIN.replace(b"\n", b"\r\n", 1), LOADED, counts=(2, 2, 0, 0)),
    whole(
        "blank lines between and after", PLAIN.replace(b"\n", b"\n \n\n"), LOADED, "", (2, 2, 0, 0)
    ),
    whole("byte order mark", BOM.encode() + PLAIN, LOADED, counts=(2, 2, 0, 0)),
    whole(
        "two byte order marks before a required column",
        (2 * BOM).encode() + _without("id"),
        REFUSED,
        r"line 1: columns of the header: missing uniq_id; not known '\ufeffuniq_id'",
    ),
    whole("UTF-16, little endian", PLAIN.decode().encode("utf-16"), REFUSED, NO_TEXT),
    whole("UTF-16, big endian", (BOM + PLAIN.decode()).encode("utf-16-be"), REFUSED, NO_TEXT),
    whole("UTF-16 without mark", PLAIN.decode().encode("utf-16-le"), REFUSED, NO_TEXT),
    whole("UTF-16 without mark, big", PLAIN.decode().encode("utf-16-be"), REFUSED, NO_TEXT),
    whole(
        "cp1251",
        PLAIN.decode().encode("cp1251"),
        REFUSED,
        "2 of 2 lines rejected, more than 5% (MAX_REJECTED_SHARE); the first is line 2 (not_utf8)",
        (2, 0, 0, 2),
    ),
    whole(
        "cp1251 in the header",
        f"{HEADER},скидка\n".encode("cp1251"),
        REFUSED,
        "line 1: the header cannot be read (not_utf8)",
    ),
    whole("compressed", gzip.compress(PLAIN, mtime=0), REFUSED, NO_TEXT),
    whole(
        "an error page",
        b"<!DOCTYPE html>\n<html></html>\n",
        REFUSED,
        "line 1: columns of the header: missing uniq_id, date_time, city_id, city_name,"
        " customer_id, first_name, last_name, item_id, item_name, quantity, payment_amount;"
        " not known '<!DOCTYPE html>'",
    ),
    # The header.
    whole(
        "semicolons",
        PLAIN.replace(b",", b";"),
        REFUSED,
        "line 1: columns of the header: separated by ';', not by ','",
    ),
    whole(
        "tabs",
        PLAIN.replace(b",", b"\t"),
        REFUSED,
        r"line 1: columns of the header: separated by '\t', not by ','",
    ),
    whole(
        "missing column",
        _without("quantity"),
        REFUSED,
        "line 1: columns of the header: missing quantity",
    ),
    whole(
        "renamed column",
        PLAIN.replace(b"payment_amount", b"amount"),
        REFUSED,
        "line 1: columns of the header: missing payment_amount; not known 'amount'",
    ),
    whole(
        "column in capitals",
        PLAIN.replace(b"item_id", b"Item_Id"),
        REFUSED,
        "line 1: columns of the header: missing item_id; not known 'Item_Id'",
    ),
    whole(
        "duplicated column",
        joined(f"{HEADER},quantity", f"{text('case')},9"),
        REFUSED,
        "line 1: columns of the header: more than once 'quantity'",
    ),
    whole(
        "duplicated unknown column",
        joined(f"{HEADER},a,a", f"{text('case')},1,2"),
        REFUSED,
        "line 1: columns of the header: more than once 'a'; not known 'a', 'a'",
    ),
    whole(
        "no header",
        joined(*plain_lines(2)),
        REFUSED,
        "line 1: columns of the header: none of the 13 is known; is the header missing?",
    ),
    whole(
        "terminal escapes in the header",
        joined(HEADER.replace("status", "\x1b[2J").replace("item_id", "")),
        REFUSED,
        r"line 1: columns of the header: missing item_id; not known '', '\x1b[2J'",
    ),
    whole("NUL in the header", PLAIN.replace(b"status", b"sta\0tus"), REFUSED, NO_TEXT),
    whole(
        "unclosed quote in the header",
        PLAIN.replace(b"status", b'"status'),
        REFUSED,
        "line 1: the header cannot be read (quoting)",
    ),
    whole(
        "1 MB header",
        joined(f"{HEADER},{'a' * 2**20}", f"{text('case')},1"),
        REFUSED,
        "line 1: the header cannot be read (line_too_long)",
    ),
    whole(
        "extra columns",
        joined(f"{HEADER},discount,скидка", f"{text('case')},1,2"),
        LOADED,
        counts=ONE,
        unknown=("discount", "скидка"),
    ),
    # A spreadsheet leaves columns without a name. They are ignored as long as they hold no value.
    whole(
        "a comma at the end of every line",
        joined(f"{HEADER},", f"{text('case')},"),
        LOADED,
        counts=ONE,
    ),
    whole(
        "commas at the end of every line, as a spreadsheet saves them",
        joined(f"{HEADER},,,", *(f"{line},,," for line in plain_lines(2)), f'{text("case")},"", ,'),
        LOADED,
        counts=(3, 3, 0, 0),
    ),
    whole(
        "a column without a name before the others",
        joined(f" ,{HEADER}", *(f",{line}" for line in plain_lines(2))),
        LOADED,
        counts=(2, 2, 0, 0),
    ),
    whole(
        "a value in a column without a name",
        joined(f"{HEADER},,", *(f"{line},," for line in plain_lines()), f"{text('case')},,7"),
        REJECTED,
        "line 42: column_count",
        (41, 40, 0, 1),
    ),
    whole(
        "commas at the end of the header only",
        joined(f"{HEADER},,", text("case")),
        REFUSED,
        "1 of 1 lines rejected, more than 5% (MAX_REJECTED_SHARE);"
        " the first is line 2 (column_count)",
        (1, 0, 0, 1),
    ),
    whole(
        "two columns without a name and two of one name",
        joined(f"{HEADER},quantity,,", f"{text('case')},9,,"),
        REFUSED,
        "line 1: columns of the header: more than once 'quantity'; not known '', ''",
    ),
    whole(
        "501 columns",
        joined(HEADER + "," * (501 - len(COLUMNS))),
        REFUSED,
        "line 1: columns of the header: 501 of them, more than 500",
    ),
    whole(
        "500 columns",
        joined(*(line + "," * (500 - len(COLUMNS)) for line in [HEADER, text("case")])),
        LOADED,
        counts=ONE,
    ),
    whole(
        "whole numbers with decimals, as a spreadsheet saves them",
        joined(HEADER, text("case", customer_id="7010.0")),
        REFUSED,
        "1 of 1 lines rejected, more than 5% (MAX_REJECTED_SHARE); the first is line 2"
        " (customer_id): whole numbers have no decimals: a spreadsheet may have added the .0, and"
        " saves the column without if its format is a number of 0 decimals",
        (1, 0, 0, 1),
    ),
    whole(
        "reordered columns",
        joined(*(",".join(reversed(line.split(","))) for line in [HEADER, text("case")])),
        LOADED,
        counts=ONE,
    ),
    whole("no id and no status", _without("id", "status"), LOADED, counts=ONE),
    whole(
        "quotes and blanks in the header",
        joined('"id", uniq_id ,' + HEADER.removeprefix("id,uniq_id,"), text("case")),
        LOADED,
        counts=ONE,
    ),
    # Lines compared with each other.
    whole(
        "as many rejected as may be",
        joined(HEADER, "", *plain_lines(38), *["rejected"] * 2),
        REJECTED,
        "line 41: column_count; line 42: column_count",
        (40, 38, 0, 2),
    ),
    whole(
        "more rejected than may be",
        joined(HEADER, *["rejected"] * 3, *plain_lines(56)),
        REFUSED,
        "3 of 59 lines rejected, more than 5% (MAX_REJECTED_SHARE);"
        " the first is line 2 (column_count)",
        (59, 56, 0, 3),
    ),
    whole(
        "repeated uniq_id",
        joined(HEADER, text("a"), text("b"), text("a", id="7"), text("a", status="")),
        LOADED,
        "",
        (4, 2, 2, 0),
    ),
    whole(
        "repeated uniq_id, blanks around it",
        joined(HEADER, text("a"), text(" a ")),
        LOADED,
        "",
        (2, 1, 1, 0),
    ),
    whole(
        "conflicting uniq_id",
        joined(HEADER, *plain_lines(), text("plain 7", quantity="3")),
        REJECTED,
        "line 42: conflict",
        (41, 40, 0, 1),
    ),
    whole(
        "one uniq_id on two days",
        joined(HEADER, text("a"), text("a", date_time="2024-02-24")),
        LOADED,
        "",
        (1, 1, 0, 0),
        days=("2024-02-24", DAY),
    ),
    whole(
        "one uniq_id on two days, both of them new",
        joined(
            HEADER,
            text("a", date_time="2024-02-23", quantity="1"),
            text("a", date_time="2024-02-24", quantity="2"),
        ),
        LOADED,
        "",
        (2, 2, 0, 0),
        days=("2024-02-23", "2024-02-24"),
    ),
    whole(
        "one item_id under two names",
        joined(HEADER, text("a"), text("b", item_name="Ряженка")),
        LOADED,
        "",
        (2, 2, 0, 0),
    ),
    whole(
        "the header again",
        joined(HEADER, *plain_lines(), HEADER),
        REJECTED,
        "line 42: date_time",
        (41, 40, 0, 1),
    ),
    # The structure of a line.
    line("too few fields", text("case").removesuffix(",shipped"), REJECTED, "line 2: column_count"),
    line("too many fields", text("case") + ",", REJECTED, "line 2: column_count"),
    line("commas only", "," * (len(COLUMNS) - 1), REJECTED, "line 2: date_time"),
    line("end-of-file character", b"\x1a", REJECTED, "line 2: column_count"),
    line("end-of-data mark of COPY", rb"\.", REJECTED, "line 2: column_count"),
    line("NUL", text("case", item_name="a\0b"), REJECTED, "line 2: nul_byte"),
    line("invalid UTF-8", text("case").encode() + b"\xff", REJECTED, "line 2: not_utf8"),
    line("half a character", text("case").encode() + b"\xd0", REJECTED, "line 2: not_utf8"),
    line(
        "surrogate in UTF-8", text("case").encode() + b"\xed\xa0\x80", REJECTED, "line 2: not_utf8"
    ),
    line("one line in cp1251", text("case").encode("cp1251"), REJECTED, "line 2: not_utf8"),
    line("1 MB field", text("case", item_name="a" * 2**20), REJECTED, "line 2: line_too_long"),
    line("70,000 blanks", b" " * 70_000, REJECTED, "line 2: line_too_long"),
    line("1 MB of quotes", b'"' * 2**20, REJECTED, "line 2: line_too_long"),
    line("unclosed quote", text("case").replace("Кефир", '"Кефир'), REJECTED, "line 2: quoting"),
    line(
        "unclosed quote at a field's start", '1,"case' + text("")[2:], REJECTED, "line 2: quoting"
    ),
    line(
        "text after a closing quote",
        text("case").replace("Вера", '"Вера"!'),
        REJECTED,
        "line 2: quoting",
    ),
    line(
        "embedded newline",
        text("case").replace("Кефир 1%", '"Кефир\n1%"'),
        REJECTED,
        "line 2: quoting; line 3: column_count",
    ),
    line(
        "embedded carriage return",
        text("case").replace("Кефир 1%", '"Кефир\r1%"'),
        REJECTED,
        "line 2: quoting; line 3: column_count",
    ),
    line(
        "delimiter without quotes",
        text("case").replace("Вера", "Ве,ра"),
        REJECTED,
        "line 2: column_count",
    ),
    line(
        "quote without quotes", text("case").replace("Вера", 'Ве"ра'), LOADED, 'Ве"ра', "first_name"
    ),
    row("embedded delimiter", "item_name", "Кефир, 1%", LOADED),
    row("embedded quote", "item_name", 'Кефир "Наш"', LOADED),
    row("quotes around everything", "item_name", '"Кефир"', LOADED),
    # Amounts.
    row("amount NaN", "payment_amount", "NaN", REJECTED),
    row("amount Infinity", "payment_amount", "Infinity", REJECTED),
    row("amount 1e5", "payment_amount", "1e5", REJECTED),
    row("amount 1,5", "payment_amount", "1,5", REJECTED),
    line(
        "amount 1,5 without quotes",
        text("case").replace("180", "1,5"),
        REJECTED,
        "line 2: column_count",
    ),
    row("amount empty", "payment_amount", "", REJECTED),
    row("amount blank", "payment_amount", " ", REJECTED),
    row("amount between blanks", "payment_amount", " 180 ", LOADED, "180.00"),
    row("amount with a blank inside", "payment_amount", "1 800", REJECTED),
    row("amount with one decimal", "payment_amount", "1.5", LOADED, "1.50"),
    row("amount with three decimals", "payment_amount", "1.505", REJECTED),
    row("amount with three decimals, none needed", "payment_amount", "1.500", REJECTED),
    row("amount with leading zeros", "payment_amount", "00000000000180.10", LOADED, "180.10"),
    row("greatest amount", "payment_amount", "99999999.99", LOADED),
    row("amount beyond numeric(10,2)", "payment_amount", "100000000", REJECTED),
    row("amount of 60,000 digits", "payment_amount", "9" * 60_000, REJECTED),
    row("amount zero", "payment_amount", "0", LOADED, "0.00"),
    row("amount minus zero", "payment_amount", "-0", REJECTED),
    row("amount negative", "payment_amount", "-180", REJECTED),
    row("amount in Arabic digits", "payment_amount", "١٨٠", REJECTED),
    row("amount with a currency", "payment_amount", "180 ₽", REJECTED),
    row("amount with underscore", "payment_amount", "1_80", REJECTED),
    line(
        "negative refund",
        text("case", payment_amount="-1", status="refunded"),
        REJECTED,
        "line 2: payment_amount",
    ),
    line("refund", text("case", status="refunded"), LOADED, "180.00", "payment_amount"),
    # Whole numbers.
    row("quantity zero", "quantity", "0", REJECTED),
    row("quantity negative", "quantity", "-1", REJECTED),
    line(
        "refund of a negative quantity",
        text("case", quantity="-2", status="refunded"),
        REJECTED,
        "line 2: quantity",
    ),
    row("quantity 2.0", "quantity", "2.0", REJECTED),
    row("quantity 1e3", "quantity", "1e3", REJECTED),
    row("quantity empty", "quantity", "", REJECTED),
    row("greatest quantity", "quantity", "9223372036854775807", LOADED),
    row("quantity beyond bigint", "quantity", "9223372036854775808", REJECTED),
    row("quantity in full-width digits", "quantity", "２", REJECTED),
    row("quantity superscript", "quantity", "²", REJECTED),
    row("greatest item_id", "item_id", "2147483647", LOADED),
    row("item_id beyond integer", "item_id", "2147483648", REJECTED),
    row("city_id negative", "city_id", "-1", REJECTED),
    row("city_id empty", "city_id", "", REJECTED),
    row("customer_id in letters", "customer_id", "NULL", REJECTED),
    # Moments.
    row("30 February", "date_time", "2026-02-30T00:00:00", REJECTED),
    row("the day before", "date_time", "2024-02-24T23:59:59", REJECTED, "line 2: outside_delivery"),
    row("the day after", "date_time", "2024-02-26T00:00:00", REJECTED, "line 2: outside_delivery"),
    row("future", "date_time", "2049-12-31T00:00:00", REJECTED, "line 2: outside_delivery"),
    row("year 2050", "date_time", "2050-01-01T00:00:00", REJECTED, "line 2: outside_calendar"),
    row("year 0000", "date_time", "0000-01-01T00:00:00", REJECTED),
    row("year 0001", "date_time", "0001-01-01T00:00:00", REJECTED, "line 2: outside_calendar"),
    row("year 9999", "date_time", "9999-12-31T23:59:59", REJECTED, "line 2: outside_calendar"),
    row("year 10000", "date_time", "10000-01-01T00:00:00", REJECTED),
    row("time zone suffix", "date_time", f"{DAY}T00:00:00+03:00", REJECTED),
    row("time zone Z", "date_time", f"{DAY}T00:00:00Z", REJECTED),
    row("last moment", "date_time", f"{DAY}T23:59:59.999999", LOADED, f"{DAY} 23:59:59.999999"),
    row("seven decimals", "date_time", f"{DAY}T23:59:59.9999999", REJECTED),
    row("24 o'clock", "date_time", f"{DAY}T24:00:00", REJECTED),
    row("leap second", "date_time", f"{DAY}T23:59:60", REJECTED),
    row("day without a time", "date_time", DAY, LOADED, f"{DAY} 00:00:00"),
    row("blank instead of T", "date_time", f"{DAY} 10:00:00.5", LOADED, f"{DAY} 10:00:00.5"),
    row("Russian date", "date_time", "25.02.2024", REJECTED),
    row("ISO week", "date_time", "2024-W08-7", REJECTED),
    row("epoch", "date_time", "1708819200", REJECTED),
    row("moment empty", "date_time", "", REJECTED),
    row("moment infinity", "date_time", "infinity", REJECTED),
    row("moment in Arabic digits", "date_time", "٢٠٢٤-02-25", REJECTED),
    # Statuses.
    row("unknown status", "status", "returned", REJECTED),
    row("status Shipped and a blank", "status", "Shipped ", LOADED, "shipped"),
    row("status in capitals", "status", "REFUNDED", LOADED, "refunded"),
    row("status empty", "status", "", LOADED, "shipped"),
    row("status NULL", "status", "NULL", REJECTED),
    row("status with a letter like s", "status", "ſhipped", REJECTED),
    # Keys.
    line("uniq_id empty", text(""), REJECTED, "line 2: uniq_id"),
    line("uniq_id blank", text(" \t "), REJECTED, "line 2: uniq_id"),
    line("longest uniq_id", text("a" * 32), LOADED),
    line("over-long uniq_id", text("a" * 33), REJECTED, "line 2: uniq_id"),
    # Names are text, whatever they look like.
    row("drop table", "item_name", "'; drop table staging.user_order_log; --", LOADED),
    row("template", "item_name", "{{ this }} {% raw %} ${HOME}", LOADED),
    row("placeholder", "item_name", "%s %(item_name)s {} :name $1", LOADED),
    row("null mark of COPY", "item_name", r"\N", LOADED),
    row("end mark of COPY", "item_name", r"\.", LOADED),
    row("backslash at the end", "item_name", "Кефир\\", LOADED),
    row("the word NULL", "item_name", "NULL", LOADED),
    row("no name", "item_name", "", LOADED, "no value"),
    row("blanks around a name", "item_name", " Кефир ", LOADED),
    row("emoji", "item_name", "Кефир 🥛👩‍👩‍👧", LOADED),
    row("right to left", "item_name", "קפיר \u202e%1", LOADED),
    row("combining marks", "item_name", "Ке\u0301фир й", LOADED),
    row("spreadsheet formula", "item_name", '=HYPERLINK("http://example.com")', LOADED),
    row("tab", "item_name", "Кефир\t1%", LOADED),
    row("form feed", "item_name", "Кефир\f1%\v", LOADED),
    row("line separators of Unicode", "item_name", "Кефир\x85\u2028\u20291%\x1c", LOADED),
    row("terminal escapes", "item_name", "\x1b[2J\x07", LOADED),
    row("replacement character", "item_name", "\ufffd\ufffe\U0010ffff", LOADED),
    row("longest name", "item_name", "🥛" * 100, LOADED),
    row("over-long item_name", "item_name", "к" * 101, REJECTED),
    row("over-long city_name", "city_name", "к" * 101, REJECTED),
    row("over-long first_name", "first_name", "к" * 101, REJECTED),
    row("over-long last_name", "last_name", "к" * 101, REJECTED),
)

"""Random files: nothing crashes, every line is counted, no bad line is accepted."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from order_file_cases import CASES, COLUMNS, DAY, HEADER, REJECTED, text, values
from support import Deliver, Warehouse

from loaders.errors import DeliveryRefused
from loaders.order_file import (
    MAX_BIGINT,
    MAX_INTEGER,
    ORDER_COLUMNS,
    STATUSES,
    JudgedLine,
    LineRules,
    OrderFile,
    OrderLine,
)

READER_EXAMPLES = 2000
DATABASE_EXAMPLES = 60
# The examples are always the same, so that a failure means that a change broke something.
FUZZ = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
REASONS = {
    reason
    for case in CASES
    if case.outcome == REJECTED
    for reason in re.findall(r"line \d+: (\w+)", case.says)
}

FIELDS = st.one_of(
    st.sampled_from(["", " ", "0", "-1", "1.5", "1e5", "NaN", "9" * 10, "9" * 19, "9" * 20, "١٢"]),
    st.sampled_from(["case", "Shipped ", "refunded", "NULL", r"\N", r"\.", "к" * 101, "🥛"]),
    st.sampled_from(['"', '""', '"a', 'a"b', "a,b", "a\nb", "a\rb", "a\0b", "\x85", "\u2028"]),
    st.sampled_from([DAY, f"{DAY}T23:59:59.999999", "2024-02-24", "2026-02-30", "0000-01-01"]),
    st.text(max_size=40),
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Draw an order line with some fields replaced, or any other text."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([b"", b" \t", b"\x0c\xc2\xa0"]) | st.binary(max_size=60))
    changed = draw(
        st.dictionaries(st.sampled_from(COLUMNS), FIELDS, max_size=2)
        | st.fixed_dictionaries({"id": st.just("7"), "quantity": st.sampled_from("12")})
    )
    uniq_id = draw(st.sampled_from(["a", "b", "c", " a"]))
    if draw(st.booleans()):
        line = text(uniq_id, **changed)
    else:
        line = ",".join(values(uniq_id, **changed).values())
    raw = line.encode("utf-8", "replace")
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(raw)))
        raw = raw[:place] + draw(st.binary(min_size=1, max_size=3)) + raw[place + 1 :]
    return raw


@st.composite
def files(draw: st.DrawFn) -> bytes:
    header = HEADER.encode()
    if draw(st.integers(0, 9)) == 0:
        header = draw(lines())
    mark = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"]))
    return mark + end.join([header, *draw(st.lists(lines(), max_size=8))])


def lines_with_text(file: bytes) -> list[int]:
    """Return the numbers of the lines of a file that are not blank, without the header."""
    raws = re.split(rb"\r\n|\r|\n", file)
    texts = [raw.decode("utf-8", "surrogateescape") for raw in raws]
    return [number for number, text in enumerate(texts, 1) if number > 1 and text.strip()]


def judged_lines(file: OrderFile) -> Iterator[JudgedLine]:
    """Return every line of a file, judged; all plain lines have to be acceptable."""
    for lines in file:
        if isinstance(lines, JudgedLine):
            yield lines
            continue
        raw_lines = lines.text.decode().removesuffix("\n").split("\n")
        assert len(raw_lines) == lines.line_count
        for line_number, raw_line in enumerate(raw_lines, start=lines.line_number):
            assert file.rules is not None
            line = file.rules.judge(line_number, raw_line)
            assert line.order is not None, line
            yield line


def stored(warehouse: Warehouse) -> list[tuple[object, ...]]:
    """Return the lines of staging as the rules of the file give them: no name is an empty one."""
    names = ("city_name", "first_name", "last_name", "item_name")
    columns = (f"coalesce({name}, '')" if name in names else name for name in ORDER_COLUMNS)
    return sorted(warehouse.query(f"select {', '.join(columns)} from staging.user_order_log"))


def assert_acceptable(order: OrderLine) -> None:
    assert 1 <= len(order.uniq_id) <= 32 and order.uniq_id == order.uniq_id.strip()
    assert order.date_time.date() == date.fromisoformat(DAY) and order.date_time.tzinfo is None
    for number in (order.city_id, order.customer_id, order.item_id):
        assert 0 <= number <= MAX_INTEGER
    assert 1 <= order.quantity <= MAX_BIGINT
    assert 0 <= order.payment_amount < 10**8
    assert order.payment_amount == order.payment_amount.quantize(Decimal("0.01"))
    assert order.status in STATUSES
    for name in (order.city_name, order.first_name, order.last_name, order.item_name):
        assert len(name) <= 100
        assert not re.search("[\0\n\r\ud800-\udfff]", name)


@settings(FUZZ, max_examples=READER_EXAMPLES)
@given(file=files())
def test_every_line_is_accepted_or_rejected_with_a_reason(tmp_path: Path, file: bytes) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(file)
    day = date.fromisoformat(DAY)
    with OrderFile(path, day, day) as orders:
        judged = list(judged_lines(orders))
    if orders.refusal is not None:
        assert re.match(r"line 1: \w.*", orders.refusal) and "\n" not in orders.refusal
        assert judged == []
        return
    assert [line.line_number for line in judged] == lines_with_text(file)
    for line in judged:
        assert (line.order is None) == (line.reason is not None)
        assert not re.search("[\0\n\r\ud800-\udfff]", line.raw_line)
        if line.order is None:
            assert line.reason in REASONS
        else:
            assert_acceptable(line.order)


@settings(FUZZ, max_examples=DATABASE_EXAMPLES)
@given(file=files(), max_rejected_share=st.sampled_from([1.0, 1.0, 0.4]))
def test_every_file_leaves_the_warehouse_in_balance(
    warehouse: Warehouse, deliver: Deliver, tmp_path: Path, file: bytes, max_rejected_share: float
) -> None:
    """The rows that one example loads are the previous data of the next."""
    path = tmp_path / "orders.csv"
    path.write_bytes(file)
    day = date.fromisoformat(DAY)
    with OrderFile(path, day, day) as orders:
        judged = list(judged_lines(orders))
    firsts: dict[str, OrderLine] = {}
    for line in judged:
        if line.order is not None:
            firsts.setdefault(line.order.uniq_id, line.order)
    expected = Counter(
        "rejected" if line.order is None or line.order != firsts[line.order.uniq_id] else "accepted"
        for line in judged
    )
    standing = "select t.*::text from staging.user_order_log as t order by 1"
    previous = warehouse.query(standing)
    try:
        deliver(DAY, path, max_rejected_share=max_rejected_share, allow_empty=True)
        refused = False
    except DeliveryRefused:
        refused = True

    ((delivery_id, outcome, received, loaded, repeated, rejected),) = warehouse.query(
        "select delivery_id, outcome, received, loaded, repeated, rejected from staging.delivery"
        " order by delivery_id desc limit 1"
    )
    assert outcome == ("refused" if refused else "accepted")
    assert (received, loaded) == (len(judged), len(firsts))
    assert (loaded + repeated, rejected) == (expected["accepted"], expected["rejected"])
    assert rejected == warehouse.value(
        "select count(*) from staging.quarantine where delivery_id = %s", (delivery_id,)
    )
    assert refused == (orders.refusal is not None or rejected > max_rejected_share * received)
    if refused:
        assert warehouse.query(standing) == previous
    else:
        assert stored(warehouse) == sorted(firsts.values())


RULES = LineRules(HEADER, date.fromisoformat(DAY), date.fromisoformat(DAY))


@settings(FUZZ, max_examples=DATABASE_EXAMPLES)
@given(file=st.from_regex(re.compile(RULES.plain_lines().pattern.encode()), fullmatch=True))
def test_postgresql_reads_plain_lines_as_the_rules_do(
    warehouse: Warehouse, deliver: Deliver, tmp_path: Path, file: bytes
) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(HEADER.encode() + b"\n" + file)
    with OrderFile(path, *[date.fromisoformat(DAY)] * 2) as orders:
        judged = list(judged_lines(orders))
    deliver(DAY, path, max_rejected_share=1, allow_empty=True)
    firsts = {line.order.uniq_id: line.order for line in reversed(judged) if line.order}
    assert stored(warehouse) == sorted(firsts.values())


def test_plain_lines_are_found_wherever_they_stand(tmp_path: Path) -> None:
    """Next to other lines, at the ends of the blocks that are read, and in one stretch."""
    plain, other = text("a"), text("b", item_name='"Наш"')
    for pattern in ("p" * 2000, "op" * 1000, "p" * 700 + "o" + "p" * 700, "b" + "pb" * 900 + "bbp"):
        path = tmp_path / "orders.csv"
        names = {"p": plain, "o": other, "b": " "}
        path.write_text("\n".join([HEADER, *(names[kind] for kind in pattern)]), "utf-8")
        with OrderFile(path, *[date.fromisoformat(DAY)] * 2) as orders:
            found = [
                (number, kind)
                for lines in orders
                for number, kind in (
                    [(lines.line_number, "o")]
                    if isinstance(lines, JudgedLine)
                    else [(lines.line_number + index, "p") for index in range(lines.line_count)]
                )
            ]
            numbers = [number for number, _ in found]
            assert list(orders.raw_lines(numbers)) == [
                (number, names[kind]) for number, kind in found
            ]
        expected = [(number, kind) for number, kind in enumerate(pattern, 2) if kind != "b"]
        assert found == expected

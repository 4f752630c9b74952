"""Parsing of command arguments and periods."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha.errors import AlphaError, Rejected
from alpha.registry import Registry
from operations.arguments import Arguments, read_words
from operations.commands import BY_NAME
from operations.formatting import number, percent, span, usdt
from operations.periods import EXAMPLES, Period, parse_period

NOW = datetime(2025, 3, 31, 15, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("7d", "2025-03-25", "2025-04-01"),
        ("1 week", "2025-03-25", "2025-04-01"),
        ("today", "2025-03-31", "2025-04-01"),
        ("Yesterday", "2025-03-30", "2025-03-31"),
        ("this week", "2025-03-31", "2025-04-01"),
        ("last week", "2025-03-24", "2025-03-31"),
        ("this month", "2025-03-01", "2025-04-01"),
        ("last month", "2025-02-01", "2025-03-01"),
        ("1m", "2025-03-01", "2025-04-01"),
        ("12m", "2024-04-01", "2025-04-01"),
        ("last year", "2024-01-01", "2025-01-01"),
        ("2024", "2024-01-01", "2025-01-01"),
        ("2025-2", "2025-02-01", "2025-03-01"),
        ("2024-12", "2024-12-01", "2025-01-01"),
        ("2025-02-28", "2025-02-28", "2025-03-01"),
        ("2025-01 to 2025-02-14", "2025-01-01", "2025-02-15"),
        ("all", "1970-01-01", "2025-04-01"),
    ],
)
def test_a_period_means_whole_utc_days(text: str, start: str, end: str) -> None:
    period = parse_period(text, NOW)
    assert (f"{period.start:%Y-%m-%d}", f"{period.end:%Y-%m-%d}") == (start, end)
    assert period.start.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["", "soon", "0d", "2025-13", "2025-02-30", "9999y", "2025-02 to 2025-01", "7", "24h", "d"]
)
def test_what_is_no_period_is_refused_with_examples_or_a_remedy(text: str) -> None:
    with pytest.raises(Rejected):
        parse_period(text, NOW)


def test_the_examples_of_the_refusal_are_periods() -> None:
    for example in EXAMPLES.split(", "):
        assert isinstance(parse_period(example, NOW), Period)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_a_period(text: str) -> None:
    try:
        period = parse_period(text, NOW)
    except Rejected:
        return
    assert period.start < period.end


@pytest.mark.parametrize(
    ("command", "words", "bot", "rest"),
    [
        ("status", [], None, (None, None, None)),
        ("stop", ["shortseller"], "shortseller_001", (None, None, None)),
        ("stop", ["ShortSeller_001"], "shortseller_001", (None, None, None)),
        ("trades", ["20"], None, (None, 20, None)),
        ("trades", ["lxalgo", "20"], "lxalgo_001", (None, 20, None)),
        ("analytics", ["this", "month"], None, (None, None, "this month")),
        ("analytics", ["momentum", "2025-06"], "momentum_001", (None, None, "2025-06")),
        ("adopt", ["mo", "btc"], "momentum_001", ("BTCUSDT", None, None)),
        ("flatten", ["lx", "ethusdt"], "lxalgo_001", ("ETHUSDT", None, None)),
    ],
)
def test_words_become_arguments(
    registry: Registry, command: str, words: list[str], bot: str | None, rest: tuple[str | None, int | None, str | None]
) -> None:
    args = _read(registry, command, words)
    assert (args.bot.id if args.bot else None) == bot
    assert (args.symbol, args.n, args.period) == rest


@pytest.mark.parametrize(
    ("command", "words"),
    [
        *(("stop", []), ("stop", ["nobody"]), ("stop", ["lxalgo", "now"]), ("trades", ["many"]), ("adopt", ["lxalgo"])),
        *(("panic", ["now"]), ("positions", ["nobody"]), ("adopt", ["lxalgo", "B;DROP"])),
    ],
)
def test_wrong_words_are_refused_in_one_line_with_an_example(
    registry: Registry, command: str, words: list[str]
) -> None:
    with pytest.raises(Rejected) as fault:
        _read(registry, command, words)
    assert BY_NAME[command].example in str(fault.value)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("command", "words", "canonical"),
    [
        ("trades", ["5", "momentum"], ("momentum", "5")),
        ("trades", ["1,000", "MO"], ("momentum", "1000")),
        ("flatten", ["eth", "ss"], ("shortseller", "ETHUSDT")),
        ("analytics", ["7D", "Momentum"], ("momentum", "7d")),
        ("analytics", ["this", "month", "lx"], ("lxalgo", "this", "month")),
    ],
)
def test_words_come_in_any_order_and_have_one_spelling(
    registry: Registry, command: str, words: list[str], canonical: tuple[str, ...]
) -> None:
    args = _read(registry, command, words)
    assert args.words == canonical
    assert _read(registry, command, list(args.words)) == args


@pytest.mark.parametrize(
    ("word", "price"),
    [("96000.5", "96000.5"), ("96,000.5", "96000.5"), ("1,000,000", "1000000"), ("0.00001", "0.00001"),
     ("96000,5", None), ("96.000,5", None), ("1,0", None), ("0", None), ("0.0", None), ("-5", None), ("1e3", None), ("٥", None)],
)  # fmt: skip
def test_a_comma_is_never_a_decimal_point_and_no_price_is_zero(
    registry: Registry, word: str, price: str | None
) -> None:
    words = ["lxalgo", "BTCUSDT", word]
    if price is None:
        assert f"{word!r} is not a price such as 96000.5" in _fault(registry, "movestop", words)
    else:
        assert _read(registry, "movestop", words).price == Decimal(price)


@pytest.mark.parametrize("word", ["0", "101", "00500", "050", "1000", "-1", "50.5", "٥٠", "%"])
def test_a_share_is_a_whole_number_from_1_to_100_and_a_wrong_one_is_told_so(registry: Registry, word: str) -> None:
    assert _read(registry, "close", ["lxalgo", "BTCUSDT", "50%"]).percent == 50
    said = _fault(registry, "close", ["lxalgo", "BTCUSDT", word])
    assert said == f"{word!r} is not a share in per cent, 1 to 100. Example: /close lxalgo BTCUSDT 50"


def test_a_message_never_repeats_a_long_word_or_a_control_character(registry: Registry) -> None:
    for word in ("x" * 5_000, "\x00\x1b[2J", "\ud800", "7" * 5_000):
        for command in BY_NAME:
            said = _fault(registry, command, [word])
            assert len(said) < 300
            assert said.isprintable()


def _fault(registry: Registry, command: str, words: list[str]) -> str:
    try:
        _read(registry, command, words)
    except AlphaError as fault:
        return str(fault)
    return ""


@settings(deadline=None)
@given(command=st.sampled_from(sorted(BY_NAME)), words=st.lists(st.text(max_size=12), max_size=5))
def test_no_words_break_the_reading(registry: Registry, command: str, words: list[str]) -> None:
    try:
        assert isinstance(_read(registry, command, words), Arguments)
    except AlphaError:
        return


def _read(registry: Registry, command: str, words: list[str]) -> Arguments:
    found = BY_NAME[command]
    return read_words(registry, command, found.usage, found.example, words)


def test_amounts_are_signed_grouped_and_never_minus_nothing() -> None:

    assert usdt(Decimal("1234.567")).text == "+1,234.57"
    assert usdt(Decimal("-0.004")).text == "0.00"
    assert usdt(Decimal("-12"), signed=False).text == "-12.00"
    assert percent(Decimal("-0.01")).text == "0.0 %"
    assert number(Decimal("95000.10")).text == "95,000.1"
    assert number(Decimal("0.00001234")).text == "0.00001234"
    assert number(Decimal("100.12345678901")).text == "100.12346"
    assert span(12_000.0).text == "3 h 20 m"
    assert span(0.0).text == "0 s"

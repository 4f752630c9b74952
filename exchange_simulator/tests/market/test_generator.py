"""The seeded market: the same candles regardless of when and how they are requested."""

import json
import random
import subprocess
import sys
from decimal import Decimal

import pytest

from exchange_simulator.market import Bar, GeneratedMarket, Market, MarketError, merge
from exchange_simulator.market.intervals import bucket_end
from exchange_simulator.market.model import DAY_MS, HOUR_MS, MINUTE_MS

START = 1_767_225_600_000  # 2026-01-01
SYMBOLS = ("BTCUSDT", "NEARUSDT", "NEWCOINUSDT")


@pytest.fixture(scope="module")
def market() -> GeneratedMarket:
    return GeneratedMarket(42, SYMBOLS)


def test_the_generator_is_a_market_without_end(market: GeneratedMarket) -> None:
    assert isinstance(market, Market)
    assert market.end_ms is None
    assert market.bar("BTCUSDT", START + 20 * 365 * DAY_MS) is not None


def test_bybits_formula_for_the_mark_gives_the_last_price(market: GeneratedMarket) -> None:
    """Median of the last price, the index plus funding still due, and the index plus its five-minute basis.

    Source: Bybit's help centre, Mark Price Calculation (Perpetual Contract).
    """
    away: list[Decimal] = []
    for symbol in SYMBOLS:
        instrument = market.instruments[symbol]
        interval = instrument.funding_interval_min * MINUTE_MS
        for now in range(START, START + 7 * DAY_MS, 41 * MINUTE_MS):
            bars = market.bars(symbol, now - 5 * MINUTE_MS, now)
            last = instrument.price(bars[-1].close)
            index = market.index_price(symbol, now, bars[-1].close)
            due = (now // interval + 1) * interval
            with_funding = index * (1 + market.funding_rate(symbol, due - interval) * (due - now) / interval)
            basis = [
                instrument.price(bar.close) - market.index_price(symbol, bar.start_ms + MINUTE_MS - 1, bar.close)
                for bar in bars
            ]
            mark = sorted((with_funding, index + sum(basis, Decimal(0)) / len(basis), last))[1]
            away.append(abs(mark / last - 1))
    away.sort()
    assert away[len(away) // 2] < Decimal("0.00001")
    assert away[len(away) * 99 // 100] < Decimal("0.0001")
    assert away[-1] < Decimal("0.001")


def test_bars_do_not_depend_on_the_order_of_asking(market: GeneratedMarket) -> None:
    minutes = [(symbol, START + minute * MINUTE_MS) for symbol in SYMBOLS for minute in range(-3 * 1440, 3 * 1440, 157)]
    forward = {key: market.bar(*key) for key in minutes}
    random.Random(1).shuffle(minutes)
    other = GeneratedMarket(42, SYMBOLS, days_kept=1)
    assert {key: other.bar(*key) for key in minutes} == forward


def test_bars_do_not_depend_on_the_other_symbols(market: GeneratedMarket) -> None:
    alone = GeneratedMarket(42, ("NEARUSDT",))
    assert alone.bars("NEARUSDT", START, START + DAY_MS) == market.bars("NEARUSDT", START, START + DAY_MS)


def test_another_process_makes_the_same_bars(market: GeneratedMarket) -> None:
    script = (
        "import json; from exchange_simulator.market import GeneratedMarket\n"
        f"market = GeneratedMarket(42, {SYMBOLS!r})\n"
        f"print(json.dumps([market.candles(s, '60', {START}, {START + 10 * DAY_MS}) for s in {SYMBOLS!r}]))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    theirs = [[Bar(*row) for row in rows] for rows in json.loads(out)]
    assert theirs == [market.candles(symbol, "60", START, START + 10 * DAY_MS) for symbol in SYMBOLS]


def test_another_seed_makes_another_market(market: GeneratedMarket) -> None:
    other = GeneratedMarket(43, SYMBOLS)
    assert other.bars("BTCUSDT", START, START + HOUR_MS) != market.bars("BTCUSDT", START, START + HOUR_MS)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_bars_are_valid_and_each_opens_where_the_one_before_closed(market: GeneratedMarket, symbol: str) -> None:
    # Across the boundary of two 340-day blocks, which is also a day boundary.
    seam = START // (340 * DAY_MS) * 340 * DAY_MS
    bars = market.bars(symbol, seam - 2 * DAY_MS, seam + 2 * DAY_MS)
    assert [bar.start_ms for bar in bars] == list(range(seam - 2 * DAY_MS, seam + 2 * DAY_MS, MINUTE_MS))
    for before, bar in zip([bars[0]._replace(close=bars[0].open), *bars], bars, strict=False):
        assert 0 < bar.low <= min(bar.open, bar.close)
        assert max(bar.open, bar.close) <= bar.high
        assert bar.volume >= 0
        assert bar.open == before.close
        assert all(type(number) is int for number in bar)


@pytest.mark.parametrize("interval", ["3", "5", "60", "120", "240", "360", "720", "D", "W", "M"])
def test_candles_are_the_minutes_they_hold(market: GeneratedMarket, interval: str) -> None:
    candles = market.candles("NEARUSDT", interval, START, START + 1)
    if interval == "W":  # 2026-01-01 was a Thursday
        assert candles == []
        candles = market.candles("NEARUSDT", interval, START, START + 7 * DAY_MS)
    (candle,) = candles
    minutes = market.bars("NEARUSDT", candle.start_ms, bucket_end(interval, candle.start_ms))
    assert merge(minutes, candle.start_ms) == candle


def test_nothing_exists_before_the_beginning() -> None:
    market = GeneratedMarket(1, ("BTCUSDT",), first_ms=START)
    assert market.bar("BTCUSDT", START - MINUTE_MS) is None
    assert market.bars("BTCUSDT", START - DAY_MS, START) == []
    assert market.candles("BTCUSDT", "D", START - 5 * DAY_MS, START + 1)[0].start_ms == START


def test_five_thousand_bars_of_four_hours_lie_before_the_start(market: GeneratedMarket) -> None:
    candles = market.candles("NEARUSDT", "240", START - 5_000 * 4 * HOUR_MS, START)
    assert len(candles) == 5_000
    assert candles[-1].start_ms == START - 4 * HOUR_MS


def test_prices_stay_sane_for_decades() -> None:
    market = GeneratedMarket(5, ("BTCUSDT", "FETUSDT"))
    for symbol, typical in (("BTCUSDT", Decimal(95_000)), ("FETUSDT", Decimal("1.30"))):
        for year in range(0, 60, 3):
            bar = market.bar(symbol, START + year * 365 * DAY_MS)
            assert bar is not None
            price = market.instruments[symbol].price(bar.close)
            assert typical / 20 < price < typical * 20


def test_funding_is_known_a_period_ahead_and_mostly_one_basis_point(market: GeneratedMarket) -> None:
    times = [START + number * 8 * HOUR_MS for number in range(300)]
    rates = [market.funding_rate("NEARUSDT", time) for time in times]
    assert market.funding_rate("NEARUSDT", times[5] - 1) == rates[5]
    assert market.funding_rate("NEARUSDT", times[5] + 1) == rates[6]
    near = market.instruments["NEARUSDT"]
    assert all(near.lower_funding_rate <= rate <= near.upper_funding_rate for rate in rates)
    calm = sum(rate == Decimal("0.0001") for rate in rates)
    assert 150 < calm < 300, "calm markets pay the interest alone, heated ones more or less"
    assert len(set(rates)) > 5


def test_the_index_is_near_the_last_price_but_is_not_it(market: GeneratedMarket) -> None:
    bar = market.bar("BTCUSDT", START)
    assert bar is not None
    last = market.instruments["BTCUSDT"].price(bar.open)
    indexes = [market.index_price("BTCUSDT", START + hour * HOUR_MS, bar.open) for hour in range(100)]
    assert all(abs(index / last - 1) < Decimal("0.005") for index in indexes)
    assert len(set(indexes)) > 90


def test_open_interest_moves_around_half_a_day_of_turnover(market: GeneratedMarket) -> None:
    known = market.instruments["BTCUSDT"]
    held = [market.open_interest("BTCUSDT", START + day * DAY_MS) for day in range(50)]
    assert len(set(held)) == 50
    assert all(Decimal(10_000) < each < Decimal(60_000) for each in held)
    assert all(known.steps(each) > 0 for each in held)


@pytest.mark.parametrize(
    ("symbols", "first_ms", "what"),
    [
        ((), START, "at least one symbol"),
        (("BTCUSDT", "BTCUSDT"), START, "named once"),
        (("btcusdt",), START, "capital letters"),
        (("BTCUSDT",), START + 1, "start of a UTC day"),
    ],
)
def test_a_market_that_cannot_be_is_refused_in_one_sentence(symbols: tuple[str, ...], first_ms: int, what: str) -> None:
    with pytest.raises(MarketError, match=what):
        GeneratedMarket(1, symbols, first_ms=first_ms)

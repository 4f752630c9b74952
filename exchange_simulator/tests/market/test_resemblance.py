"""Generated candles resemble crypto markets: the stylised facts of recorded ones, and signals for each strategy.

Bounds come from the recorded five-minute candles of BTC, ETH and SOL of spring 2025 (kurtosis 14 to 22, autocorrelation
of absolute returns 0.25 to 0.31 after one bar and 0.09 to 0.12 after a day, correlation 0.79) with a margin on both
sides.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from exchange_simulator.market import DEFAULT_SYMBOLS, GeneratedMarket
from exchange_simulator.market.catalogue import TABLE
from exchange_simulator.market.model import DAY_MS, HOUR_MS
from exchange_simulator.tests.market.likeness import (
    MAJORS,
    START,
    Floats,
    autocorrelation,
    breakouts,
    candles,
    kurtosis,
    returns,
)

DAYS = 40
ALTS = tuple(symbol for symbol in DEFAULT_SYMBOLS if not TABLE[symbol].major)


@pytest.fixture(scope="module", params=[7, 2026])
def market(request: pytest.FixtureRequest) -> GeneratedMarket:
    return GeneratedMarket(request.param)


@pytest.fixture(scope="module")
def five(market: GeneratedMarket) -> dict[str, Floats]:
    """Five-minute candles, columns of Bar, by symbol."""
    return {symbol: candles(market, symbol, "5", START, START + DAYS * DAY_MS) for symbol in DEFAULT_SYMBOLS}


@pytest.mark.parametrize("symbol", MAJORS)
def test_returns_have_fat_tails(five: dict[str, Floats], symbol: str) -> None:
    assert 7 < kurtosis(returns(five[symbol])) < 60


@pytest.mark.parametrize("symbol", MAJORS)
def test_volatility_clusters_and_returns_do_not(five: dict[str, Floats], symbol: str) -> None:
    moves = returns(five[symbol])
    assert 0.18 < autocorrelation(np.abs(moves), 1) < 0.5
    assert 0.08 < autocorrelation(np.abs(moves), 12) < 0.4
    assert 0.02 < autocorrelation(np.abs(moves), 288) < 0.3
    assert abs(autocorrelation(moves, 1)) < 0.08


@pytest.mark.parametrize(("symbol", "low", "high"), [("BTCUSDT", 0.012, 0.035), ("NEARUSDT", 0.03, 0.07)])
def test_a_day_moves_as_far_as_in_crypto(five: dict[str, Floats], symbol: str, low: float, high: float) -> None:
    assert low < returns(five[symbol]).std() * np.sqrt(288) < high


def test_symbols_move_together_majors_most(five: dict[str, Floats]) -> None:
    table = np.corrcoef([returns(five[symbol]) for symbol in (*MAJORS, *ALTS)])
    assert 0.7 < table[0, 1] < 0.95
    assert 0.25 < np.median(table[np.triu_indices(len(table), 1)]) < 0.8


def test_volume_comes_with_movement(five: dict[str, Floats]) -> None:
    for bars in five.values():
        assert np.corrcoef(bars[1:, 5], np.abs(returns(bars)))[0, 1] > 0.25


def test_the_american_morning_is_busier_than_the_late_evening(five: dict[str, Floats]) -> None:
    hours = five["BTCUSDT"][1:, 0] % DAY_MS // HOUR_MS
    moves = np.abs(returns(five["BTCUSDT"]))
    busy, quiet = (hours >= 13) & (hours < 17), (hours >= 19) & (hours < 23)
    assert moves[busy].mean() > 1.3 * moves[quiet].mean()
    assert five["BTCUSDT"][1:, 5][busy].mean() > 1.15 * five["BTCUSDT"][1:, 5][quiet].mean()


def pumps(bars: Floats) -> NDArray[np.intp]:
    """Bars that close 8 % or more above the open 12 bars earlier."""
    return np.flatnonzero(bars[12:, 4] / bars[:-12, 1] - 1 >= 0.08) + 12


def test_some_alternative_coin_pumps_on_almost_every_day_and_no_major_ever(five: dict[str, Floats]) -> None:
    days: dict[int, set[str]] = {}
    for symbol in ALTS:
        for place in pumps(five[symbol]):
            days.setdefault(int(five[symbol][place, 0] // DAY_MS), set()).add(symbol)
    assert len(days) >= 0.9 * DAYS
    assert 1.5 < sum(map(len, days.values())) / DAYS < 8
    assert all(len(pumps(five[symbol])) == 0 for symbol in MAJORS)


def test_a_pump_comes_with_a_surge_of_volume(five: dict[str, Floats]) -> None:
    surges = []
    for symbol in ALTS:
        bars = five[symbol]
        for place in pumps(bars)[:1]:
            if place >= 288:
                surges.append(bars[place - 11 : place + 1, 5].mean() / bars[place - 288 : place - 12, 5].mean())
    assert np.median(surges) > 3


def ema(values: Floats, period: int) -> Floats:
    share, current, out = 2 / (period + 1), float(values[0]), []
    for value in values.tolist():
        current += share * (value - current)
        out.append(current)
    return np.array(out)


def test_majors_fall_below_their_averages_every_few_days(five: dict[str, Floats]) -> None:
    crossings = set()
    for symbol in MAJORS:
        close = five[symbol][:, 4]
        below = [close < ema(close, period) for period in (240, 600)]
        fell = sum((now[1:] & ~now[:-1] for now in below), np.zeros(len(close) - 1, dtype=bool))
        places = np.flatnonzero(fell & below[0][1:] & below[1][1:]) + 1
        crossings |= {int(place) // 288 for place in places if place > 11 * 288}
    assert len(crossings) > (DAYS - 11) / 2, "more than every other day one of the three gives a short entry"


def test_alternative_coins_break_out_of_quiet_with_volume(market: GeneratedMarket) -> None:
    days, found = 60, 0
    for symbol in ALTS[:12]:
        found += len(breakouts(candles(market, symbol, "240", START - 20 * DAY_MS, START + days * DAY_MS)))
    assert found / (12 * days) > 0.05, "twelve symbols give a signal every other day"

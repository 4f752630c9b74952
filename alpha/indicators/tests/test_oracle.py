"""TA-Lib, and plain loops where it has no such indicator, agree; and no value depends on where the data begin."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from alpha.indicators import (
    DAY_MS,
    Floats,
    atr,
    atr_history,
    cci,
    donchian,
    ema,
    highest,
    keltner,
    keltner_history,
    lowest,
    macd,
    macd_history,
    money_flow_index,
    on_balance_volume,
    rsi,
    session_history,
    session_vwap,
    sma,
    stochastic,
    supertrend,
    supertrend_history,
    true_range,
    z_score,
)

HOUR = 3_600_000
START = 1_704_067_200_000 // DAY_MS * DAY_MS


class Data(NamedTuple):
    """Bars of one hour."""

    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def part(self, first: int, end: int) -> "Data":
        return Data(*(column[first:end].copy() for column in self))


def data(seed: int, count: int = 900) -> Data:
    draw = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(draw.normal(0, 0.01, count))), 2)
    high = np.round(close * (1 + np.abs(draw.normal(0, 0.004, count))), 2)
    low = np.round(close * (1 - np.abs(draw.normal(0, 0.004, count))), 2)
    return Data(high, low, close, np.round(draw.uniform(1, 100, count), 3))


Figure = Callable[[Data, int], Floats]

#: name -> (ours, TA-Lib's, how far they may differ, from which bar on). Averages that remember differ by their seed's rest.
ORACLE: dict[str, tuple[Figure, Callable[..., Floats], float]] = {
    "true range": (
        lambda d, ms: true_range(d.high, d.low, d.close),
        lambda t, d: t.TRANGE(d.high, d.low, d.close),
        1e-9,
    ),
    "atr": (
        lambda d, ms: atr(d.high, d.low, d.close, 14, ms, HOUR),
        lambda t, d: t.ATR(d.high, d.low, d.close, 14),
        2e-3,
    ),
    "highest": (lambda d, ms: highest(d.high, 20), lambda t, d: t.MAX(d.high, 20), 0.0),
    "lowest": (lambda d, ms: lowest(d.low, 20), lambda t, d: t.MIN(d.low, 20), 0.0),
    "sma": (lambda d, ms: sma(d.close, 20), lambda t, d: t.SMA(d.close, 20), 1e-9),
    "ema": (lambda d, ms: ema(d.close, 20, ms, HOUR), lambda t, d: t.EMA(d.close, 20), 2e-3),
    "rsi": (lambda d, ms: rsi(d.close, 14, ms, HOUR), lambda t, d: t.RSI(d.close, 14), 2e-2),
    "macd": (
        lambda d, ms: macd(d.close, 12, 26, 9, ms, HOUR).line,
        lambda t, d: t.MACD(d.close, 12, 26, 9)[0],
        2e-3,
    ),
    "macd signal": (
        lambda d, ms: macd(d.close, 12, 26, 9, ms, HOUR).signal,
        lambda t, d: t.MACD(d.close, 12, 26, 9)[1],
        2e-3,
    ),
    "stochastic k": (
        lambda d, ms: stochastic(d.high, d.low, d.close, 14).k,
        lambda t, d: t.STOCH(d.high, d.low, d.close, 14, 3, 0, 3, 0)[0],
        1e-9,
    ),
    "stochastic d": (
        lambda d, ms: stochastic(d.high, d.low, d.close, 14).d,
        lambda t, d: t.STOCH(d.high, d.low, d.close, 14, 3, 0, 3, 0)[1],
        1e-9,
    ),
    "cci": (lambda d, ms: cci(d.high, d.low, d.close, 20), lambda t, d: t.CCI(d.high, d.low, d.close, 20), 1e-8),
    "mfi": (
        lambda d, ms: money_flow_index(d.high, d.low, d.close, d.volume, 14),
        lambda t, d: t.MFI(d.high, d.low, d.close, d.volume, 14),
        1e-8,
    ),
    "obv": (
        lambda d, ms: on_balance_volume(d.close, d.volume, 10),
        lambda t, d: np.concatenate(
            (np.full(10, np.nan), t.OBV(d.close, d.volume)[10:] - t.OBV(d.close, d.volume)[:-10])
        ),
        1e-8,
    ),
    "keltner": (
        lambda d, ms: keltner(d.high, d.low, d.close, 20, 2.0, ms, HOUR).upper,
        lambda t, d: t.EMA(d.close, 20) + 2.0 * t.ATR(d.high, d.low, d.close, 10),
        5e-3,
    ),
    "z-score": (
        lambda d, ms: z_score(d.close, 20),
        lambda t, d: (d.close - t.SMA(d.close, 20)) / (t.STDDEV(d.close, 20) * np.sqrt(20 / 19)),
        1e-5,
    ),
}


@pytest.mark.parametrize("name", list(ORACLE))
def test_ta_lib_agrees(name: str) -> None:
    talib = pytest.importorskip("talib", reason="TA-Lib is not installed: pip install -e '.[dev]'")
    ours, theirs, tolerance = ORACLE[name]
    for seed in (1, 2, 3):
        found, expected = ours(data(seed), START), theirs(talib, data(seed))
        both = ~np.isnan(found) & ~np.isnan(expected)
        assert both.sum() > 400
        assert np.abs(found[both] - expected[both]).max() <= tolerance


#: name -> (figure, bars it needs)
WHOLE: dict[str, tuple[Figure, int]] = {
    "atr": (ORACLE["atr"][0], atr_history(14, HOUR)),
    "true range": (ORACLE["true range"][0], 2),
    "donchian": (lambda d, ms: donchian(d.high, d.low, 20).middle, 20),
    "macd": (lambda d, ms: macd(d.close, 12, 26, 9, ms, HOUR).histogram, macd_history(12, 26, 9, HOUR)),
    "stochastic": (ORACLE["stochastic d"][0], 18),
    "cci": (ORACLE["cci"][0], 20),
    "mfi": (ORACLE["mfi"][0], 15),
    "obv": (ORACLE["obv"][0], 11),
    "keltner": (ORACLE["keltner"][0], keltner_history(20, HOUR)),
    "supertrend": (
        lambda d, ms: supertrend(d.high, d.low, d.close, 10, 3.0, ms, HOUR).line,
        supertrend_history(10, HOUR),
    ),
    "vwap": (lambda d, ms: session_vwap(d.high, d.low, d.close, d.volume, ms, HOUR), session_history(HOUR)),
    "z-score": (ORACLE["z-score"][0], 20),
}


@pytest.mark.parametrize("name", list(WHOLE))
def test_a_value_is_the_same_bits_from_the_bars_it_needs_alone(name: str) -> None:
    figure, need = WHOLE[name]
    bars = data(4)
    whole = figure(bars, START)
    assert not np.isnan(whole[need:]).any()
    for end in range(need, len(bars.close), 13):
        first = end - need
        alone = figure(bars.part(first, end), START + first * HOUR)[-1]
        assert alone.tobytes() == whole[end - 1].tobytes()


def test_supertrend_follows_its_rules_bar_by_bar() -> None:
    bars = data(6)
    found = supertrend(bars.high, bars.low, bars.close, 10, 3.0, START, HOUR)
    ranges = atr(bars.high, bars.low, bars.close, 10, START, HOUR)
    known = np.flatnonzero(~np.isnan(found.line))
    assert {1.0, -1.0} == set(found.direction[known].tolist())
    for at in known.tolist():
        middle = (bars.high[at] + bars.low[at]) / 2
        if found.direction[at] > 0:
            assert bars.close[at] >= found.line[at] >= middle - 3.0 * ranges[at]
        else:
            assert bars.close[at] <= found.line[at] <= middle + 3.0 * ranges[at]


def test_the_vwap_of_a_session_begins_anew_each_day() -> None:
    bars = data(5, 60)
    found = session_vwap(bars.high, bars.low, bars.close, bars.volume, START + 5 * HOUR, HOUR)
    assert np.isnan(found[:19]).all()
    typical = (bars.high + bars.low + bars.close) / 3
    for at in (19, 30, 42, 43, 59):
        first = 19 if at < 43 else 43
        part = slice(first, at + 1)
        assert found[at] == pytest.approx(np.average(typical[part], weights=bars.volume[part]), rel=1e-12)

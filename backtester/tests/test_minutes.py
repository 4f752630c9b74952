"""One-minute candles inside a bar say which level was met first."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from alpha.model.reason import Reason
from alpha.strategy.bars import Bars
from backtester.minutes import read_minutes
from backtester.result import Trade
from tests.support.toy_strategies import (
    HOUR_MS,
    START_MS,
    Candle,
    Scripted,
    ScriptParameters,
    backtest_of,
    bars_of,
    market,
)

FLAT: Candle = (100.0, 101.0, 99.0, 100.0)
WIDE: Candle = (100.0, 120.0, 80.0, 100.0)


def minutes(*turns: tuple[int, float]) -> Bars:
    """The sixty minutes of the third hour: 100 but for one price at each of these minutes."""
    starts = START_MS + 2 * HOUR_MS + 60_000 * np.arange(60, dtype=np.int64)
    flat = np.full(60, 100.0)
    high, low = flat.copy(), flat.copy()
    for place, price in turns:
        high[place], low[place] = max(price, 100.0), min(price, 100.0)
    return Bars("XUSDT", 60_000, starts, flat, high, low, flat.copy(), flat.copy())


def traded(inside: Bars | None, *, short: bool = False) -> Trade:
    """The one trade whose stop and target lie within the third hour."""
    data = market(bars_of([FLAT, FLAT, WIDE, FLAT]))
    if inside is not None:
        data = replace(data, minutes={"XUSDT": inside})
    script = ScriptParameters.model_validate({"enter": [0], "stop": "0.05", "take_profit": "0.05", "short": short})
    [trade] = backtest_of(Scripted(script), data).trades
    return trade


@pytest.mark.parametrize("short", [False, True])
def test_without_minutes_the_adverse_side_comes_first(short: bool) -> None:
    assert traded(None, short=short).reason is Reason.STOP_LOSS


def test_the_minute_that_came_first_decides_and_gives_the_time() -> None:
    up_first = traded(minutes((7, 120.0), (30, 80.0)))
    assert (up_first.reason, up_first.exit_price) == (Reason.TAKE_PROFIT, Decimal("105.00"))
    assert up_first.exit_ms // 60_000 == (START_MS + 2 * HOUR_MS) // 60_000 + 7
    down_first = traded(minutes((7, 80.0), (30, 120.0)))
    assert (down_first.reason, down_first.exit_price) == (Reason.STOP_LOSS, Decimal("95.00"))
    assert traded(minutes((7, 80.0), (30, 120.0)), short=True).reason is Reason.TAKE_PROFIT


def test_within_one_minute_the_adverse_side_comes_first() -> None:
    inside = minutes((7, 120.0))
    inside.low[7] = 80.0
    assert traded(inside).reason is Reason.STOP_LOSS


def test_minutes_that_are_missing_or_of_another_market_are_not_used() -> None:
    whole = minutes((7, 120.0), (30, 80.0))
    assert traded(minutes((7, 119.0), (30, 80.0))).reason is Reason.STOP_LOSS
    keep = np.arange(60) != 50
    columns = (getattr(whole, name)[keep] for name in ("start_ms", "open", "high", "low", "close", "volume"))
    assert traded(Bars("XUSDT", 60_000, *columns)).reason is Reason.STOP_LOSS


def test_they_lie_in_a_folder_beside_the_bars(tmp_path: Path) -> None:
    bars = {"XUSDT": bars_of([FLAT, FLAT, WIDE, FLAT])}
    assert read_minutes(tmp_path, bars) == {}
    (tmp_path / "1m").mkdir()
    inside = minutes((7, 120.0))
    rows = zip(*(getattr(inside, name) for name in ("start_ms", "open", "high", "low", "close", "volume")), strict=True)
    text = "\n".join(["start_ms,open,high,low,close,volume", *(",".join(map(str, row)) for row in rows)])
    (tmp_path / "1m" / "XUSDT.csv").write_text(text + "\n")
    assert len(read_minutes(tmp_path, bars)["XUSDT"]) == 60

"""Candles with holes: each sound part is traded after its own warm-up, and nothing is carried over a hole."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import backtester
from alpha.errors import Misconfigured
from alpha.model.reason import Reason
from alpha.strategy.bars import Bars
from alpha.strategy.base import Strategy
from alpha.strategy.risk_rules import Rules
from alpha_cli.main import main
from backtester.candle_files import write_file
from backtester.candles import COLUMNS, column
from backtester.engine import Run, run
from backtester.market import MarketData
from backtester.parts import HOLE, on_grid, parted_series
from backtester.prepared import BacktestConfig
from backtester.result import Result
from backtester.tests.test_compiled import compare
from backtester.venue import Costs
from tests.parity.random_strategy import RandomParameters, RandomStrategy
from tests.parity.test_random_back_tests import Walked
from tests.support.array_strategies import Arrayed, ArrayedParameters
from tests.support.toy_strategies import (
    Crossing,
    CrossingParameters,
    Scripted,
    ScriptParameters,
    backtest_of,
    market,
    random_bars,
)

D = Decimal
USUAL = Costs(D("0.00055"), D(2))
TOY = "tests.support.toy_strategies:Crossing"


def holed(bars: Bars, draw: np.random.Generator, holes: int = 4) -> Bars:
    """The same candles without some runs of 1 to 30, the first and the last bar kept."""
    keep = np.ones(len(bars), dtype=np.bool_)
    for _ in range(holes):
        first = int(draw.integers(1, len(bars) - 40))
        keep[first : first + int(draw.choice([1, 2, 13, 30]))] = False
    return without(bars, keep)


def without(bars: Bars, keep: Any) -> Bars:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(bars.symbol, bars.interval_ms, bars.start_ms[keep], *(column[keep] for column in columns))


def gridded(data: MarketData) -> MarketData:
    """The market as a back-test over its parts gets it; filters and funding are of the candles as they are."""
    return MarketData({name: on_grid(bars) for name, bars in data.bars.items()}, data.funding, data.instruments)


def parts_of(bars: Bars) -> list[Bars]:
    edges = np.flatnonzero(np.diff(bars.start_ms) != bars.interval_ms) + 1
    return [without(bars, part) for part in np.split(np.arange(len(bars)), edges)]


def equal(one: Result, other: Result) -> None:
    assert one.fills == other.fills
    assert one.trades == other.trades
    assert one.skipped == other.skipped
    assert one.end_equity == other.end_equity
    assert one.equity.tolist() == other.equity.tolist()


@pytest.mark.parametrize("seed", range(1, 9))
def test_the_fast_walk_and_the_slow_one_make_the_same_trades_over_holes(seed: int) -> None:
    draw = np.random.default_rng(seed)
    names = ("AUSDT", "BUSDT", "CUSDT")
    series = [
        holed(random_bars(10 * seed + place, 400, name, volatility=0.002, interval_ms=300_000), draw)
        for place, name in enumerate(names)
    ]
    data = gridded(market(*series, funding_rate=D("0.0001")))
    config = BacktestConfig(data.first_ms, data.end_ms, D(100_000), Costs())
    fast, slow = (
        kind(RandomStrategy(RandomParameters(seed=seed, symbols=names)), data, config).result()
        for kind in (Run, Walked)
    )
    equal(fast, slow)
    assert fast.trades
    assert np.isfinite(fast.equity).all()
    missing = {(name, int(start)) for name, bars in data.bars.items() for start in bars.start_ms[np.isnan(bars.close)]}
    assert not missing & {(fill.symbol, fill.time_ms - fill.time_ms % 300_000) for fill in fast.fills if fill.fee} - {
        (trade.symbol, trade.exit_ms) for trade in fast.trades if trade.exit_why == HOLE
    }


@pytest.mark.parametrize("seed", range(1, 13))
def test_the_compiled_walk_makes_the_same_trades_over_holes(seed: int) -> None:
    draw = np.random.default_rng(seed)
    names = ("AUSDT", "BUSDT", "CUSDT")
    series = [holed(random_bars(100 * seed + place, 500, name), draw) for place, name in enumerate(names)]
    strategy = Arrayed(ArrayedParameters(symbols=names, short=seed % 2 == 0, take_profit=D("0.05")))
    strategy.account = Rules(D(10), "low-first", cooldown_ms=seed % 3 * 3_600_000, max_positions=(None, 1, 2)[seed % 3])
    data = gridded(market(*series, funding_rate=D("0.0003")))
    result, walk = compare(strategy, data, BacktestConfig(data.first_ms, data.end_ms, D(10_000), USUAL))
    assert walk is not None
    assert any(trade.exit_why == HOLE for trade in result.trades)


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_symbol_with_holes_trades_as_its_parts_do_alone(seed: int) -> None:
    """A fixed size and no account limits: nothing but candles connects the parts."""
    bars = holed(random_bars(seed, 900), np.random.default_rng(seed))
    strategy = Arrayed(ArrayedParameters(usdt=D(1_000), take_profit=D("0.05")))
    whole = gridded(market(bars))
    instruments = whole.instruments
    found = backtest_of(strategy, whole, costs=USUAL, cash=D(100_000))
    expected, cut = [], []
    for part in parts_of(bars):
        if len(part) < 2:
            continue
        alone = MarketData({part.symbol: part}, market(part).funding, instruments)
        result = backtest_of(strategy, alone, costs=USUAL, cash=D(100_000))
        expected += result.trades
        cut += [(row.entry_ms, row.size, row.mark_price) for row in result.open_at_end]
    assert [trade for trade in found.trades if trade.exit_why != HOLE] == expected
    closed = [trade for trade in found.trades if trade.exit_why == HOLE]
    still = [(row.entry_ms, row.size, row.mark_price) for row in found.open_at_end]
    assert [(trade.entry_ms, trade.size) for trade in closed] + [row[:2] for row in still] == [row[:2] for row in cut]
    assert all(trade.reason is Reason.SETTLEMENT for trade in closed)


def test_what_is_open_or_waits_at_a_hole_is_closed_at_the_last_price_with_its_reason() -> None:
    bars = random_bars(3, 40)
    keep = np.ones(40, dtype=np.bool_)
    keep[20:23] = False
    strategy = Scripted(ScriptParameters(enter=(10, 19, 30), stop=D("0.9")))
    result = backtest_of(strategy, gridded(market(without(bars, keep))), costs=USUAL)
    (trade,) = result.trades
    assert (trade.reason, trade.exit_why) == (Reason.SETTLEMENT, HOLE)
    assert trade.exit_ms == int(bars.start_ms[20])
    assert abs(float(trade.exit_price) / float(bars.close[19]) - 1) < 1e-3
    (held,) = result.open_at_end
    assert held.entry_ms == int(bars.start_ms[31])


def test_indicators_timeframes_and_earlier_bars_of_a_part_are_its_own() -> None:
    bars = random_bars(5, 300, interval_ms=300_000)
    keep = np.ones(300, dtype=np.bool_)
    keep[100:107] = False
    strategy: Strategy[Any, Any] = RandomStrategy(RandomParameters(seed=1, symbols=("XUSDT",)))
    series = parted_series(strategy, on_grid(without(bars, keep)))
    assert not series.ready[100 : 107 + 9].any()
    view = series.view(110)
    assert view.before(3) is not None
    assert view.before(4) is None
    assert view.frame("60") is None
    later = series.view(290).frame("60")
    assert later is not None
    assert later.start_ms == int(bars.start_ms[276])


def test_a_bar_after_a_hole_is_not_traded_before_its_warm_up() -> None:
    bars = random_bars(7, 400)
    keep = np.ones(400, dtype=np.bool_)
    keep[200:201] = False
    strategy = Arrayed(ArrayedParameters(usdt=D(1_000)))
    data = gridded(market(without(bars, keep)))
    result = run(strategy, data, BacktestConfig(data.first_ms, data.end_ms, D(10_000), USUAL))
    warm_ms = int(bars.start_ms[201 + 12])
    assert result.trades
    assert not [t for t in result.trades if int(bars.start_ms[200]) <= t.entry_ms < warm_ms]


def folder_with_a_hole(folder: Path) -> Path:
    write_file(folder / "AUSDT.parquet", random_bars(1, 600, "AUSDT"))
    keep = np.ones(600, dtype=np.bool_)
    keep[300:304] = False
    write_file(folder / "BUSDT.parquet", without(random_bars(2, 600, "BUSDT"), keep))
    return folder


def test_the_command_trades_every_part_and_names_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_with_a_hole(tmp_path)
    words = ["backtest", TOY, "--data", str(folder), "--symbols", "all", "--holes", "parts"]
    assert main([*words, "--report", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "BUSDT: 4 candles that are missing, 2024-01-13 12:00 to 2024-01-13 16:00" in said
    trades = pl.read_parquet(tmp_path / "out" / "trades.parquet").filter(pl.col("symbol") == "BUSDT")
    assert str(trades["entry_time"].min()) < "2024-01-13" < str(trades["entry_time"].max())
    assert main([*words, "--slippage-bps", "model"]) == 0
    assert main([*words[:-1], "fill"]) == 2


def test_the_function_trades_parts_too_from_frames_and_from_a_folder(tmp_path: Path) -> None:
    bars = holed(random_bars(5, 900, "AUSDT"), np.random.default_rng(5))
    frame = pl.DataFrame({"start_ms": bars.start_ms, **{name: column(bars, name) for name in COLUMNS}})
    strategy = Crossing(CrossingParameters(symbols=("AUSDT",)))
    with pytest.raises(Misconfigured, match="AUSDT have a gap: give the part without it, or set parts=True"):
        backtester.run(strategy, {"AUSDT": frame})
    found = backtester.run(strategy, {"AUSDT": frame}, backtester.Settings(parts=True))
    assert any(trade.exit_why == HOLE for trade in found.trades)
    write_file(tmp_path / "AUSDT.parquet", bars)
    with pytest.raises(Misconfigured):
        backtester.run(strategy, tmp_path)
    equal(backtester.run(strategy, tmp_path, backtester.Settings(parts=True)), found)

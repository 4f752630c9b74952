"""The same rule here and in published libraries, side by side; and how fast strategies of arrays are in a sweep.

    python -m tests.benchmarks.side_by_side [--bars 25920]

Processor seconds of one run in a warm process. The libraries run in an environment of their own, `.venv-libraries`, which is
made from `requirements-backtest.txt` when it is missing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from alpha.indicators import sma
from alpha.indicators.memo import remembered
from alpha.strategy.bars import Bars
from alpha.strategy.base import Strategy
from alpha.strategy.frames import series_of
from backtester.compiled import Span, walked
from backtester.engine import run
from backtester.market import MarketData
from backtester.prepared import BacktestConfig
from backtester.venue import Costs
from strategies.momentum.parameters import MomentumParameters
from strategies.momentum.strategy import Momentum
from strategies.shortseller.parameters import ShortSellerParameters
from strategies.shortseller.strategy import ShortSeller
from tests.support.toy_strategies import Crossing, CrossingParameters, market, random_bars

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ROOT / ".venv-libraries"
FEE = Costs(Decimal("0.00055"), Decimal(0))


def candles(count: int) -> Bars:
    """A random walk of five minutes in which every candle opens where the last one closed."""
    made = random_bars(7, count, volatility=0.002, interval_ms=300_000)
    opened = np.concatenate((made.open[:1], made.close[:-1]))
    high, low = np.maximum(made.high, opened), np.minimum(made.low, opened)
    return Bars("XUSDT", 300_000, made.start_ms, opened, high, low, made.close, made.volume)


def crossing(usdt: str = "1000") -> Crossing:
    """The rule without stop and target."""
    strategy = Crossing(CrossingParameters(stop=Decimal("0.9"), take_profit=None, usdt=Decimal(usdt)))
    strategy.minutes = 5
    return strategy


def best(work: Callable[[], Any], repeat: int = 5) -> tuple[float, Any]:
    """The least processor seconds of several runs, and the last result."""
    spent, found = float("inf"), None
    for _ in range(repeat):
        started = time.process_time()
        found = work()
        spent = min(spent, time.process_time() - started)
    return spent, found


def terms_of(data: MarketData) -> BacktestConfig:
    """Over all of it."""
    return BacktestConfig(data.first_ms, data.end_ms, Decimal(10_000), FEE)


def library(name: str, bars: Bars) -> dict[str, float] | str:
    """Figures of a published library; why there are none."""
    python = LIBRARIES / "bin" / "python"
    if not python.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(LIBRARIES)], check=False)
        wanted = str(ROOT / "tests" / "benchmarks" / "requirements-backtest.txt")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted]
        if made.returncode or subprocess.run(install, check=False).returncode:
            return "could not be installed"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candles.npz"
        columns = {column: getattr(bars, column) for column in ("open", "high", "low", "close", "volume")}
        fast, slow = sma(bars.close, 5), sma(bars.close, 20)
        np.savez(path, start_ms=bars.start_ms, fast=fast, slow=slow, **columns)
        script = str(ROOT / "tests" / "benchmarks" / "backtest_libraries.py")
        done = subprocess.run([str(python), script, name, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1][:100]
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def in_a_sweep(strategy: Strategy[Any, Any], data: MarketData) -> tuple[float, int]:
    """Processor seconds of one trial with indicators remembered, and bars."""
    symbols = strategy.universe.symbols
    end = (data.end_ms - data.first_ms) // data.interval_ms
    span = Span(0, end, Decimal(10_000), Costs(slippage_bps=Decimal(2)))

    def once() -> object:
        series = {symbol: series_of(strategy, data.bars[symbol]) for symbol in symbols}
        found = walked(strategy, data, series, span)
        assert found is not None
        return found

    with remembered():
        spent, _ = best(once, 7)
    return spent, sum(len(data.bars[symbol]) for symbol in symbols)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=25_920)
    options = parser.parse_args()
    from rich.console import Console
    from rich.table import Table

    bars = candles(options.bars)
    data = market(bars)
    table = Table(title=f"Crossing of two averages, {options.bars:,} bars, one run in a warm process")
    for name in ("", "trades", "processor seconds", "of ours"):
        table.add_column(name, justify="left" if not name else "right")
    ours, result = best(lambda: run(crossing(), data, terms_of(data), walk="compiled"))
    slow, patient = best(lambda: run(crossing(), data, terms_of(data), walk="slow"), 2)
    assert result.trades == patient.trades
    table.add_row("ours, compiled, every amount exact", str(len(result.trades)), f"{ours:.4f}", "1.0")
    table.add_row(
        "ours, the slow walk: the same to the last bit", str(len(patient.trades)), f"{slow:.4f}", f"{slow / ours:.1f}"
    )
    for name in ("vectorbt", "backtesting", "nautilus"):
        found = library(name, bars)
        if isinstance(found, str):
            table.add_row(name, found, "-", "-")
        else:
            table.add_row(name, f"{found['trades']:.0f}", f"{found['seconds']:.4f}", f"{found['seconds'] / ours:.1f}")
    console = Console()
    console.print(table)

    table = Table(title="One run of the strategies themselves, in a warm process, and one trial in a sweep")
    for name in ("", "bars", "slow", "compiled", "trial", "million bars a second"):
        table.add_column(name, justify="left" if not name else "right")
    fives = market(
        *(
            random_bars(n, 25_920, s, volatility=0.002, interval_ms=300_000)
            for n, s in enumerate(("BTCUSDT", "ETHUSDT", "SOLUSDT"))
        ),
        funding_rate=Decimal("0.0001"),
    )
    names = ("BTCUSDT", *(f"C{n:02}USDT" for n in range(32)))
    fours = market(
        *(random_bars(n, 8_761, s, volatility=0.015, interval_ms=14_400_000) for n, s in enumerate(names)),
        funding_rate=Decimal("0.0001"),
    )
    limits = {"drawdown": Decimal("0.99"), "day_loss": Decimal("0.99")}
    months = {"month_loss": Decimal("0.99"), "week_loss": Decimal("0.99")}
    cases: list[tuple[str, Strategy[Any, Any], MarketData]] = [
        ("ShortSeller, 3 symbols", ShortSeller(ShortSellerParameters.model_validate(limits)), fives),
        (
            "Momentum, 33 symbols",
            Momentum(MomentumParameters.model_validate({"symbols": names, **limits, **months})),
            fours,
        ),
        ("Crossing, one symbol", crossing(), data),
    ]
    for title, strategy, known in cases:
        slow, _ = best(lambda s=strategy, d=known: run(s, d, terms_of(d), walk="slow"), 1)  # type: ignore[misc]
        quick, _ = best(lambda s=strategy, d=known: run(s, d, terms_of(d), walk="compiled"), 3)  # type: ignore[misc]
        trial, count = in_a_sweep(strategy, known)
        table.add_row(
            title,
            f"{count:,}",
            f"{slow:.3f} s",
            f"{quick:.3f} s",
            f"{trial * 1000:.1f} ms",
            f"{count / trial / 1e6:.1f}",
        )
    console.print(table)

    table = Table(title="Sixteen times the bars")
    for name in ("bars", "compiled", "peak memory per bar"):
        table.add_column(name, justify="right")
    for count in (options.bars, 16 * options.bars):
        long = market(candles(count))
        spent, _ = best(lambda d=long: run(crossing(), d, terms_of(d), walk="compiled"), 2)  # type: ignore[misc]
        table.add_row(f"{count:,}", f"{spent:.4f} s", f"{memory(long) / count:.0f} bytes")
    console.print(table)


def memory(data: MarketData) -> int:
    """Bytes that a run takes at its peak beside the candles."""
    import tracemalloc

    tracemalloc.start()
    run(crossing(), data, terms_of(data), walk="compiled")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


if __name__ == "__main__":
    main()

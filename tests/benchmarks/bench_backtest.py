"""How fast the back-test is: a fresh process on one core, from its start to the last figure, files read included.

Seconds are those of the processor, so that what else the machine does does not count; with one thread on an idle machine
they are the seconds on the wall.

    python -m tests.benchmarks.bench_backtest [--data-5m DIR] [--data-4h DIR] [--repeat 3]

Without folders it trades random walks of the same length (3 x 25,920 and 33 x 8,761 candles). The floor is a
process that starts Python, imports the same modules and reads the same files, and does nothing else. Last, `side_by_side`:
a simple strategy here and in published libraries, and what one trial of a sweep takes.
"""

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
#: Halts are lifted, so that trading goes on to the last bar and no limit makes the work shorter.
WORDS = {
    "shortseller": ["--set", "drawdown=0.99", "--set", "day_loss=0.99"],
    "momentum": ["--symbols", "all", "--set", "drawdown=0.99", "--set", "month_loss=0.99", "--set", "day_loss=0.99"],
    "lxalgo": ["--symbols", "all"],
}


@dataclass(frozen=True)
class Case:
    """One back-test: the strategy, its candles, and what is asked of it."""

    name: str
    strategy: str
    folder: Path
    aim_s: float | None


def child(strategy: str, folder: str, only_read: bool) -> None:
    """One back-test in this process; its figures as JSON on standard output."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    from backtester.candle_files import read_folder
    from backtester.command import Request, carry_out
    from backtester.metrics import measure

    trades, bars = 0, 0
    if only_read:
        bars = sum(len(series) for series in read_folder(Path(folder)).values())
    else:
        words = WORDS[strategy]
        outcome = carry_out(
            Request(
                strategy=strategy,
                data=Path(folder),
                from_text=None,
                to_text=None,
                overrides=[value for flag, value in zip(words[::2], words[1::2], strict=True) if flag == "--set"],
                symbols="all" if "--symbols" in words else None,
                cash="10000",
                taker_fee="0.00055",
                slippage_bps="2",
                funding="0.0001",
                resume_days=None,
                bots=ROOT / "bots.toml",
            )
        )
        trades = measure(outcome.result).trades
        bars = sum(len(series) for series in outcome.data.bars.values())
    sys.stdout.write(json.dumps({"trades": trades, "bars": bars, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """The most memory this process had. Not `ru_maxrss`: that survives exec, and would be the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def timed(case: Case, *, only_read: bool) -> tuple[float, dict[str, float]]:
    """Processor seconds of a fresh process, and what it says of itself."""
    arguments = ["--child", case.strategy, str(case.folder), *(["--only-read"] if only_read else [])]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = spent()
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench_backtest", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return spent() - started, json.loads(done.stdout)


def spent() -> float:
    """Processor seconds of all processes that this one started and saw end."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def generate(folder: Path, symbols: tuple[str, ...], interval: str, bars: int, minutes: int) -> Path:
    """Candles of the seeded market in files, as many as asked for."""
    from exchange_simulator.market.generator import GeneratedMarket

    folder.mkdir(parents=True)
    market = GeneratedMarket(7, symbols)
    start, end = (int(moment.timestamp() * 1000) for moment in (BEGIN, BEGIN + timedelta(minutes=minutes * bars)))
    for symbol in symbols:
        instrument = market.instruments[symbol]
        lines = ["start_ms,open,high,low,close,volume"]
        for bar in market.candles(symbol, interval, start, end):
            prices = (instrument.price(value) for value in bar[1:5])
            lines.append(",".join([str(bar.start_ms), *map(str, prices), str(instrument.qty(bar.volume))]))
        (folder / f"{symbol}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=6))
    return folder


def draw(folder: Path, symbols: tuple[str, ...], bars: int, minutes: int, volatility: float) -> Path:
    """Candles of a random walk in files: quick to make, however many years."""
    from backtester.candles import COLUMNS, column
    from tests.support.toy_strategies import random_bars

    folder.mkdir(parents=True)
    for number, symbol in enumerate(symbols):
        made = random_bars(number, bars, symbol, volatility=volatility, interval_ms=minutes * 60_000)
        rows = zip(made.start_ms.tolist(), *(column(made, name).tolist() for name in COLUMNS), strict=True)
        lines = ["start_ms,open,high,low,close,volume", *(",".join(map(repr, row)) for row in rows)]
        (folder / f"{symbol}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode(), compresslevel=6))
    return folder


def main() -> None:
    """Run all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-5m", type=Path, help="folder of 5-minute candles of BTCUSDT, ETHUSDT, SOLUSDT")
    parser.add_argument("--data-4h", type=Path, help="folder of 4-hour candles")
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many (default %(default)s)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--only-read", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], options.child[1], options.only_read)
        return
    from rich.console import Console
    from rich.table import Table

    from exchange_simulator.market.catalogue import DEFAULT_SYMBOLS, TABLE

    with tempfile.TemporaryDirectory(prefix="bench-backtest-") as folder:
        made = Path(folder)
        minutes5 = options.data_5m or draw(made / "5m", DEFAULT_SYMBOLS[:3], 25_920, 5, 0.002)
        hours4 = options.data_4h or draw(made / "4h", tuple(TABLE)[:33], 8_761, 240, 0.015)
        pumps = generate(made / "pumps", DEFAULT_SYMBOLS[3:], "5", 8_640, 5)
        cases = [
            Case("ShortSeller, 3 symbols", "shortseller", minutes5, 1.0),
            Case("Momentum, 33 symbols", "momentum", hours4, 3.0),
            Case("LXAlgo, 27 symbols, 30 days", "lxalgo", pumps, None),
        ]
        table = Table(title="Back-tests: a fresh process on one core, files read included (best of repeats)")
        for name in ("", "bars", "trades", "seconds", "aim", "floor: start and read", "peak memory"):
            table.add_column(name, justify="left" if not name else "right")
        for case in cases:
            floor = min(timed(case, only_read=True)[0] for _ in range(options.repeat))
            seconds, said = min((timed(case, only_read=False) for _ in range(options.repeat)), key=lambda row: row[0])
            aim = "-" if case.aim_s is None else f"< {case.aim_s:g} s"
            table.add_row(
                case.name,
                f"{said['bars']:,.0f}",
                f"{said['trades']:,.0f}",
                f"{seconds:.2f}",
                aim,
                f"{floor:.2f}",
                f"{said['peak_mb']:.0f} MB",
            )
        console = Console()
        console.print(table)
    subprocess.run([sys.executable, "-m", "tests.benchmarks.side_by_side"], cwd=ROOT, check=True)


# What only the parent needs is imported where it is used: a child pays for the back-test alone.
if __name__ == "__main__":
    main()

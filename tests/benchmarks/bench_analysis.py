"""The analysis service: `python -m tests.benchmarks.bench_analysis [--files DIR]`.

CPU of a day's boundary (33 symbols, every interval, the shipped indicators), when the symbols' candles arrive in the same
moment and one after the other, beside a floor, one NumPy sum over the same windows per value; memory of the process with 33 symbols on the simulated exchange. With `--files`, a folder of 5-minute candles:
every bar of the last month is recomputed with everything after it deleted, and replaced by noise, and compared to the bit.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from alpha.analysis import Definition, analyse, analyse_together, consecutive_tail, read_definition
from alpha.indicators import DAY_MS
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.model.interval import INTERVAL_MS
from alpha.timeframes import Columns, aggregate, from_place
from tests.support.bot_harness import BotHarness
from tests.support.world import ROOT, until

SYMBOLS = 33
ROUNDS = 7
MOST_MS, MOST_MB = 300, 120


def walk(count: int, interval: str, seed: int) -> Columns:
    """Candles whose last one ends at a Monday, 00:00 UTC."""
    rng = np.random.default_rng(seed)
    length = INTERVAL_MS[interval]
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.003, count)))
    opened = np.roll(close, 1)
    end = (20_000 * DAY_MS - 4 * DAY_MS) // (7 * DAY_MS) * 7 * DAY_MS + 4 * DAY_MS
    starts = end - length * np.arange(count, 0, -1, dtype=np.int64)
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    return Columns(starts, opened, high, low, close, rng.random(count) * 1_000.0)


def boundary(definition: Definition) -> tuple[float, float, float]:
    """Milliseconds of CPU of one boundary at which every interval closes: all symbols together, one by one, the floor.

    Each is the best of some rounds.
    """
    windows = {
        INTERVAL_MS[interval]: [walk(definition.history(interval) + 100, interval, number) for number in range(SYMBOLS)]
        for interval in definition.intervals
    }
    together, alone, floor = [], [], []
    for _ in range(ROUNDS):
        began = time.process_time()
        for length, symbols in windows.items():
            analyse_together(symbols, length, definition)
        together.append(time.process_time() - began)
        began = time.process_time()
        for length, symbols in windows.items():
            for candles in symbols:
                analyse(candles, length, definition)
        alone.append(time.process_time() - began)
        began = time.process_time()
        for symbols in windows.values():
            for candles in symbols:
                for _ in definition.names:
                    np.add.reduce(candles.close)
        floor.append(time.process_time() - began)
    return min(together) * 1_000, min(alone) * 1_000, min(floor) * 1_000


async def memory(definition_file: Path) -> float:
    """Resident MB of the process after it has analysed 33 symbols on every interval and stored what it said."""
    names = [f"T{number:02d}USDT" for number in range(SYMBOLS)]
    with tempfile.TemporaryDirectory() as name:
        stage = BotHarness(Path(name), speed="60", options=("--symbols", ",".join(names)))
        await stage.open()
        links = RedisClients(stage.servers.redis.settings())
        environment = {
            **stage.environment("alpha_analysis"),
            "ANALYSIS_SYMBOLS": ",".join(names),
            "ANALYSIS_FILE": str(definition_file),
        }
        process = stage.process("analysis", ["-m", "analysis_service"], environment)
        try:
            process.start()

            async def all_there() -> bool:
                return len(await links.shared.smembers(keys.ANALYSIS_SYMBOLS)) == SYMBOLS

            await until(all_there, 600, f"33 symbols; the log ends with {process.said()[-300:]}", 1.0)
            await asyncio.sleep(25)
            return float(psutil.Process(process.pid).memory_info().rss) / 1e6
        finally:
            await links.close()
            stage.close()


def recompute(folder: Path, definition: Definition) -> tuple[int, int]:
    """How many bars of the last month were recomputed, and how many differed."""
    from backtester.candle_files import read_folder

    bars, wrong = 0, 0
    for read in read_folder(folder).values():
        base = Columns(read.start_ms, read.open, read.high, read.low, read.close, read.volume)
        base_ms = int(base.start_ms[1] - base.start_ms[0])
        for interval in definition.intervals:
            length = INTERVAL_MS[interval]
            if length % base_ms or length < base_ms:
                continue
            candles = consecutive_tail(aggregate(base, base_ms, length), length)
            month = min(len(candles.start_ms), max(1, 30 * DAY_MS // length))
            offline = analyse(candles, length, definition, month)
            rng = np.random.default_rng(1)
            for place in range(month):
                cut = len(candles.start_ms) - month + place + 1
                deleted = from_place(candles, max(0, cut - definition.history(interval) - 50))
                kept = cut - (len(candles.start_ms) - len(deleted.start_ms))
                after = slice(kept, kept + 50)
                noisy = Columns(deleted.start_ms[: kept + 50], *(column[: kept + 50].copy() for column in deleted[1:]))
                for column in noisy[1:]:
                    column[after] *= 1.0 + rng.normal(0.0, 0.3, len(column[after]))
                alone = analyse(Columns(*(column[:kept] for column in deleted)), length, definition)[-1]  # type: ignore[arg-type]
                replaced = analyse(noisy, length, definition, len(noisy.start_ms) - kept + 1)[0]
                bars += 1
                wrong += not (alone == replaced == offline[place])
    return bars, wrong


def main() -> int:
    """Measure and print; 1 when a figure misses its aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, help="a folder of 5-minute candles to recompute")
    arguments = parser.parse_args()
    file = ROOT / "analysis_service" / "analysis.toml"
    definition = read_definition(file)
    cpu_ms, alone_ms, floor_ms = boundary(definition)
    series, values = SYMBOLS * len(definition.intervals), len(definition.names)
    print(f"a day's boundary, {series} series, {len(definition.indicators)} indicators, {values} values")
    print(
        f"  CPU {cpu_ms:.0f} ms together (aim {MOST_MS}), {alone_ms:.0f} ms one by one; "
        f"one NumPy sum per value takes {floor_ms:.0f} ms"
    )
    used_mb = asyncio.run(memory(file))
    print(f"  memory of the process {used_mb:.0f} MB (aim {MOST_MB})")
    wrong = 0
    if arguments.files is not None:
        bars, wrong = recompute(arguments.files, definition)
        print(f"  {bars:,} bars recomputed without and with noise after them: {wrong} differ")
    return int(cpu_ms > MOST_MS or used_mb > MOST_MB or wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())

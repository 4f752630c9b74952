"""Funding of the past: the share of a position's value that longs pay to shorts, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.strategy.column_files import read_csv_texts
from backtester.candle_files import FUNDING_SUFFIX
from backtester.csv_format import read_parquet, write_parquet

EVERY_MS = 8 * 3_600_000
#: Bybit's interest rate: what a perpetual without a premium pays every eight hours (Bybit, "Funding rate calculation").
USUAL_RATE = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Funding:
    """Funding of one symbol: `time_ms` (UTC, ascending) and the `rate` at each, as a fraction of the value."""

    time_ms: NDArray[np.int64]
    rate: tuple[Decimal, ...]
    recorded: bool


def constant_funding(rate: Decimal, from_ms: int, to_ms: int) -> Funding:
    """The same rate at 00:00, 08:00 and 16:00 UTC, `from_ms <= time < to_ms`."""
    first = -(-from_ms // EVERY_MS) * EVERY_MS
    times = np.arange(first, to_ms, EVERY_MS, dtype=np.int64)
    return Funding(times, (rate,) * len(times), recorded=False)


def read_funding(
    folder: Path, symbols: Mapping[str, tuple[int, int]], otherwise: Decimal | None = USUAL_RATE
) -> dict[str, Funding]:
    """Funding of each symbol over its own `(from_ms, to_ms)`.

    From `SYMBOL.funding.parquet` where the folder has it, else the constant rate `otherwise`. Misconfigured when there
    is neither, or when a file cannot be read or does not reach over the range.
    """
    found = {}
    for symbol, (from_ms, to_ms) in symbols.items():
        path = funding_file(folder, symbol)
        if path is not None:
            found[symbol] = _read(path, from_ms, to_ms)
        elif otherwise is not None:
            found[symbol] = constant_funding(otherwise, from_ms, to_ms)
        else:
            name = f"{symbol}{FUNDING_SUFFIX}"
            raise Misconfigured(f"{folder} has no {name}: download it, or give a constant rate with --funding.")
    return found


def funding_file(folder: Path, symbol: str) -> Path | None:
    """The recorded funding of a symbol: Parquet, or CSV (`time_ms,rate`); None when the folder has none."""
    for path in (folder / f"{symbol}{FUNDING_SUFFIX}", folder / f"{symbol}.funding.csv"):
        if path.exists():
            return path
    return None


def write_funding(path: Path, rows: Mapping[int, Decimal]) -> None:
    """Rates by time as Parquet; rates are kept as text, so that no digit is lost."""
    times = sorted(rows)
    write_parquet(path, {"time_ms": np.array(times, dtype=np.int64), "rate": [str(rows[time]) for time in times]})


def _read(path: Path, from_ms: int, to_ms: int) -> Funding:
    times, rates = read_rows(path)
    if len(times) < 2:
        raise Misconfigured(
            f"{path} holds {len(times)} of the at least two rates that are needed to know how often funding is paid: "
            "add rates, run 'alpha data download' again, or remove the file, and the rate of --funding is taken."
        )
    every = int(np.diff(times).max())
    if times[0] >= from_ms + every or times[-1] + every < to_ms:
        raise Misconfigured(f"{path} does not reach over the whole back-test: run 'alpha data download' for it.")
    low, high = (int(place) for place in np.searchsorted(times, (from_ms, to_ms)))
    return Funding(times[low:high], rates[low:high], recorded=True)


def read_rows(path: Path) -> tuple[NDArray[np.int64], tuple[Decimal, ...]]:
    """Times and rates of a funding file, oldest first."""
    found = (
        read_csv_texts(path, ("time_ms", "rate")) if path.suffix == ".csv" else read_parquet(path, ("time_ms", "rate"))
    )
    try:
        times = found["time_ms"].astype(np.int64)
        rates = tuple(Decimal(str(rate)) for rate in found["rate"])
    except (TypeError, ValueError, ArithmeticError):
        raise Misconfigured(f"{path} cannot be read as funding rates: time_ms is whole, rate is a number.") from None
    if len(times) > 1 and np.diff(times).min() <= 0:
        raise Misconfigured(f"{path}: times must ascend, each once.")
    return times, rates

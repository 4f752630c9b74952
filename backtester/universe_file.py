"""`universe.csv` beside the candles: which coins were listed when, delisted ones included.

    symbol,from,to
    BTCUSDT,,
    LUNAUSDT,2021-01-01,2022-05-13

Without it every coin of the folder is taken for the whole time, so the coins alive today look as if they had been known.
"""

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from alpha.errors import Misconfigured
from alpha.strategy.bars import Bars
from backtester.candles import between
from exchange_simulator.candle_files import UNIVERSE_FILE

_EVER = 2**62


def read_universe(folder: Path) -> dict[str, list[tuple[int, int]]]:
    """Spans `from <= time < to` (UTC milliseconds) by symbol; empty when the folder has no such file."""
    path = folder / UNIVERSE_FILE
    if not path.exists():
        return {}
    found: dict[str, list[tuple[int, int]]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is None or not {"symbol", "from", "to"} <= set(reader.fieldnames):
            raise Misconfigured(f"{path} needs the columns symbol, from and to, found {reader.fieldnames}.")
        for number, row in enumerate(reader, start=2):
            symbol = (row["symbol"] or "").strip().upper()
            if not symbol:
                raise Misconfigured(f"{path} line {number}: it names no symbol.")
            first = _ms(row["from"], 0, f"{path} line {number}")
            last = _ms(row["to"], _EVER, f"{path} line {number}")
            if first >= last:
                raise Misconfigured(f"{path} line {number}: from {row['from']} is not before to {row['to']}.")
            found.setdefault(symbol, []).append((first, last))
    for symbol, spans in found.items():
        if len(spans) > 1:
            raise Misconfigured(
                f"{path}: {symbol} is there {len(spans)} times: a coin that came back is a symbol of its own."
            )
    return found


def listed(candles: Mapping[str, Bars], universe: Mapping[str, list[tuple[int, int]]]) -> dict[str, Bars]:
    """The candles of the days on which each coin was listed; a coin that the file does not name is not in it."""
    if not universe:
        return dict(candles)
    found = {}
    for symbol, bars in candles.items():
        for first, last in universe.get(symbol, ()):
            part = between(bars, first, last)
            if len(part):
                found[symbol] = part
    return found


def _ms(text: str | None, otherwise: int, where: str) -> int:
    if not (text or "").strip():
        return otherwise
    try:
        found = datetime.fromisoformat(str(text).strip())
    except ValueError:
        raise Misconfigured(f"{where}: {text!r} is no date: write 2024-01-31 (UTC).") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)

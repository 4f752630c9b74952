"""A market as one block of bytes that its SHA-256 names: what a worker on another machine gets, and checks."""

import hashlib
import json
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from alpha.bybit.decode import parse_instrument
from alpha.errors import Misconfigured
from alpha.strategy.auxiliary import Rows
from alpha.strategy.bars import Bars
from backtester.candle_cache import cache_folder
from backtester.candles import COLUMNS, column
from backtester.download import instrument_row
from backtester.funding import Funding
from backtester.market import MarketData

_MAGIC = b"alpha-market-2\n"


@dataclass(frozen=True, slots=True)
class Packed:
    """The name (64 hex digits, of the uncompressed content) and the compressed content."""

    name: str
    content: bytes


def pack(data: MarketData) -> Packed:
    """Candles, funding and instruments of a market, in alphabetical order of symbols."""
    parts: list[bytes] = []
    head: list[dict[str, Any]] = []
    for symbol in sorted(data.bars):
        bars, funding = data.bars[symbol], data.funding[symbol]
        head.append(
            {
                "symbol": symbol,
                "interval_ms": bars.interval_ms,
                "bars": len(bars),
                "funding": len(funding.time_ms),
                "recorded": funding.recorded,
                "rates": _runs([str(rate) for rate in funding.rate]),
                "instrument": instrument_row(data.instruments[symbol]),
                "columns": {name: len(data.columns[name][symbol].time_ms) for name in _named(data, symbol)},
            }
        )
        parts += [np.ascontiguousarray(bars.start_ms, dtype="<i8").tobytes()]
        parts += [np.ascontiguousarray(column(bars, name), dtype="<f8").tobytes() for name in COLUMNS]
        parts += [np.ascontiguousarray(funding.time_ms, dtype="<i8").tobytes()]
        for name in _named(data, symbol):
            rows = data.columns[name][symbol]
            parts += [np.ascontiguousarray(rows.time_ms, dtype="<i8").tobytes()]
            parts += [np.ascontiguousarray(rows.values, dtype="<f8").tobytes()]
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    content = b"".join([_MAGIC, len(text).to_bytes(8, "little"), text, *parts])
    return Packed(hashlib.sha256(content).hexdigest(), zlib.compress(content, 6))


def unpack(packed: Packed) -> MarketData:
    """The market of a block; Misconfigured when the content is not what its name says."""
    try:
        content = zlib.decompress(packed.content)
    except zlib.error:
        content = b""
    found = hashlib.sha256(content).hexdigest()
    if found != packed.name:
        raise Misconfigured(f"These are other data: {found[:16]} instead of {packed.name[:16]}. Fetch them again.")
    length = int.from_bytes(content[len(_MAGIC) : len(_MAGIC) + 8], "little")
    place = len(_MAGIC) + 8
    head = json.loads(content[place : place + length])
    place += length
    bars, funding, instruments = {}, {}, {}
    columns: dict[str, dict[str, Rows]] = {}

    def take(kind: str, count: int) -> Any:
        nonlocal place
        values = np.frombuffer(content, dtype=kind, count=count, offset=place)
        place += 8 * count
        return values

    for row in head:
        symbol = row["symbol"]
        times = take("<i8", row["bars"])
        bars[symbol] = Bars(symbol, row["interval_ms"], times, *(take("<f8", row["bars"]) for _ in COLUMNS))
        charged = take("<i8", row["funding"])
        rates = tuple(Decimal(text) for text, count in row["rates"] for _ in range(count))
        funding[symbol] = Funding(charged, rates, row["recorded"])
        instruments[symbol] = parse_instrument(row["instrument"])
        for name, count in row["columns"].items():
            columns.setdefault(name, {})[symbol] = Rows(take("<i8", count), take("<f8", count))
    return MarketData(bars, funding, instruments, columns)


def _named(data: MarketData, symbol: str) -> list[str]:
    return sorted(name for name, found in data.columns.items() if symbol in found)


def known_here(name: str) -> Packed | None:
    """A block that was fetched before."""
    folder = cache_folder()
    path = None if folder is None else folder.parent / "markets" / name
    return Packed(name, path.read_bytes()) if path is not None and path.is_file() else None


def keep_here(packed: Packed) -> None:
    """Keep a fetched block, so that it is fetched once."""
    folder = cache_folder()
    if folder is None:
        return
    path = folder.parent / "markets" / packed.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(".part")
        partial.write_bytes(packed.content)
        partial.replace(path)
    except OSError:
        return


def _runs(texts: list[str]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for text in texts:
        if found and found[-1][0] == text:
            found[-1] = (text, found[-1][1] + 1)
        else:
            found.append((text, 1))
    return found

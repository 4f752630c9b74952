"""Imports trade archives of Bybit (`public.bybit.com`, CSV.gz) and Binance (Binance Vision, zip) into the store.

Documented formats: Bybit derivatives have a header and fractional seconds, Bybit spot a header and milliseconds; Binance
futures have a header, Binance spot has none, both in milliseconds (spot since 2025 in microseconds). The unit of a timestamp
is inferred from its magnitude. Trades that are already stored are skipped.
"""

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl

from alpha.errors import Misconfigured, Rejected
from tick_recorder.schema import EARLIEST_MS, HOUR_MS, LATEST_MS, MONEY, NUMBER, RECEIVED, SCHEMAS, TS, Kind
from tick_recorder.store import TickStore
from tick_recorder.stored import read_hour

CHUNK_BYTES = 64 * 1024 * 1024
#: Suffix of Binance symbols, so that the two markets never share a name.
BINANCE = "-BINANCE"
_BYBIT_NAME = re.compile(r"([A-Z0-9-]+?)_?\d{4}-\d{2}(-\d{2})?\.csv(\.gz)?")
_BINANCE_NAME = re.compile(r"([A-Z0-9_]+)-(trades|aggTrades)-\d{4}-\d{2}(-\d{2})?\.(zip|csv)")
#: Our column -> the archive's, by the archive's first column; `maker` is "true" if the buyer is the maker.
_LAYOUTS: Mapping[str, Mapping[str, str]] = {
    "timestamp": {"time": "timestamp", "side": "side", "size": "size", "price": "price", "id": "trdMatchID"},
    "id:volume": {"time": "timestamp", "side": "side", "size": "volume", "price": "price", "id": "id"},
    "id": {"time": "time", "maker": "is_buyer_maker", "size": "qty", "price": "price", "id": "id"},
    "agg_trade_id": {
        "time": "transact_time",
        "maker": "is_buyer_maker",
        "size": "quantity",
        "price": "price",
        "id": "agg_trade_id",
    },
}
_BARE = {
    "trades": ["id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match"],
    "aggTrades": [
        *("agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id", "transact_time"),
        *("is_buyer_maker", "is_best_match"),
    ],
}


@dataclass(slots=True)
class Imported:
    """The result of importing one archive."""

    path: Path
    symbol: str
    rows: int = 0
    repeats: int = 0
    unreadable: int = 0
    example: str = ""


def import_archive(store: TickStore, path: Path, symbol: str | None = None) -> Imported:
    """Import one archive into an open store. `symbol` overrides the one in the file name.

    Misconfigured if the file is not a known archive, Rejected if it is damaged: rows read before the damage are stored, and
    importing it again is harmless.
    """
    known = symbol_of(path)
    result = Imported(path, symbol or known)
    columns: list[str] | None = None
    hours: set[int] = set()
    try:
        with _opened(path) as stream:
            for chunk in _chunks(stream):
                body = chunk
                if columns is None:
                    first, _, rest = chunk.partition(b"\n")
                    columns, has_header = _header(path, first.decode("utf-8", "replace").strip())
                    body = rest if has_header else chunk
                if body.strip():
                    hours |= _take(store, result, columns, body)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as fault:
        raise Rejected(f"{path} is damaged ({fault}): {result.rows} trades before the damage were imported.") from None
    finally:
        for hour in sorted(hours):
            store.join(Kind.TRADES, result.symbol, hour)
    return result


def symbol_of(path: Path) -> str:
    """The symbol in the file name; Misconfigured if the name is not that of an archive."""
    binance = _BINANCE_NAME.fullmatch(path.name)
    if binance is not None:
        return binance.group(1) + BINANCE
    bybit = _BYBIT_NAME.fullmatch(path.name)
    if bybit is not None:
        return bybit.group(1)
    raise Misconfigured(
        f"{path} is not named like a trade archive. Known names: BTCUSDT2024-01-31.csv.gz and BTCUSDT_2024-01-31.csv.gz "
        "(Bybit), BTCUSDT-trades-2024-01.zip and BTCUSDT-aggTrades-2024-01-31.zip (Binance)."
    )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if not path.is_file():
        raise Misconfigured(f"{path} is not a file.")
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(members) != 1:
                raise Misconfigured(f"{path} holds {len(members)} CSV files, not one.")
            with archive.open(members[0]) as stream:
                yield stream
    elif path.suffix == ".gz":
        with gzip.open(path, "rb") as stream:
            yield stream  # type: ignore[misc]
    else:
        with path.open("rb") as stream:
            yield stream


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, about CHUNK_BYTES at a time."""
    rest = b""
    while read := stream.read(CHUNK_BYTES):
        head, newline, tail = (rest + read).rpartition(b"\n")
        rest = tail
        if newline:
            yield head + newline
    if rest:
        yield rest


def _header(path: Path, first: str) -> tuple[list[str], bool]:
    names = [name.strip() for name in first.split(",")]
    if names[0] in _LAYOUTS:
        return names, True
    binance = _BINANCE_NAME.fullmatch(path.name)
    if binance is not None and names[0].isdigit():
        return _BARE[binance.group(2)][: len(names)], False
    raise Misconfigured(f"{path} does not begin like a trade archive: {first[:80]!r}.")


def _take(store: TickStore, result: Imported, columns: list[str], body: bytes) -> set[int]:
    layout = _LAYOUTS["id:volume" if columns[0] == "id" and "volume" in columns else columns[0]]
    try:
        raw = pl.read_csv(
            io.BytesIO(body), has_header=False, new_columns=columns, infer_schema=False, truncate_ragged_lines=True
        )
        texts = raw.select(pl.col(column).alias(name) for name, column in layout.items())
    except pl.exceptions.PolarsError as fault:
        raise Rejected(f"{result.path} cannot be read as CSV: {str(fault).splitlines()[0]}.") from None
    if "maker" in layout:
        maker = pl.col("maker").str.to_lowercase()
        side: pl.Expr = pl.when(maker == "true").then(pl.lit("Sell")).when(maker == "false").then(pl.lit("Buy"))
    else:
        side = pl.col("side").str.to_lowercase().replace_strict({"buy": "Buy", "sell": "Sell"}, default=None)
    money = pl.col("price").str.contains(NUMBER) & pl.col("size").str.contains(NUMBER)
    rows = texts.with_columns(side=side, us=_microseconds(), readable=money).with_columns(
        readable=pl.all_horizontal(
            pl.col("readable").fill_null(False),
            pl.col("side").is_not_null(),
            pl.col("id").is_not_null(),
            (pl.col("us") // 1_000).is_between(EARLIEST_MS, LATEST_MS, closed="left").fill_null(False),
        )
    )
    bad = rows.filter(~pl.col("readable"))
    if len(bad):
        result.unreadable += len(bad)
        result.example = result.example or str(texts.filter(~rows["readable"]).row(0))
    good = rows.filter("readable")
    if len(good) > 1 and good["us"][0] > good["us"][-1]:
        good = good.reverse()
    # within a millisecond the file's order is the exchange's, refined by the finer timestamp if there is one
    good = (
        good.sort("us", maintain_order=True)
        .with_columns(ms=pl.col("us") // 1_000)
        .with_columns(hour=pl.col("ms") // HOUR_MS)
    )
    hours = set()
    for (hour,), part in good.group_by("hour", maintain_order=True):
        if _store_hour(store, result, int(hour), part):
            hours.add(int(hour))
    return hours


def _microseconds() -> pl.Expr:
    """The timestamp in microseconds, from (fractional) seconds, milliseconds, microseconds or nanoseconds."""
    number = pl.col("time").cast(pl.Decimal(38, 9), strict=False)
    whole = number.cast(pl.Float64)
    factor = (
        pl.when(whole < 1e11).then(1_000_000).when(whole < 1e14).then(1_000).when(whole < 1e17).then(1).otherwise(0)
    )
    scaled = (number * factor.cast(pl.Decimal(38, 0))).cast(pl.Int64, strict=False)
    return pl.when(factor == 0).then(number.cast(pl.Int64, strict=False) // 1_000).otherwise(scaled)


def _store_hour(store: TickStore, result: Imported, hour: int, part: pl.DataFrame) -> bool:
    fresh = part.unique("id", keep="first", maintain_order=True)
    stored = read_hour(store, Kind.TRADES, result.symbol, hour)
    taken = pl.lit(0, dtype=pl.Int64)
    if stored is not None:
        fresh = fresh.join(stored.select("id"), on="id", how="anti", maintain_order="left")
        next_free = stored.group_by(ms=pl.col("ts").dt.timestamp("ms")).agg(
            taken=pl.col("ordinal").max().cast(pl.Int64) + 1
        )
        fresh = fresh.join(next_free, on="ms", how="left", maintain_order="left")
        taken = pl.col("taken").fill_null(0)
    result.repeats += len(part) - len(fresh)
    if not len(fresh):
        return False
    ordinal = (pl.int_range(pl.len()).over("ms") + taken).cast(pl.UInt32)
    frame = fresh.select(
        ts=pl.col("ms").cast(TS),
        received=pl.lit(None, dtype=RECEIVED),
        ordinal=ordinal,
        id="id",
        side="side",
        price=pl.col("price").cast(MONEY),
        size=pl.col("size").cast(MONEY),
        seq=pl.lit(None, dtype=pl.Int64),
        block=pl.lit(None, dtype=pl.Boolean),
        rpi=pl.lit(None, dtype=pl.Boolean),
    )
    store.write_part(Kind.TRADES, result.symbol, hour, frame.select(SCHEMAS[Kind.TRADES].keys()))
    result.rows += len(frame)
    return True

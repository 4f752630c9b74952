"""The reader of recorded ticks, shared by the simulated exchange and the back-tester. The files are `<kind>/symbol=<S>/date=<D>/<HH>.<number>[.part].parquet`, as the tick recorder writes them.

A joined file (without `.part`) replaces the files of its hour with a smaller number. Names of any other form are ignored.
polars, which reads Parquet, is imported on first use.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

HOUR_MS = 3_600_000
TRADES, QUOTES, GAPS = "trades", "bbo", "gaps"
_NAME = re.compile(r"(\d{2})\.(\d{6})(\.part)?\.parquet")
_SYMBOL = re.compile(r"symbol=([A-Z0-9-]+)")
_DATE = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_COLUMNS = {
    TRADES: ("ts", "ordinal", "id", "side", "price", "size", "block"),
    QUOTES: ("ts", "ordinal", "bid_price", "bid_size", "ask_price", "ask_size"),
    GAPS: ("ts", "until", "reason", "received", "gap_id", "kind", "state"),
}


def polars() -> ModuleType:
    """The package polars; `TickFault` where it is not installed."""
    try:
        import polars as pl
    except ImportError:
        raise TickFault(
            "Recorded ticks are Parquet files, which need the package polars: pip install polars."
        ) from None
    return pl


class TickFault(ValueError):
    """Ticks cannot be used. One sentence: folder or file, what is wrong, what to do."""


class TickGap(NamedTuple):
    """From `from_ms` to `until_ms` (None: to this day) rows of a kind and symbol were not received."""

    from_ms: int
    until_ms: int | None
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class TickFolder:
    """A folder of recorded ticks."""

    root: Path

    def symbols(self, kind: str) -> list[str]:
        """Symbols of which files of this kind are stored."""
        folder = self.root / kind
        if not folder.is_dir():
            return []
        found = (_SYMBOL.fullmatch(path.name) for path in folder.iterdir())
        return sorted(match[1] for match in found if match and self.hours(kind, match[1]))

    def hours(self, kind: str, symbol: str) -> Mapping[int, Sequence[Path]]:
        """The files that count, by the hour's start in UTC milliseconds, in order."""
        numbered: dict[int, list[tuple[int, bool, Path]]] = {}
        folder = self.root / kind / f"symbol={symbol}"
        for day in folder.iterdir() if folder.is_dir() else ():
            date = _DATE.fullmatch(day.name)
            if date is None or not day.is_dir():
                continue
            try:
                midnight = int(datetime.strptime(date[1], "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 1000
            except ValueError:
                continue
            for path in day.iterdir():
                if name := _NAME.fullmatch(path.name):
                    hour = midnight + int(name[1]) * HOUR_MS
                    numbered.setdefault(hour, []).append((int(name[2]), name[3] is None, path))
        found: dict[int, list[Path]] = {}
        for hour, files in sorted(numbered.items()):
            newest = max((number for number, joined, _ in files if joined), default=-1)
            found[hour] = [path for number, _, path in sorted(files) if number >= newest]
        return found

    def read(self, kind: str, paths: Sequence[Path]) -> Any:
        """The columns that a replay needs, as one polars frame. Block trades are left out: they are not made in the book."""
        pl = polars()
        frames = []
        for path in paths:
            try:
                frame = pl.read_parquet(path, columns=list(_COLUMNS[kind]), hive_partitioning=False)
            except (OSError, pl.exceptions.PolarsError) as fault:
                reason = (str(fault).splitlines() or ["damaged"])[0].rstrip(".")[:200]
                raise TickFault(f"{path} cannot be read: {reason}. Remove it, or restore it from a copy.") from None
            except BaseException as fault:
                # a damaged file can make polars panic; PanicException is not a subclass of Exception
                if type(fault).__name__ != "PanicException":
                    raise
                raise TickFault(f"{path} cannot be read: it is damaged. Remove it, or restore it.") from None
            frames.append(frame)
        found = pl.concat(frames)
        return found.filter(~pl.col("block").fill_null(False)) if kind == TRADES else found

    def gaps(self, symbol: str) -> list[TickGap]:
        """Where trades or quotes of a symbol were lost, oldest first; `filled` interruptions lost nothing."""
        paths = [path for files in self.hours(GAPS, symbol).values() for path in files]
        if not paths:
            return []
        pl = polars()
        newest = self.read(GAPS, paths).sort("received").unique("gap_id", keep="last")
        lost = newest.filter((pl.col("state") != "filled") & pl.col("kind").is_in([TRADES, QUOTES]))
        times = (pl.col("ts").dt.epoch("ms"), pl.col("until").dt.epoch("ms"))
        return [TickGap(*row) for row in lost.sort("ts").select(*times, "kind", "reason").iter_rows()]

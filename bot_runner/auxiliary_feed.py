"""What a strategy sees beside the candles of its symbols, live: from the exchange over REST, and from the user's files.

Rows are read when a bar needs them: funding once an hour, open interest once per step, a file when it has changed. What
could not be read is missing, so that the column has no value at the bar and brings no entry; it is never an older value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from alpha.bybit.client import Gateway
from alpha.bybit.rate_limiter import Priority
from alpha.concurrency import gather_bounded
from alpha.errors import Misconfigured, Rejected, Retry
from alpha.logs import logger
from alpha.strategy.auxiliary import FUNDING_RATE, NO_ROWS, OF_EXCHANGE, Column, Rows, auxiliary_of, open_interest_step
from alpha.strategy.bars import Bars
from alpha.strategy.base import Strategy
from alpha.strategy.column_files import file_of, read_column, read_rows

log = logger(__name__)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(slots=True)
class _Kept:
    """Rows read so far, and the time up to which they are complete."""

    rows: Rows
    read_ms: int = -1
    changed_ns: int = -1


class AuxiliaryFeed:
    """References and columns of one bot."""

    def __init__(self, strategy: Strategy[Any, Any], gateway: Gateway, interval_ms: int, folder: Path | None) -> None:
        """`folder` holds the user's files. Misconfigured where a file is missing at the start is raised by `check`."""
        self._strategy = strategy
        self._gateway = gateway
        self._folder = folder
        self._step, self._step_ms = open_interest_step(interval_ms)
        self._kept: dict[tuple[str, str], _Kept] = {}

    def check(self, symbols: tuple[str, ...]) -> None:
        """Raise Misconfigured where a file that the strategy looks at is missing or wrong."""
        for column in self._strategy.columns:
            if column.name not in OF_EXCHANGE:
                for symbol in symbols:
                    read_column(self._own_files(column), column, symbol)

    async def attach(self, bars: Mapping[str, Bars], references: Mapping[str, Bars]) -> dict[str, Bars]:
        """The same bars, all ending with the same one, with what the strategy named beside them."""
        strategy = self._strategy
        if not strategy.columns and not strategy.references:
            return dict(bars)
        found: dict[str, dict[str, Rows]] = {symbol: {} for symbol in bars}

        async def bring(column: Column, symbol: str) -> None:
            found[symbol][column.name] = await self._rows(column, bars[symbol])

        await gather_bounded(partial(bring, column, symbol) for column in strategy.columns for symbol in bars)
        return {
            symbol: replace(one, auxiliary=auxiliary_of(strategy, references, found[symbol]))
            for symbol, one in bars.items()
        }

    async def _rows(self, column: Column, bars: Bars) -> Rows:
        """The rows of a column that are known at the end of the newest bar."""
        end_ms = int(bars.start_ms[-1]) + bars.interval_ms
        kept = self._kept.setdefault((column.name, bars.symbol), _Kept(NO_ROWS))
        try:
            if column.name in OF_EXCHANGE:
                await self._from_exchange(column, bars, end_ms, kept)
            else:
                self._from_file(column, bars.symbol, kept)
        except (Retry, Rejected, Misconfigured) as fault:
            log.warning("column_not_read", column=column.name, symbol=bars.symbol, why=str(fault))
            kept.rows = replace(kept.rows, complete_ms=end_ms - bars.interval_ms)
        return kept.rows.known_by(column, end_ms)

    async def _from_exchange(self, column: Column, bars: Bars, end_ms: int, kept: _Kept) -> None:
        of_funding = column.name == FUNDING_RATE.name
        period_ms = HOUR_MS if of_funding else self._step_ms
        due_ms = (end_ms - column.delay_ms) // period_ms * period_ms
        if kept.read_ms >= due_ms:
            return
        have = kept.rows
        first_ms = int(bars.start_ms[0]) - column.delay_ms - (DAY_MS if of_funding else 2 * self._step_ms)
        since_ms = int(have.time_ms[-1]) + 1 if len(have.time_ms) else first_ms
        times: list[int] = []
        values: list[float] = []
        until_ms = end_ms
        while until_ms >= since_ms:
            page = await self._page(of_funding, bars.symbol, since_ms, until_ms)
            times[:0] = [time for time, _ in page]
            values[:0] = [value for _, value in page]
            if len(page) < 200:
                break
            until_ms = page[0][0] - 1
        joined = Rows(
            np.concatenate((have.time_ms, np.array(times, dtype=np.int64))),
            np.concatenate((have.values, np.array(values, dtype=np.float64))),
        )
        keep = int(np.searchsorted(joined.time_ms, first_ms))
        kept.rows = Rows(joined.time_ms[keep:], joined.values[keep:])
        if of_funding or (len(joined.time_ms) and int(joined.time_ms[-1]) >= due_ms):
            kept.read_ms = due_ms
        else:
            # The exchange publishes it late: no value at this bar, and another look at the next.
            kept.rows = replace(kept.rows, complete_ms=end_ms - bars.interval_ms)

    async def _page(self, of_funding: bool, symbol: str, since_ms: int, until_ms: int) -> list[tuple[int, float]]:
        if of_funding:
            rates = await self._gateway.funding_history(symbol, end_ms=until_ms, rank=Priority.ENTRY)
            return [(row.time_ms, float(row.rate)) for row in rates if row.time_ms >= since_ms]
        found = await self._gateway.open_interest(
            symbol, self._step, start_ms=since_ms, end_ms=until_ms, rank=Priority.ENTRY
        )
        return [(row.time_ms, float(row.amount)) for row in found if row.time_ms >= since_ms]

    def _from_file(self, column: Column, symbol: str, kept: _Kept) -> None:
        folder = self._own_files(column)
        path = file_of(folder, column, symbol)
        if path is None:
            read_column(folder, column, symbol)  # says what is missing
            return
        try:
            changed_ns = path.stat().st_mtime_ns
        except OSError as fault:
            raise Misconfigured(f"{path} cannot be read: {fault}.") from None
        if changed_ns != kept.changed_ns or kept.rows.complete_ms is not None:
            kept.rows = read_rows(path)
            kept.changed_ns = changed_ns

    def _own_files(self, column: Column) -> Path:
        if self._folder is None:
            raise Misconfigured(
                f"The strategy looks at the column {column.name!r}, and ALPHA_COLUMNS_DIR names no folder of files."
            )
        return self._folder

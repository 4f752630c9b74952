"""Candles that close in the same moment are analysed together, each symbol as if it were alone."""

import asyncio
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from alpha.alert_batcher import AlertBatcher
from alpha.analysis import Analysis, Definition, analyse, analyse_together, parse_definition
from alpha.model.interval import INTERVAL_MS
from alpha.timeframes import Columns
from analysis_service import analyst as module
from analysis_service.analyst import Analyst
from analysis_service.candles import Row, SymbolCandles
from analysis_service.store import History, LivePublisher, Said

END_MS = 1_700_092_800_000
DEFINITION = parse_definition(
    'intervals = ["5", "60"]\n[[indicator]]\nkind = "ema"\nperiod = 10\n[[indicator]]\nkind = "rsi"\nperiod = 5\n'
)


class _Live:
    def __init__(self) -> None:
        self.published: list[tuple[str, frozenset[str]]] = []

    async def publish(self, symbol: str, newest: dict[str, Analysis], changed: set[str]) -> None:
        assert set(newest) >= changed
        self.published.append((symbol, frozenset(changed)))


class _History:
    def __init__(self) -> None:
        self.rows: list[Said] = []

    def put(self, rows: list[Said]) -> None:
        self.rows += rows


def _candles(seed: int) -> SymbolCandles:
    candles = SymbolCandles(DEFINITION.intervals, dict.fromkeys(DEFINITION.intervals, 500))
    rng = np.random.default_rng(seed)
    for interval, window in candles.windows.items():
        close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, 500)))
        starts = END_MS - INTERVAL_MS[interval] * np.arange(500, 0, -1)
        rows = zip(starts.tolist(), close.tolist(), strict=True)
        window.restart([Row(start, price, price, price, price, 1.0) for start, price in rows], from_the_first=False)
    return candles


async def test_what_closes_in_the_same_moment_is_one_computation_per_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(windows: Sequence[Columns], length: int, definition: Definition) -> list[list[Analysis]]:
        sizes.append(len(windows))
        return analyse_together(windows, length, definition)

    monkeypatch.setattr(module, "analyse_together", counted)
    live, history = _Live(), _History()
    analyst = Analyst(
        DEFINITION,
        cast(LivePublisher, live),
        cast(History, history),
        cast(AlertBatcher, None),
        backfill=0,
        alert_on=(),
    )
    symbols = {f"T{number}USDT": _candles(number) for number in range(3)}
    both = set(DEFINITION.intervals)
    await asyncio.gather(*(analyst.closed(symbol, candles, both) for symbol, candles in symbols.items()))
    assert sizes == [3, 3]
    assert sorted(live.published) == [(symbol, frozenset(both)) for symbol in sorted(symbols)]
    assert len(history.rows) == 6
    for said in history.rows:
        window = symbols[said.symbol].windows[said.interval].columns
        assert [said.analysis] == analyse(window, INTERVAL_MS[said.interval], DEFINITION)
    # what is missed is made up for by symbol, and the next round is one of its own
    await analyst.closed("T0USDT", symbols["T0USDT"], both)
    assert len(history.rows) == 6
    assert analyst.analysed == 6

"""Whether the features that were sent for stored scores are what the exchange's own candles give: asked hourly.

A candle that was read wrong, or that the exchange has changed since, shows here: as a warning, and nothing is changed.
"""

from collections.abc import Sequence

import numpy as np

from alpha.bybit.client import Gateway
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import Rejected, Retry
from alpha.logs import logger
from alpha.model.timestamp import at
from alpha.scoring.features import FeatureSet, row_hash
from alpha.timeframes import Columns
from bot_runner.predictions import Predictions, Sent, Served
from bot_runner.scorer import Warner

log = logger(__name__)
EVERY_S = 3_600.0
#: The newest scores of each model that are compared.
COMPARED = 200
_PAGE = 1_000


class SkewCheck:
    """Of one bot's models, shadows included."""

    def __init__(
        self,
        names: Sequence[str],
        predictions: Predictions,
        gateway: Gateway,
        warn: Warner,
        *,
        every_s: float = EVERY_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._names = tuple(names)
        self._predictions = predictions
        self._gateway = gateway
        self._warn = warn
        self._every_s = every_s
        self._clock = clock

    async def run(self) -> None:
        """Compare again and again until cancelled."""
        while self._names:
            await self._clock.sleep(self._every_s)
            try:
                for model in await self._predictions.models(self._names):
                    await self._check(model)
            except (Retry, Rejected, OSError, TimeoutError) as fault:
                log.info("features_not_compared", why=str(fault)[:200])

    async def _check(self, model: Served) -> None:
        compared, differing = await self.differences(model)
        if differing:
            await self._warn(
                f"skew:{model.name}",
                f"{len(differing)} of {compared} rows of features of {model.name} are not what the exchange's candles give; the first: "
                f"{differing[0]}.",
                "Compare with alpha model skew. A restart reads the candles anew.",
            )

    async def differences(self, model: Served) -> tuple[int, list[str]]:
        """How many of the newest stored rows were compared, and which differ: symbol and bar. Raises Retry or Rejected."""
        features = FeatureSet(model.manifest.features, model.manifest.interval)
        by_symbol: dict[str, list[Sent]] = {}
        for row in await self._predictions.sent(model.version, COMPARED):
            by_symbol.setdefault(row.symbol, []).append(row)
        compared, differing = 0, []
        for symbol, rows in sorted(by_symbol.items()):
            starts = [row.closed_ms - features.interval_ms for row in rows]
            first_ms = min(starts) - (features.history + 1) * features.interval_ms
            candles = await self._candles(symbol, model.manifest.interval, features.interval_ms, first_ms, max(starts))
            places = {int(start): place for place, start in enumerate(candles.start_ms)}
            whole = bool((np.diff(candles.start_ms) == features.interval_ms).all())
            computed = features.compute(candles) if whole and len(candles.start_ms) else None
            for row, start in zip(rows, starts, strict=True):
                place = places.get(start)
                if computed is None or place is None or place + 1 < features.history:
                    continue
                compared += 1
                if row_hash(computed[place]) != row.features_hash:
                    differing.append(f"{symbol} at {at(row.closed_ms):%Y-%m-%d %H:%M} UTC")
        return compared, differing

    async def _candles(self, symbol: str, interval: str, length: int, first_ms: int, last_ms: int) -> Columns:
        rows = []
        for begin in range(first_ms, last_ms + length, _PAGE * length):
            end = min(last_ms, begin + (_PAGE - 1) * length)
            page = await self._gateway.kline(
                symbol, interval, start_ms=begin, end_ms=end, limit=_PAGE, rank=Priority.BACKFILL
            )
            rows += [candle for candle in page if candle.closed and begin <= candle.start_ms <= end]
        return Columns.of([(row.start_ms, row.open, row.high, row.low, row.close, row.volume) for row in rows])

"""The scores of a closed bar: asked for once, for all symbols, stored before they are used.

A model that gives none costs entries and nothing else: exits and stops never come here. A shadow is asked for and stored like
a live one and shown to nobody.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alpha.alerts import Level
from alpha.errors import Retry
from alpha.logs import logger
from alpha.model.score import Score
from alpha.scoring.features import FeatureSet, row_hash
from alpha.scoring.labels import outcomes
from alpha.scoring.refusals import needs_ticks, refusal
from alpha.strategy.bars import Bars, BarView, ScoreColumn
from alpha.strategy.frames import with_scores
from alpha.timeframes import Columns
from bot_runner.model_client import ModelClient, NoScore
from bot_runner.predictions import Prediction, Predictions, Served

log = logger(__name__)
#: Scores that are given their outcome after a start, at most so many bars back.
RIPEN_BARS = 600
#: Reasons that come from the market or from training, and not from something that is broken.
_EXPECTED = ("gap", "drift", "shadow", "late: the bar")


class Warner(Protocol):
    """Raises an alert of the bot."""

    async def __call__(self, key: str, text: str, remedy: str = "", level: Level = Level.WARNING) -> None:
        """The same key at most once a minute."""


@dataclass(slots=True)
class _Window:
    """The newest rows of features of one symbol for one version, and the bar that the last one belongs to."""

    last_ms: int
    rows: NDArray[np.float32]


class Scorer:
    """The models of one bot."""

    def __init__(self, names: Sequence[str], predictions: Predictions, client: ModelClient, warn: Warner) -> None:
        self.names = tuple(names)
        self.predictions = predictions
        self._client = client
        self.warn = warn
        self._windows: dict[tuple[str, str], _Window] = {}
        self._ripened: set[str] = set()
        self._silent: set[str] = set()
        #: Why the newest bar has no score, for the heartbeat; empty when every symbol has one.
        self.why = ""

    async def bars_needed(self) -> int:
        """Closed bars that the models on record need; 0 without any. Raises Retry."""
        return max((one.bars_needed for one in await self.predictions.models(self.names)), default=0)

    async def attach(
        self, views: Mapping[str, BarView], bars: Mapping[str, Bars], *, fresh: bool
    ) -> dict[str, BarView]:
        """The same views with the scores of their bar; with the reason why there is none where there is none.

        `bars` ends with the same bar and holds as many as `bars_needed` says.
        """
        found = {symbol: dict.fromkeys(self.names, Score(None, "shadow: no version is live")) for symbol in views}
        if not fresh:
            for scores in found.values():
                scores.update(dict.fromkeys(self.names, Score(None, "late: the bar is not the newest any more")))
        elif views:
            try:
                await self._ask(bars, found)
            except Retry as fault:
                for scores in found.values():
                    scores.update(dict.fromkeys(self.names, Score(None, f"away: {fault}")))
            await self._tell(found)
            missing = [(name, one.why) for scores in found.values() for name, one in scores.items() if not one]
            self.why = f"{missing[0][0]} gives no score: {missing[0][1]}" if missing else ""
        return {
            symbol: with_scores(
                view, {n: ScoreColumn.newest(len(view.series.bars), one) for n, one in found[symbol].items()}
            )
            for symbol, view in views.items()
        }

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def _ask(self, bars: Mapping[str, Bars], found: dict[str, dict[str, Score]]) -> None:
        models = await self.predictions.models(self.names)
        newest = next(iter(bars.values()))
        closed_ms = int(newest.start_ms[-1]) + newest.interval_ms
        answers = await asyncio.gather(*(self._score(model, bars, closed_ms) for model in models))
        rows = [row for answer in answers for row in answer]
        if rows:
            await self.predictions.record(rows)
        names = {model.version: model.name for model in models}
        for row in rows:
            if row.stage == "live":
                found[row.symbol][names[row.version]] = Score(row.score, row.reason)
        for model in models:
            await self._ripen(model, bars)

    async def _score(self, model: Served, bars: Mapping[str, Bars], closed_ms: int) -> list[Prediction]:
        """Rows to be stored: one per symbol."""
        manifest = model.manifest
        features = FeatureSet(manifest.features, manifest.interval)
        windows: dict[str, NDArray[np.float32]] = {}
        reasons: dict[str, str] = {}
        began = perf_counter()
        for symbol, series in bars.items():
            if features.schema != manifest.schema:
                reasons[symbol] = f"refused: {model.name} was trained with other formulas of its features"
                continue
            if features.tick_features:
                reasons[symbol] = f"refused: {needs_ticks(model.name, features.tick_features)}"
                continue
            if series.interval_ms != features.interval_ms:
                reasons[symbol] = f"refused: {model.name} was trained on {manifest.interval}-minute bars"
                continue
            windows[symbol] = self._window(model, features, series)
            reasons[symbol] = refusal(manifest, symbol, windows[symbol], closed_ms)
            if perf_counter() - began > 0.02:
                # Many symbols: let the lease and the stops have their turn.
                await asyncio.sleep(0)
                began = perf_counter()
        asked = [symbol for symbol, reason in reasons.items() if not reason]
        scores: dict[str, float] = {}
        took_ms: float | None = None
        if asked:
            try:
                values, took_ms = await self._client.scores(
                    model.name,
                    model.version,
                    manifest.schema,
                    closed_ms,
                    np.stack([windows[symbol][-1] for symbol in asked]),
                )
                scores = dict(zip(asked, values.astype(np.float64).tolist(), strict=True))
            except NoScore as fault:
                reasons.update(dict.fromkeys(asked, str(fault)))
        return [
            Prediction(
                version=model.version,
                symbol=symbol,
                closed_ms=closed_ms,
                stage=model.stage,
                features_hash=row_hash(windows[symbol][-1]) if _known(windows, symbol) else "",
                features=windows[symbol][-1].astype(np.float64).tolist() if _known(windows, symbol) else None,
                score=scores.get(symbol),
                reason=reasons[symbol],
                latency_ms=took_ms if symbol in scores else None,
            )
            for symbol in bars
        ]

    def _window(self, model: Served, features: FeatureSet, bars: Bars) -> NDArray[np.float32]:
        """The rows of features of the last `drift_bars` bars, oldest first."""
        keep = model.manifest.drift_bars
        newest_ms = int(bars.start_ms[-1])
        known = self._windows.get((model.version, bars.symbol))
        if known is not None and newest_ms - known.last_ms == bars.interval_ms:
            row = features.compute(_last(bars, features.history))[-1:]
            rows = np.concatenate((known.rows[-(keep - 1) :], row))
        elif known is not None and newest_ms == known.last_ms:
            rows = known.rows
        else:
            rows = features.compute(_last(bars, features.history + keep))[-keep:]
        self._windows[model.version, bars.symbol] = _Window(newest_ms, rows)
        return rows

    async def _ripen(self, model: Served, bars: Mapping[str, Bars]) -> None:
        """Store what came of earlier scores, as training would have labelled them."""
        label = model.manifest.label
        back = 1 if model.version in self._ripened else RIPEN_BARS
        found = []
        for symbol, series in bars.items():
            columns = _last(series, label.ripe_after + back)
            net = outcomes(columns, label).net
            for place in np.flatnonzero(~np.isnan(net)).tolist():
                found.append((symbol, int(columns.start_ms[place]) + series.interval_ms, float(net[place])))
        if found:
            await self.predictions.ripen(model.version, found)
        self._ripened.add(model.version)

    async def _tell(self, found: Mapping[str, Mapping[str, Score]]) -> None:
        """An alert for a model that gives no score, and one when it does again."""
        for name in self.names:
            reasons = [scores[name].why for scores in found.values() if not scores[name]]
            broken = [why for why in reasons if not why.startswith(_EXPECTED)]
            drifted = [why for why in reasons if why.startswith("drift")]
            if broken:
                self._silent.add(name)
                text = f"The model {name} gives no score: {broken[0]}."
                await self.warn(f"model:{name}", text, "No entries until it does. Exits and stops go on.")
            elif name in self._silent and any(scores[name] for scores in found.values()):
                self._silent.discard(name)
                log.info("model_scores_again", model=name)
                await self.warn(f"model_again:{name}", f"The model {name} gives scores again.", level=Level.INFO)
            if drifted:
                text = f"The model {name} is not asked: {drifted[0]}."
                await self.warn(f"drift:{name}", text, f"No entries there. Look at /model {name}; train it again.")


def _known(windows: Mapping[str, NDArray[np.float32]], symbol: str) -> bool:
    rows = windows.get(symbol)
    return rows is not None and len(rows) > 0 and not bool(np.isnan(rows[-1]).any())


def _last(bars: Bars, count: int) -> Columns:
    part = slice(max(0, len(bars) - count), None)
    return Columns(
        bars.start_ms[part], bars.open[part], bars.high[part], bars.low[part], bars.close[part], bars.volume[part]
    )

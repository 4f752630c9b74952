"""`trading.models` and `trading.predictions` as a bot uses them."""

from collections.abc import Sequence

import msgspec

from alpha.model.account import Account
from alpha.model.timestamp import at
from alpha.postgres.sql import queries
from alpha.scoring.features import FeatureSet
from alpha.scoring.labels import Label
from alpha.scoring.manifest import FeatureRange
from bot_runner.store import Store

SQL = queries(__file__)

#: Shadows of one name that are scored beside the live version, the newest first.
SHADOWS = 3


class ScoringManifest(msgspec.Struct, frozen=True):
    """What a bot needs of a manifest."""

    name: str
    interval: str
    features: list[str]
    schema: str
    label: Label
    trained_to_ms: int
    expires_hours: int
    drift_bars: int
    ranges: dict[str, dict[str, FeatureRange]]


class Served(msgspec.Struct, frozen=True):
    """A model version that is scored, and in which stage."""

    version: str
    name: str
    stage: str
    manifest: ScoringManifest

    @property
    def bars_needed(self) -> int:
        """Closed bars from which its features, its drift and the outcome of its newest ripe score are computed."""
        features = FeatureSet(self.manifest.features, self.manifest.interval)
        return features.history + self.manifest.drift_bars + self.manifest.label.ripe_after


class Prediction(msgspec.Struct, frozen=True):
    """One row. `closed_ms` is business time; `score` is None where `reason` says why."""

    version: str
    symbol: str
    closed_ms: int
    stage: str
    features_hash: str
    features: list[float] | None
    score: float | None
    reason: str
    latency_ms: float | None


class Sent(msgspec.Struct, frozen=True):
    """Features that were sent for a score."""

    symbol: str
    closed_ms: int
    features_hash: str


class Predictions:
    """The rows of one bot. Raises Retry while PostgreSQL is away."""

    def __init__(self, store: Store, account: Account, bot_id: str) -> None:
        self._store = store
        self._account = account
        self._bot_id = bot_id
        self._read: dict[str, ScoringManifest] = {}

    async def models(self, names: Sequence[str]) -> list[Served]:
        """The live version of each name and its newest shadows."""
        rows = await self._store.rows(SQL["models"], list(names))
        found: list[Served] = []
        for row in rows:
            version, name, stage = str(row["version"]), str(row["name"]), str(row["stage"])
            if stage == "shadow" and sum(one.name == name and one.stage == stage for one in found) >= SHADOWS:
                continue
            if version not in self._read:
                self._read[version] = msgspec.json.decode(row["manifest"], type=ScoringManifest)
            found.append(Served(version, name, stage, self._read[version]))
        return found

    async def record(self, rows: Sequence[Prediction]) -> None:
        """Write scores; one that is there already stays as it is."""
        content = [{**msgspec.structs.asdict(row), "closed_at": at(row.closed_ms).isoformat()} for row in rows]
        await self._store.rows(SQL["record"], self._account.id, self._bot_id, content)

    async def sent(self, version: str, most: int) -> list[Sent]:
        """The newest rows of a version whose features are known."""
        rows = await self._store.rows(SQL["sent"], self._account.id, version, most)
        return [Sent(str(row["symbol"]), int(row["closed_ms"]), str(row["features_hash"])) for row in rows]

    async def ripen(self, version: str, outcomes: Sequence[tuple[str, int, float]]) -> None:
        """Write what came of scores: symbol, close of the bar in ms, net return."""
        content = [
            {"symbol": symbol, "closed_at": at(closed_ms).isoformat(), "outcome": outcome}
            for symbol, closed_ms, outcome in outcomes
        ]
        await self._store.rows(SQL["ripen"], self._account.id, version, content)

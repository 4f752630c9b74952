"""Models as an operator sees them: which trade, what they said live, and how far that is from training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from alpha.errors import Rejected
from alpha.postgres.sql import queries
from operations.command_result import CommandResult
from operations.context import Operations

SQL = queries(__file__)

MOST_ROWS = 20_000
WARN, STOP = 0.1, 0.25
_BINS, _LEAST = 10, 1e-4


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One registered version. `shadow` is the business time between its first and newest shadow score."""

    name: str
    version: str
    stage: str
    is_null: bool
    why: str
    attempts: int
    shadow_days: int
    shadow: timedelta
    scores: int
    newest: datetime | None
    stage_by: str
    stage_at: datetime
    trained_to_ms: int


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """What came of the scores of a version since it was registered. None where too few labels are ripe."""

    ripe: int
    auc: float | None
    log_loss: float | None
    base_rate: float | None
    calibration: list[tuple[float, float, int]]
    missing: list[tuple[str, int]]
    latency_p99_ms: float | None


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One feature of one symbol: its stability index over the newest scores, and what counts as chance."""

    feature: str
    symbol: str
    index: float
    noise: float

    @property
    def excess(self) -> float:
        """The index beyond what windows of this length showed inside training."""
        return self.index - self.noise


@dataclass(frozen=True, slots=True)
class SkewRow:
    """The newest comparison of features sent with features recomputed from candles."""

    checked_at: datetime
    rows: int
    differing: int
    text: str


@dataclass(frozen=True, slots=True)
class ModelDetail:
    """Everything about one version: training's figures, live ones, drift and skew."""

    row: ModelRow
    metrics: Mapping[str, Any]
    kind: str
    live: LiveFigures
    drift: list[DriftRow]
    skew: SkewRow | None

    @property
    def agrees(self) -> bool | None:
        """Whether the live AUC lies inside the interval of training; None while too few labels are ripe."""
        if self.live.auc is None:
            return None
        auc = self.metrics["auc"]
        return float(auc["low"]) <= self.live.auc <= float(auc["high"])


async def models(platform: Operations, name: str | None = None) -> list[ModelRow]:
    """Every registered version, of one name or of all; those that trade first."""
    rows = await platform.history.rows(SQL["models"], name)
    return [
        ModelRow(
            row["name"],
            row["version"],
            row["stage"],
            row["is_null"],
            row["why"],
            row["attempts"],
            row["shadow_days"],
            row["shadow"],
            row["scores"],
            row["newest"],
            row["stage_by"],
            row["stage_at"],
            row["trained_to_ms"],
        )
        for row in rows
    ]


async def find_model(platform: Operations, name: str, version: str | None) -> ModelRow:
    """The version that begins so; without one the only shadow, or the live one. Rejected, naming the choices."""
    rows = await models(platform, name)
    if not rows:
        names = ", ".join(dict.fromkeys(row.name for row in await models(platform))) or "none"
        raise Rejected(f"There is no model {name[:40]}. Models: {names}.")
    found = [row for row in rows if version is None or (len(version) >= 4 and row.version.startswith(version))]
    if version is None and len(found) > 1:
        found = [row for row in rows if row.stage != "retired"]
    if len(found) != 1:
        choices = ", ".join(f"{row.version[:12]} ({row.stage})" for row in rows[:8])
        raise Rejected(f"Name a version of {name}: {choices}.")
    return found[0]


async def model_detail(platform: Operations, name: str, version: str | None = None) -> ModelDetail:
    """One version: the named one, else the live one, else the newest."""
    rows = await models(platform, name)
    row = await find_model(platform, name, version) if version is not None or not rows else rows[0]
    manifest = await platform.history.value(SQL["manifest"], row.version)
    scored = await platform.history.rows(
        SQL["predictions"],
        row.version,
        MOST_ROWS,
    )
    checks = await platform.history.rows(
        SQL["last_check"],
        row.version,
    )
    kind = str(manifest["label"]["kind"])
    return ModelDetail(
        row,
        manifest["metrics"],
        kind,
        live_figures(scored, probabilities=kind != "size"),
        drift_rows(manifest, scored),
        SkewRow(*checks[0].values()) if checks else None,
    )


async def promote(platform: Operations, name: str, version: str | None, by: str) -> CommandResult:
    """Let a shadow trade. Rejected for a null model, and for one that was a shadow for too short a time."""
    row = await find_model(platform, name, version)
    try:
        former = await platform.history.value(SQL["promote"], row.version, by)
    except asyncpg.PostgresError as fault:
        raise _said(fault) from None
    retired = f" Version {former[:12]} is retired." if former else ""
    return CommandResult(True, f"{name} {row.version[:12]} is live from the next bar.{retired}")


async def retire(platform: Operations, name: str, version: str | None, by: str) -> CommandResult:
    """Take a model out of shadow and trading."""
    row = await find_model(platform, name, version)
    changed = await platform.history.value(SQL["retire"], row.version, by)
    text = "is retired: bots that use it make no entries." if changed else "was retired already."
    return CommandResult(True, f"{name} {row.version[:12]} {text}")


async def register(platform: Operations, version: str, record: Mapping[str, Any], by: str) -> str:
    """Put an artefact on record as a shadow; returns its stage."""
    return str(await platform.history.value(SQL["register"], version, record, by))


async def note_skew(platform: Operations, version: str, rows: int, differing: int, text: str) -> None:
    """Keep the result of a comparison of features."""
    await platform.history.value(
        SQL["record_check"],
        version,
        rows,
        differing,
        text,
    )


def _said(fault: asyncpg.PostgresError) -> Exception:
    return Rejected(str(fault)) if fault.sqlstate == "AL010" else fault


def live_figures(rows: Sequence[Mapping[str, Any]], *, probabilities: bool) -> LiveFigures:
    """Figures of stored scores whose outcome is known."""
    ripe = [(float(row["score"]), row["outcome"] > 0) for row in rows if None not in (row["score"], row["outcome"])]
    missing: dict[str, int] = {}
    for row in rows:
        if row["score"] is None:
            reason = str(row["reason"]).partition(":")[0]
            missing[reason] = missing.get(reason, 0) + 1
    latencies = sorted(float(row["latency_ms"]) for row in rows if row["latency_ms"] is not None)
    enough = len(ripe) >= 100 and len({good for _, good in ripe}) == 2
    return LiveFigures(
        len(ripe),
        auc(ripe) if enough else None,
        log_loss(ripe) if enough and probabilities else None,
        sum(good for _, good in ripe) / len(ripe) if ripe else None,
        calibration(ripe) if enough else [],
        sorted(missing.items(), key=lambda one: -one[1]),
        latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))] if latencies else None,
    )


def auc(rows: Sequence[tuple[float, bool]]) -> float:
    """How often a row above zero has the higher score than one that is not; ties count half."""
    ordered = sorted(rows)
    below = total = 0.0
    place = 0
    while place < len(ordered):
        end = place
        while end < len(ordered) and ordered[end][0] == ordered[place][0]:
            end += 1
        good = sum(one[1] for one in ordered[place:end])
        bad = end - place - good
        total += good * (below + bad / 2)
        below += bad
        place = end
    positives = sum(good for _, good in rows)
    return total / (positives * (len(rows) - positives))


def log_loss(rows: Sequence[tuple[float, bool]]) -> float:
    """Mean log-loss of probabilities."""
    clipped = ((min(max(score, 1e-6), 1 - 1e-6), good) for score, good in rows)
    return -sum(math.log(score if good else 1 - score) for score, good in clipped) / len(rows)


def calibration(rows: Sequence[tuple[float, bool]], bins: int = 5) -> list[tuple[float, float, int]]:
    """Per fifth of the scores: their mean, how often the trade paid, and the rows."""
    ordered = sorted(rows)
    found = []
    for number in range(bins):
        part = ordered[len(ordered) * number // bins : len(ordered) * (number + 1) // bins]
        if part:
            mean = sum(score for score, _ in part) / len(part)
            found.append((mean, sum(good for _, good in part) / len(part), len(part)))
    return found


def drift_rows(manifest: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[DriftRow]:
    """The stability index of every feature and symbol over the newest `drift_bars` rows, the largest excess first.

    Empty for a symbol with fewer rows: so few say nothing.
    """
    window = int(manifest["drift_bars"])
    found = []
    for symbol, ranges in manifest["ranges"].items():
        newest = [row["features"] for row in rows if row["symbol"] == symbol and row["features"] is not None][:window]
        if len(newest) < window:
            continue
        for place, feature in enumerate(manifest["features"]):
            expected = ranges[feature]
            edges = [float(edge) for edge in expected["deciles"]]
            counts = [0] * _BINS
            for values in newest:
                counts[sum(values[place] >= edge for edge in edges)] += 1
            shares = [float(share) for share in expected["shares"]]
            index = sum(_term(count / len(newest), share) for count, share in zip(counts, shares, strict=True))
            found.append(DriftRow(feature, symbol, index, float(expected["noise"])))
    return sorted(found, key=lambda row: -row.excess)


def _term(actual: float, expected: float) -> float:
    actual, expected = max(actual, _LEAST), max(expected, _LEAST)
    return (actual - expected) * math.log(actual / expected)

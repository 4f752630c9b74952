"""Pages of models: all of them, and one with its live figures beside those of training."""

from collections.abc import Sequence
from datetime import tzinfo

from operations.formatting import NONE, count, moment, span
from operations.models import STOP, WARN, DriftRow, ModelDetail, ModelRow
from operations.page import Block, Cell, Column, Facts, Page, Table, Tone, Words

_SHORT = 12
_DRIFT_SHOWN = 8
_STAGES = {"live": Tone.GOOD, "shadow": Tone.WARN, "retired": Tone.DIM}


def models_page(rows: Sequence[ModelRow], zone: tzinfo) -> Page:
    """Every registered version."""
    table = Table(
        (
            Column("model"),
            Column("version", phone=False),
            Column("stage"),
            Column("verdict"),
            Column("shadow", right=True, phone=False),
            Column("scores", right=True),
            Column("newest", right=True, phone=False),
        ),
        [
            [
                Cell(row.name),
                Cell(row.version[:_SHORT]),
                Cell(row.stage, _STAGES[row.stage]),
                _verdict(row),
                span(row.shadow),
                count(row.scores),
                moment(row.newest, zone),
            ]
            for row in rows
        ],
        empty="No model is registered. alpha model train makes one, alpha model register puts it on record.",
    )
    return Page("Models", [table], list(rows))


def model_page(seen: ModelDetail, zone: tzinfo) -> Page:
    """One version: training, live, drift, skew."""
    row, metrics, live = seen.row, seen.metrics, seen.live
    facts = [
        ("version", Cell(row.version[:_SHORT])),
        ("stage", Cell(row.stage, _STAGES[row.stage])),
        ("since", Cell(f"{row.stage_at.astimezone(zone):%Y-%m-%d %H:%M}")),
        ("by", Cell(row.stage_by)),
        ("verdict", _verdict(row)),
        ("attempts", count(row.attempts)),
        ("shadow", Cell(f"{row.shadow.total_seconds() / 86_400:.1f} of {row.shadow_days} days")),
        ("scores", Cell(f"{row.scores:,}, {live.ripe:,} of the newest ripe")),
        ("answer, p99", NONE if live.latency_p99_ms is None else Cell(f"{live.latency_p99_ms:.1f} ms")),
    ]
    loss = "log-loss" if seen.kind != "size" else "loss"
    figures = Table(
        (Column("figure"), Column("training", right=True), Column("live", right=True)),
        [
            [Cell("AUC"), _interval(metrics["auc"]), _live(live.auc, seen.agrees)],
            [Cell(loss), _interval(metrics["log_loss"]), _live(live.log_loss)],
            [Cell("trades that pay"), Cell(f"{float(metrics['base_rate']):.3f}"), _live(live.base_rate)],
        ],
        title="Out of sample in training, and live",
    )
    blocks: list[Block] = [Words(row.why, Tone.BAD if row.is_null else Tone.PLAIN), Facts(facts), figures]
    if live.auc is None:
        blocks.append(Words("Live figures need 100 ripe labels.", Tone.DIM))
    if live.calibration:
        cells = [[Cell(f"{s:.3f}"), Cell(f"{paid:.3f}"), count(rows)] for s, paid, rows in live.calibration]
        head = (Column("score", right=True), Column("paid", right=True), Column("rows", right=True))
        blocks.append(Table(head, cells, title="Live calibration, by fifths of the scores"))
    if live.missing:
        said = ", ".join(f"{reason} {number:,}" for reason, number in live.missing)
        blocks.append(Words(f"Bars without a score: {said}.", Tone.WARN))
    blocks += [_drift(seen.drift), _skew(seen, zone)]
    return Page(f"Model {row.name}", blocks, seen)


def _verdict(row: ModelRow) -> Cell:
    return Cell("null", Tone.BAD) if row.is_null else Cell("pass", Tone.GOOD)


def _interval(figure: dict[str, float]) -> Cell:
    return Cell(f"{float(figure['value']):.3f} [{float(figure['low']):.3f}, {float(figure['high']):.3f}]")


def _live(value: float | None, agrees: bool | None = None) -> Cell:
    if value is None:
        return NONE
    return Cell(f"{value:.3f}", Tone.PLAIN if agrees is None else (Tone.GOOD if agrees else Tone.WARN))


def _drift(rows: Sequence[DriftRow]) -> Block:
    if not rows:
        return Words("Drift is judged once enough bars were scored.", Tone.DIM)
    shown = [
        [Cell(row.feature), Cell(row.symbol), Cell(f"{row.index:.3f}"), Cell(f"{row.noise:.3f}"), _excess(row)]
        for row in rows[:_DRIFT_SHOWN]
    ]
    head = (
        Column("feature"),
        Column("symbol"),
        Column("PSI", right=True),
        Column("chance", right=True, phone=False),
        Column("beyond", right=True),
    )
    return Table(head, shown, title=f"Drift: beyond {WARN} it warns, beyond {STOP} entries stop")


def _excess(row: DriftRow) -> Cell:
    tone = Tone.BAD if row.excess > STOP else Tone.WARN if row.excess > WARN else Tone.GOOD
    return Cell(f"{row.excess:+.3f}", tone)


def _skew(seen: ModelDetail, zone: tzinfo) -> Words:
    if seen.skew is None:
        return Words(f"Skew was not checked yet: alpha model skew {seen.row.name}.", Tone.DIM)
    tone = Tone.BAD if seen.skew.differing else Tone.GOOD
    return Words(f"{seen.skew.checked_at.astimezone(zone):%Y-%m-%d %H:%M}: {seen.skew.text}", tone)

"""report.html of a training: verdict, folds, calibration, importance with its noise band, profit compared with buy-and-hold."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from alpha.model.timestamp import at
from alpha.scoring.manifest import SHORT, digest, encode
from research.models.train import Trained

Floats = NDArray[np.float64]
_WIDTH, _HEIGHT = 720, 220
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.2em .6em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}.null{color:#a40000}.pass{color:#1a7f37}svg{width:100%;height:auto}"
    ".dim{color:#666}h2{margin-top:2em}"
)
_TRADES_SHOWN = 50


def report_html(trained: Trained) -> str:
    """The whole page, without anything to load from elsewhere."""
    manifest, metrics = trained.manifest, trained.manifest.metrics
    label = manifest.label
    version = digest(encode(manifest))[:SHORT]
    facts = [
        ("Model", f"{manifest.name} {version}"),
        (
            "Trained on",
            f"{', '.join(manifest.symbols)}, {_when(manifest.trained_from_ms)} to {_when(manifest.trained_to_ms)} UTC",
        ),
        ("Label", f"{label.kind}, {label.direction}, {label.bars} bars of {manifest.interval} minutes"),
        ("Costs", f"{label.cost * 100:.3f} % for a round trip"),
        ("AUC", _interval(metrics.auc.value, metrics.auc.low, metrics.auc.high, "{:.4f}")),
        ("Loss", _interval(metrics.log_loss.value, metrics.log_loss.low, metrics.log_loss.high, "{:.4f}")),
        ("Net profit", _interval(metrics.net.value * 100, metrics.net.low * 100, metrics.net.high * 100, "{:+.2f} %")),
        ("Buy and hold", f"{metrics.hold * 100:+.2f} %"),
        ("Trades", f"{metrics.trades:,}"),
        ("p-value", f"{metrics.p_value:.5f} of {metrics.permutations:,} permutations; attempts {metrics.attempts}"),
    ]
    parts = [
        f"<h1>{escape(manifest.name)} <span class={manifest.verdict}>{manifest.verdict}</span></h1>",
        f"<p>{escape(manifest.why)} All figures are out of sample, after fees and slippage; brackets are 95 % intervals.</p>",
        _table(("", ""), facts),
        "<h2>Profit and buy-and-hold</h2>",
        _lines(
            [
                ("model", np.cumsum(trained.per_bar) * 100, "#1f5fbf"),
                ("buy and hold", trained.hold_by_bar * 100, "#999"),
            ],
            "%",
        ),
        "<h2>Folds</h2>",
        _table(
            ("tested from", "to", "rows", "AUC", "loss", "trades", "net", "chosen"),
            [
                (
                    _when(fold.from_ms),
                    _when(fold.to_ms),
                    f"{fold.rows:,}",
                    f"{fold.auc:.3f}",
                    f"{fold.log_loss:.4f}",
                    f"{fold.trades}",
                    f"{fold.net * 100:+.2f} %",
                    ", ".join(f"{name} {value:g}" for name, value in fold.chosen.items()),
                )
                for fold in metrics.folds
            ],
        ),
        "<h2>Calibration</h2><p>Per tenth of the scores: their mean and how often the trade paid.</p>",
        _table(
            ("score", "paid", "rows"),
            [(f"{score:.4f}", f"{share:.4f}", f"{rows:,.0f}") for score, share, rows in metrics.calibration],
        ),
        "<h2>Importance</h2><p>Share of all gains. The grey bar is what labels permuted in blocks reach in 95 of 100 cases: "
        "a feature inside it says nothing.</p>",
        _bars(manifest.features, trained.importance, trained.noise),
        f"<h2>What would have been traded</h2><p>The first {_TRADES_SHOWN} of {metrics.trades} trades.</p>",
        _table(("decided", "symbol", "net"), _trades(trained)),
        f"<p class=dim>Data {escape(', '.join(f'{k} {v}' for k, v in manifest.data.items()))}; code {manifest.code}; "
        f"{escape(', '.join(f'{k} {v}' for k, v in manifest.packages.items()))}.</p>",
    ]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(manifest.name)}</title><style>{_STYLE}</style>"
    return head + "\n".join(parts) + "</html>\n"


def _when(ms: int) -> str:
    return f"{at(ms):%Y-%m-%d %H:%M}"


def _interval(value: float, low: float, high: float, form: str) -> str:
    return f"{form.format(value)} [{form.format(low)}, {form.format(high)}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _trades(trained: Trained) -> list[tuple[str, str, str]]:
    panel = trained.panel
    return [
        (
            _when(panel.time_ms(int(panel.bar[row]) + 1)),
            panel.symbols[int(panel.symbol[row])],
            f"{panel.net[row] * 100:+.3f} %",
        )
        for row in trained.traded.rows[:_TRADES_SHOWN].tolist()
    ]


def _lines(series: Sequence[tuple[str, Floats, str]], unit: str) -> str:
    low = min(0.0, *(float(values.min()) for _, values, _ in series))
    high = max(0.0, *(float(values.max()) for _, values, _ in series))
    span = high - low or 1.0
    drawn = []
    for number, (name, values, colour) in enumerate(series):
        picked = np.linspace(0, len(values) - 1, min(len(values), 400)).astype(np.int64)
        points = " ".join(
            f"{place * _WIDTH / max(1, len(picked) - 1):.1f},{_HEIGHT - (float(values[index]) - low) / span * _HEIGHT:.1f}"
            for place, index in enumerate(picked.tolist())
        )
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        drawn.append(
            f'<text x="4" y="{16 + 16 * number}" fill="{colour}">{escape(name)} {values[-1]:+.2f} {unit}</text>'
        )
    zero = _HEIGHT - (0.0 - low) / span * _HEIGHT
    axis = f'<line x1="0" x2="{_WIDTH}" y1="{zero:.1f}" y2="{zero:.1f}" stroke="#ccc"/>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{axis}{"".join(drawn)}</svg>'


def _bars(names: Sequence[str], gains: Floats, noise: Floats) -> str:
    band = np.quantile(noise, 0.95, axis=0) if len(noise) else np.zeros(len(names))
    top = max(float(gains.max()), float(band.max()), 1e-9)
    drawn = []
    for row, place in enumerate(np.argsort(-gains).tolist()):
        y, scale = 20 * row, (_WIDTH - 260) / top
        colour = "#1f5fbf" if gains[place] > band[place] else "#9db4d6"
        drawn.append(f'<rect x="180" y="{y + 2}" height="15" width="{band[place] * scale:.1f}" fill="#ddd"/>')
        drawn.append(f'<rect x="180" y="{y + 6}" height="7" width="{gains[place] * scale:.1f}" fill="{colour}"/>')
        drawn.append(f'<text x="0" y="{y + 14}" font-size="13">{escape(names[place])}</text>')
        drawn.append(f'<text x="{_WIDTH - 70}" y="{y + 14}" font-size="13">{gains[place] * 100:.1f} %</text>')
    return f'<svg viewBox="0 0 {_WIDTH} {20 * len(names)}" role="img">{"".join(drawn)}</svg>'

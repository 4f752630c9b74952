"""The heat map: symbols by timeframes, each cell coloured by its rating."""

from datetime import tzinfo
from html import escape

from alpha.model.interval import INTERVAL_MS
from alpha.model.timestamp import ms_of
from operations.analysis import SymbolRatings, interval_name
from operations.formatting import full_moment

_BUY, _SELL = "95,199,127", "236,106,100"


def heat_map_html(rows: list[SymbolRatings], zone: tzinfo) -> str:
    """A table of all analysed symbols, strongest buy first; each symbol links to its page."""
    if not rows:
        return (
            "<section><h2>Analysis</h2><p class=dim>analysis_service has published nothing. Start it with "
            "docker compose -f docker-compose.production.yml up -d analysis_service.</p></section>"
        )
    intervals = sorted({name for row in rows for name in row.ratings}, key=lambda name: INTERVAL_MS.get(name, 0))
    head = "".join(f"<th class=right>{escape(name)}</th>" for name in ("all", *map(interval_name, intervals)))
    ordered = sorted(rows, key=lambda row: (-(row.rating or 0.0), row.symbol))
    body = "".join(
        f'<tr><td><a href="/analysis?q={escape(row.symbol)}">{escape(row.symbol)}</a></td>'
        + _cell(row.rating)
        + "".join(
            _cell(row.ratings.get(name), f"/analysis?q={escape(row.symbol)}+{escape(name)}") for name in intervals
        )
        + f"<td>{escape(row.label)}</td></tr>"
        for row in ordered
    )
    newest = max(ms_of(row.closed_at) for row in rows)
    at = next(row.closed_at for row in rows if ms_of(row.closed_at) == newest)
    return (
        "<section><h2>Ratings by timeframe</h2><div class=scroll><table class=ratings><thead><tr><th>symbol</th>"
        f"{head}<th></th></tr></thead><tbody>{body}</tbody></table></div>"
        f"<p class=dim>-1 is all sell, 1 is all buy. Newest candle: {full_moment(at, zone)}.</p></section>"
    )


def _cell(rating: float | None, link: str = "") -> str:
    if rating is None:
        return "<td class='right dim'>-</td>"
    colour = _BUY if rating > 0 else _SELL
    text = f"{rating:+.2f}"
    shown = f'<a href="{link}">{text}</a>' if link else f"<b>{text}</b>"
    return f'<td class=right style="background: rgba({colour},{min(0.85, abs(rating)):.2f})">{shown}</td>'

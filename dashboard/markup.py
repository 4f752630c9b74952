"""Renders pages as HTML. Every text is escaped here and nowhere else."""

import re
from html import escape
from urllib.parse import quote

from dashboard.charts import bars_svg, chart_html, curve_html, gauges_svg
from operations.page import BarChart, Block, Candles, Cell, Curve, Facts, Gauges, Page, Picture, Table, Verbatim, Words

_SYMBOL = re.compile(r"[A-Z0-9]{2,20}")
_TRADE = re.compile(r"[0-9a-f]{10}")


def page_html(page: Page, *, cards: bool = False, more: str = "") -> str:
    """Render a page: title, chart, blocks. With `cards` a phone shows each row of its tables as a card, with all columns.

    `more` is HTML at its end.
    """
    picture = "" if page.picture is None else picture_html(page.picture)
    blocks = "".join(block_html(block, cards=cards) for block in page.blocks)
    return f"<section><h2>{escape(page.title)}</h2>{picture}{blocks}{more}</section>"


def block_html(block: Block, *, cards: bool = False) -> str:
    """Render one block of a page."""
    match block:
        case Table():
            return _table(block, cards=cards)
        case Facts():
            rows = "".join(
                f"<tr><th scope=row>{escape(name)}</th><td>{cell_html(cell)}</td></tr>" for name, cell in block.rows
            )
            return f"{_title(block.title)}<table class=facts>{rows}</table>"
        case Words():
            return f"<p class={block.tone.value}>{escape(block.text)}</p>"
        case Verbatim():
            return f"<pre>{escape(block.text)}</pre>"


def picture_html(picture: Picture) -> str:
    """Render a chart."""
    match picture:
        case Curve():
            return curve_html(picture)
        case BarChart():
            return bars_svg(picture)
        case Gauges():
            return gauges_svg(picture)
        case Candles():
            source = f"/data/candles/{quote(picture.symbol)}?interval={quote(picture.interval)}"
            return chart_html("candles", source, f"Candles of {picture.symbol}")


def _table(table: Table, *, cards: bool = False) -> str:
    if not table.rows:
        return f"{_title(table.title)}<p class=dim>{escape(table.empty)}</p>"
    classes = [
        " ".join(name for name in ("right" if c.right else "", "" if c.phone or cards else "wide") if name)
        for c in table.columns
    ]
    head = "".join(
        f'<th scope=col class="{kind}">{escape(c.title)}</th>' for c, kind in zip(table.columns, classes, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}" data-label="{escape(column.title)}">{_linked(cell, column.title)}</td>'
            for cell, column, kind in zip(row, table.columns, classes, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    return f"{_title(table.title)}<div class=scroll><table{' class=cards-table' if cards else ''}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _linked(cell: Cell, column: str) -> str:
    """Link a symbol to its candles, and the id of a trade to its page."""
    if column == "symbol" and _SYMBOL.fullmatch(cell.text):
        return f'<a href="/chart/{cell.text}">{cell_html(cell)}</a>'
    if column == "trade" and _TRADE.fullmatch(cell.text):
        return f'<a href="/trade/{cell.text}">{cell_html(cell)}</a>'
    return cell_html(cell)


def _title(text: str) -> str:
    return f"<h3>{escape(text)}</h3>" if text else ""


def cell_html(cell: Cell) -> str:
    """Render a cell's text in its tone."""
    return f"<span class={cell.tone.value}>{escape(cell.text)}</span>"

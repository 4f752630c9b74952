"""Renders pages as HTML. Every text is escaped here and nowhere else."""

import re
from html import escape

from dashboard.charts import bars_svg, curve_svg
from operations.page import BarChart, Block, Cell, Curve, Facts, Page, Picture, Table, Verbatim, Words

_SYMBOL = re.compile(r"[A-Z0-9]{2,20}")


def page_html(page: Page) -> str:
    """Render a page: title, chart, blocks."""
    picture = "" if page.picture is None else picture_html(page.picture)
    blocks = "".join(block_html(block) for block in page.blocks)
    return f"<section><h2>{escape(page.title)}</h2>{picture}{blocks}</section>"


def block_html(block: Block) -> str:
    """Render one block of a page."""
    match block:
        case Table():
            return _table(block)
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
    """Render a chart as SVG."""
    match picture:
        case Curve():
            return curve_svg(picture)
        case BarChart():
            return bars_svg(picture)


def _table(table: Table) -> str:
    if not table.rows:
        return f"{_title(table.title)}<p class=dim>{escape(table.empty)}</p>"
    classes = [
        " ".join(name for name in ("right" if c.right else "", "" if c.phone else "wide") if name)
        for c in table.columns
    ]
    head = "".join(f'<th class="{kind}">{escape(c.title)}</th>' for c, kind in zip(table.columns, classes, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{_linked(cell) if column.title == "symbol" else cell_html(cell)}</td>'
            for cell, column, kind in zip(row, table.columns, classes, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    return f"{_title(table.title)}<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _linked(cell: Cell) -> str:
    """Link a symbol to its candles."""
    if not _SYMBOL.fullmatch(cell.text):
        return cell_html(cell)
    return f'<a href="/chart/{cell.text}">{cell_html(cell)}</a>'


def _title(text: str) -> str:
    return f"<h3>{escape(text)}</h3>" if text else ""


def cell_html(cell: Cell) -> str:
    """Render a cell's text in its tone."""
    return f"<span class={cell.tone.value}>{escape(cell.text)}</span>"

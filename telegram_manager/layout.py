"""Lays out pages for a phone: Telegram's HTML, tables in monospace, at most one screen wide."""

import re
from html import escape, unescape

from operations.page import Block, Cell, Facts, Page, Table, Tone, Verbatim, Words
from operations.storable import storable

#: Telegram's limit is 4,096 characters after its HTML is parsed; the markup is counted here as well.
MOST = 3_800
#: Telegram's limit, in UTF-16 code units of the displayed text.
LIMIT = 4_096
_TAG = re.compile(r"</?(?:b|i|u|s|pre|code|a|tg-spoiler|blockquote)(?: [^<>]*)?>")
#: Monospace characters that a small phone shows on one line.
WIDTH = 38
#: A page with more messages than this is sent as a file.
MOST_PAGES = 3
_MARKS = {Tone.BAD: "🔴 ", Tone.WARN: "⚠️ "}


def pages_of(page: Page) -> list[str]:
    """Render a page as one or more messages in Telegram's HTML, each below the limit and complete in itself."""
    return _joined([f"<b>{escape(page.title)}</b>", *(piece for block in page.blocks for piece in _pieces(block))])


def as_plain(html: str) -> str:
    """The text displayed for Telegram's HTML, without markup."""
    return unescape(_TAG.sub("", html))


def fitting(html: str) -> str:
    """Return the same HTML if Telegram accepts it; otherwise its text without markup, cut to Telegram's limit."""
    html = storable(html)
    if len(html) <= LIMIT // 2 or _units(as_plain(html)) <= LIMIT:
        return html
    text = as_plain(html)
    while _units(text) > LIMIT - 2:
        text = text[: LIMIT - 2] if len(text) > LIMIT - 2 else text[: len(text) * 9 // 10]
    return f"{escape(text, quote=False)} …"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2


def plain_text(page: Page) -> str:
    """Render a page as text with all columns, for a file."""
    lines = [page.title, ""]
    for block in page.blocks:
        match block:
            case Words(text, _, _) | Verbatim(text):
                lines.append(text)
            case Facts(rows, title):
                lines += [*([title] if title else []), *(f"{name:<18}{cell.text}" for name, cell in rows)]
            case Table(_, rows, empty, title, _):
                lines += [*([title] if title else []), *(_table_lines(block, phone=False) if rows else [empty])]
        lines.append("")
    return "\n".join(lines)


def _pieces(block: Block) -> list[str]:
    match block:
        case Words(text, tone, mark):
            said = escape(text)
            sign = _MARKS.get(tone, "") if mark is None else f"{mark} " if mark else ""
            return [f"<i>{said}</i>" if tone is Tone.DIM else f"{sign}{said}"]
        case Verbatim(text):
            return [f"<pre>{escape(part)}</pre>" for part in _cut(text.split("\n"))]
        case Facts(rows, title):
            width = max((len(name) for name, _ in rows), default=0)
            lines = [f"{name:<{width}}  {cell.text}" for name, cell in rows]
            return [_titled(title, f"<pre>{escape(part)}</pre>") for part in _cut(lines)]
        case Table(_, rows, empty, title, narrow):
            if not rows:
                return [_titled(title, f"<i>{escape(empty)}</i>")]
            if narrow is not None:
                width = max(32, *(len(left) + len(right) + 2 for left, right in narrow))
                lines = [f"{left}{right:>{width - len(left)}}" for left, right in narrow]
                return [_titled(title, f"<pre>{escape(part)}</pre>") for part in _cut(lines)]
            head, *body = _table_lines(block, phone=True)
            parts = _cut(body, MOST - len(head) - len(title) - 200)
            return [_titled(title, f"<pre>{escape(head)}\n{escape(part)}</pre>") for part in parts]


def _titled(title: str, text: str) -> str:
    return f"<b>{escape(title)}</b>\n{text}" if title else text


def _shown(cell: Cell, *, phone: bool) -> str:
    return (cell.mark or cell.text) if phone else cell.text


def _table_lines(table: Table, *, phone: bool) -> list[str]:
    chosen = [n for n, column in enumerate(table.columns) if column.phone or not phone]
    cells = [[_shown(row[n], phone=phone) for n in chosen] for row in table.rows]
    titles = [(table.columns[n].brief if phone else "") or table.columns[n].title for n in chosen]
    if phone and sum(_widths(titles, cells)) + len(titles) - 1 > WIDTH:
        for place, n in enumerate(chosen):
            if any(row[n].short for row in table.rows):
                for shown, row in zip(cells, table.rows, strict=True):
                    shown[place] = row[n].short or shown[place]
    widths = _widths(titles, cells)

    def line(texts: list[str]) -> str:
        parts = [
            f"{text:>{width}}" if table.columns[n].right else f"{text:<{width}}"
            for n, text, width in zip(chosen, texts, widths, strict=True)
        ]
        return " ".join(parts).rstrip()

    return [line(titles), *(line(row) for row in cells)]


def _widths(titles: list[str], cells: list[list[str]]) -> list[int]:
    return [max(len(title), *(len(row[n]) for row in cells)) for n, title in enumerate(titles)]


def _cut(lines: list[str], most: int = MOST - 200) -> list[str]:
    """Join lines into parts whose HTML stays below `most`; a longer single line is cut."""
    parts: list[list[str]] = [[]]
    size = 0
    for line in lines:
        kept = line
        while len(escape(kept)) > most:
            kept = kept[: len(kept) * 3 // 4] + "…"
        length = len(escape(kept)) + 1
        if size + length > most and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(kept)
        size += length
    return ["\n".join(part) for part in parts]


def _joined(pieces: list[str]) -> list[str]:
    """Join whole pieces into messages below the limit."""
    messages: list[str] = []
    for piece in pieces:
        kept = piece if len(piece) <= MOST else _shortened(piece)
        if messages and len(messages[-1]) + 1 + len(kept) <= MOST:
            messages[-1] += "\n" + kept
        else:
            messages.append(kept)
    return messages


def _shortened(piece: str) -> str:
    """Cut a paragraph that is too long, without breaking an entity."""
    cut = piece[:MOST].rpartition(" ")[0] or piece[:MOST].rpartition("&")[0]
    return cut.removesuffix("<i>").replace("<i>", "") + " …"

"""Prints a page in the terminal with rich, and typed rows as JSON."""

import sys

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from operations.page import Block, Cell, Facts, Page, Table, Tone, Verbatim, Words

_STYLES = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.BAD: "red",
    Tone.WARN: "yellow",
    Tone.DIM: "dim",
}


#: A terminal narrower than this shows the columns of a phone.
NARROW = 100


def print_page(page: Page, console: Console | None = None) -> None:
    """Print a page. A terminal below 100 columns gets the columns of a phone; a file or pipe all of them, unwrapped."""
    out = console or Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    narrow = out.width < NARROW
    out.print(Group(Text(page.title, style="bold"), *(rendered(block, narrow=narrow) for block in page.blocks)))


def print_json(data: object) -> None:
    """Print typed rows as JSON: amounts as strings, times and durations in ISO 8601."""
    text = msgspec.json.format(msgspec.json.encode(data), indent=2)
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.flush()


def _text(cell: Cell, *, narrow: bool = False) -> Text:
    return Text((cell.mark if narrow else "") or cell.text, style=_STYLES[cell.tone])


def rendered(block: Block, *, narrow: bool = False) -> RenderableType:
    """One block for the terminal; `narrow` leaves out what a phone has no room for."""
    match block:
        case Words(text, tone):
            return Text(text, style=_STYLES[tone])
        case Verbatim(text):
            return Text(text)
        case Facts(rows, title):
            grid = RichTable.grid(padding=(0, 2))
            for name, cell in rows:
                grid.add_row(Text(name, style="dim"), _text(cell))
            return Group(Text(title, style="bold"), grid) if title else grid
        case Table(columns, lines, empty, title):
            if not lines:
                return Text(f"{title}: {empty}" if title else empty, style="dim")
            table = RichTable(box=None, pad_edge=False, title=title or None, title_justify="left", title_style="bold")
            shown = [place for place, column in enumerate(columns) if column.phone or not narrow]
            for column in (columns[place] for place in shown):
                title = (column.brief if narrow else "") or column.title
                table.add_column(title, justify="right" if column.right else "left", no_wrap=True)
            for line in lines:
                table.add_row(*(_text(line[place], narrow=narrow) for place in shown))
            return table

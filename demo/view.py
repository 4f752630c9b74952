"""The demo's terminal view: bot overview, live timeline, ledger comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from alpha.model.coin import USDT
from demo.timeline import Kind, Line, money
from operations.pages import short
from operations.positions import BalanceRow
from operations.status import BotState, Status

#: Terminal width from which everything fits.
WIDE = 110
_STATES = {
    BotState.RUNNING: "green",
    BotState.PAUSED: "yellow",
    BotState.STOPPED: "dim",
    BotState.UNHEALTHY: "red",
    BotState.UNKNOWN: "red",
}
_KINDS = {
    Kind.CANDLE: ("candle  ", "dim"),
    Kind.SIGNAL: ("signal  ", "yellow"),
    Kind.ORDER: ("order   ", "cyan"),
    Kind.FILL: ("fill    ", "bold"),
    Kind.FUNDING: ("funding ", "magenta"),
    Kind.POSITION: ("position", "blue"),
    Kind.STOP: ("stop    ", "blue"),
    Kind.CLOSED: ("closed  ", "bold blue"),
    Kind.STATUS: ("data    ", "dim"),
}
#: Kinds read from Redis: the position is known to be there.
_FROM_REDIS = {Kind.POSITION, Kind.STOP, Kind.CLOSED}


@dataclass(frozen=True, slots=True)
class Scene:
    """The content of one screen of the demo."""

    status: Status
    balances: Sequence[BalanceRow]
    lines: Sequence[Line]
    recorded: frozenset[str]
    exchange_fills: int | None
    recorded_fills: int | None
    candles: int
    speed: int
    #: None until every bot is ready.
    elapsed_s: int | None
    seconds: int | None
    chosen: int
    keys: Sequence[tuple[str, str]]
    answer: str
    hint: str


def picture(scene: Scene, height: int, width: int) -> RenderableType:
    """The whole screen, at most `height` lines; below `WIDE` columns the chosen bot's wait reason
    moves to the bottom.
    """
    rows = max(4, height - len(scene.status.bots) - len(scene.status.faults) - 11)
    wide = width >= WIDE
    return Group(_header(scene, wide), _bots(scene, wide), _story(scene, rows, wide), _books(scene), _keys(scene, wide))


def _header(scene: Scene, wide: bool) -> RenderableType:
    moment = (
        "waiting for the exchange"
        if scene.status.business_time is None
        else f"{scene.status.business_time:%Y-%m-%d %H:%M} UTC"
    )
    left = "" if scene.seconds is None else f" of {scene.seconds}"
    run = "the bots get ready" if scene.elapsed_s is None else f"{scene.elapsed_s}{left} s"
    text = Text.assemble(
        ("Alpha", "bold green"),
        ("  demo on a simulated exchange" if wide else "  demo", "bold"),
        f"   {'market time ' if wide else ''}{moment}   {scene.speed:,}x real time   {run}",
        no_wrap=True,
        overflow="ellipsis",
    )
    return Panel(text, border_style="green", padding=(0, 1))


def _bots(scene: Scene, wide: bool) -> RenderableType:
    table = Table(expand=True, box=None, header_style="dim", padding=(0, 1))
    for name in ("bot", "state", "data"):
        table.add_column(name, no_wrap=True)
    for name in ("equity", "open P&L", "today net", "open"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("waits for" if wide else "", ratio=1, no_wrap=True, overflow="ellipsis")
    equity = {row.bot: row.equity for row in scene.balances if row.coin == USDT}
    for number, bot in enumerate(scene.status.bots):
        own = equity.get(bot.bot)
        table.add_row(
            Text(f"{'>' if number == scene.chosen else ' '} {number + 1} {bot.bot}", style="bold"),
            Text(bot.state, style=_STATES[bot.state]),
            Text(bot.data, style="green" if bot.data == "synced" else "yellow"),
            "-" if own is None else money(own),
            _signed(bot.unrealised_pnl),
            _signed(bot.today_net),
            str(len(bot.positions)),
            bot.note.removeprefix("Waits for ") if wide else "",
        )
    table.add_row(
        Text("    all", style="dim"),
        "",
        "",
        _sum([equity.get(bot.bot) for bot in scene.status.bots]),
        _signed(_total([bot.unrealised_pnl for bot in scene.status.bots])),
        _signed(_total([bot.today_net for bot in scene.status.bots])),
        str(sum(len(bot.positions) for bot in scene.status.bots)),
        Text("USDT, after fees and funding" if wide else "", style="dim"),
    )
    return table


def _total(values: Sequence[Decimal | None]) -> Decimal | None:
    """The sum; None if any value is unknown, since a partial sum is not a total."""
    known = [value for value in values if value is not None]
    return sum(known, Decimal(0)) if known and len(known) == len(values) else None


def _sum(values: Sequence[Decimal | None]) -> str:
    total = _total(values)
    return "-" if total is None else money(total)


def _story(scene: Scene, rows: int, wide: bool) -> RenderableType:
    table = Table.grid(padding=(0, 1), expand=True)
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, ratio=1)
    table.add_column(no_wrap=True, justify="right")
    for line in list(scene.lines)[-rows:]:
        word, style = _KINDS[line.kind]
        found = "Redis" if line.kind in _FROM_REDIS else ""
        if line.exec_id is not None:
            found = "PostgreSQL" if line.exec_id in scene.recorded else "..."
        table.add_row(
            Text(_when(line), style="dim"),
            Text(line.bot if wide else short(line.bot), style="dim"),
            Text(word, style=style),
            Text.assemble(line.text, "  ", _signed(line.gain) if line.gain is not None else Text("")),
            Text(found, style="green" if found == "PostgreSQL" else "dim"),
        )
    return Panel(table, title="what happens", title_align="left", border_style="dim", height=rows + 2)


def _when(line: Line) -> str:
    # Data status lines carry wall-clock time, all others market time.
    return "" if line.kind is Kind.STATUS else f"{line.moment:%m-%d %H:%M}"


def _books(scene: Scene) -> RenderableType:
    made, kept = scene.exchange_fills, scene.recorded_fills
    text = Text.assemble(
        ("ledger  ", "dim"),
        f"{'-' if made is None else made} executions on the exchange, ",
        (f"{'-' if kept is None else kept} in trading.fills", "green" if made == kept else "yellow"),
        f"   candles closed: {scene.candles:,}",
        no_wrap=True,
        overflow="ellipsis",
    )
    faults = [Text(fault, style="yellow") for fault in scene.status.faults]
    return Group(text, *faults)


def _keys(scene: Scene, wide: bool) -> RenderableType:
    text = Text(no_wrap=True, overflow="ellipsis")
    for key, meaning in scene.keys:
        text.append(f" {key} ", style="reverse")
        text.append(f" {meaning}   ")
    note = "" if wide or scene.chosen >= len(scene.status.bots) else scene.status.bots[scene.chosen].note
    said = scene.answer.replace("\n", " ") or note or scene.hint
    style = "yellow" if scene.answer else "dim"
    return Group(text, Text(said, style=style, no_wrap=True, overflow="ellipsis"))


def _signed(value: Decimal | None) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(
        f"{'+' if value > 0 else ''}{money(value)}", style="green" if value > 0 else "red" if value < 0 else "dim"
    )


def plain_line(line: Line) -> str:
    """A timeline line for terminals that cannot be redrawn, and for logs."""
    moment: datetime = line.moment
    gain = "" if line.gain is None else f"  {'+' if line.gain > 0 else ''}{money(line.gain)}"
    when = "" if line.kind is Kind.STATUS else f"{moment:%Y-%m-%d %H:%M}"
    return f"{when:<16}  {line.bot:<16} {_KINDS[line.kind][0]} {line.text}{gain}"

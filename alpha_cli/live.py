"""`alpha` on a terminal: a live view of bots, positions and alerts. q or Ctrl-C ends it. It changes nothing."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from alpha.config.loader import load
from alpha.errors import AlphaError
from alpha_cli.show_page import rendered
from operations import health, history, pages, positions, risk, risk_pages
from operations.business_time import business_now
from operations.context import Operations, OperationsSettings, open_operations
from operations.formatting import full_moment
from operations.page import Page, Words
from operations.status import status

REFRESH_S = 2.0
#: A terminal narrower than this gets the columns of a phone.
WIDE = 100
_ALERTS, _FILLS = 5, 6


async def watch() -> None:
    """The view in this terminal, with the settings at hand."""
    await show(load(OperationsSettings), Console())


async def show(settings: OperationsSettings, console: Console, rounds: int | None = None) -> None:
    """Redraw until q, Ctrl-C or `rounds` rounds. Raises the errors of a start that cannot succeed."""
    async with open_operations(settings, "alpha_live") as platform:
        with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
            drawn = 0
            while rounds is None or drawn < rounds:
                live.update(await scene(platform, console.width, console.height), refresh=True)
                drawn += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_S):
                        if await pressed.get() in ("q", "Q", "\x1b"):
                            return


async def scene(platform: Operations, width: int, height: int) -> RenderableType:
    """One picture of everything; a part that cannot be read says why."""
    narrow = width < WIDE
    seen = await status(platform)
    now = seen.business_time or seen.wall_time
    parts: list[RenderableType] = [_head(platform, seen.business_time, width)]
    parts += [rendered(block, narrow=narrow) for block in pages.status_page(seen, platform.zone).blocks[:-1]]
    held = [row for bot in seen.bots for row in bot.positions]
    parts += _page(pages.positions_page(held, platform.zone, now), narrow)
    if held:
        parts += _page(risk_pages.risk_page([risk.risk_of(row) for row in held]), narrow)
    parts += await _part("Orders", narrow, _orders(platform))
    parts += await _part("Alerts", narrow, _alerts(platform))
    parts += await _part("Fills", narrow, _fills(platform))
    return Panel(Group(*parts), border_style="green", padding=(0, 1), height=max(10, height - 1))


def _head(platform: Operations, now: Any, width: int) -> Text:
    moment = "exchange time unknown" if now is None else full_moment(now, platform.zone)
    keys = "q ends; alpha --help lists the commands" if width >= WIDE else "q ends"
    return Text.assemble(("Alpha", "bold green"), f"  {moment}  ", (keys, "dim"), no_wrap=True, overflow="ellipsis")


async def _orders(platform: Operations) -> Page:
    return pages.orders_page(await positions.orders(platform), platform.zone, platform.wall_now())


async def _alerts(platform: Operations) -> Page:
    return pages.alerts_page(await health.alerts(platform, _ALERTS), platform.zone)


async def _fills(platform: Operations) -> Page:
    rows = await history.fills(platform, None, _FILLS)
    return pages.fills_page(rows, platform.zone, await business_now(platform))


async def _part(title: str, narrow: bool, asked: Any) -> list[RenderableType]:
    try:
        return _page(await asked, narrow)
    except AlphaError as fault:
        return _page(Page(title, [Words(str(fault))]), narrow)


def _page(page: Page, narrow: bool) -> list[RenderableType]:
    return [
        Text(page.title, style="bold"),
        *(rendered(block, narrow=narrow) for block in page.blocks[:-1] or page.blocks),
    ]


@contextlib.contextmanager
def _keys() -> Iterator["asyncio.Queue[str]"]:
    """Keys as they are pressed, without Enter; none where standard input is not a terminal."""
    pressed: asyncio.Queue[str] = asyncio.Queue()
    if not sys.stdin.isatty():
        yield pressed
        return
    import termios
    import tty

    descriptor, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, lambda: pressed.put_nowait(sys.stdin.read(1)))
    try:
        yield pressed
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

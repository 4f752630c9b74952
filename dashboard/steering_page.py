"""The page of steering: each bot with its commands, each position with its stop and its closing, each order with its cancel."""

import asyncio
from collections.abc import Sequence
from html import escape

from alpha.errors import AlphaError
from alpha.registry import Bot
from dashboard.markup import cell_html
from operations import positions
from operations.coins import amounts
from operations.context import Operations
from operations.formatting import in_zone, number, usdt
from operations.pages import short
from operations.positions import OrderRow, PositionRow
from operations.status import BotState, BotStatus, status

_BOT = (
    ("pause", "Pause", ""),
    ("resume", "Resume", ""),
    ("start", "Start", ""),
    ("stop", "Stop", ""),
    ("restart", "Restart", ""),
    ("flatten", "Flatten", " class=danger"),
)
_STATES = {BotState.RUNNING: "good", BotState.PAUSED: "warn", BotState.STOPPED: "dim", BotState.UNHEALTHY: "bad"}


def hidden(csrf: str) -> str:
    """The hidden field that every form carries."""
    return f'<input type=hidden name=csrf value="{escape(csrf)}">'


async def steering_page(platform: Operations, bot: Bot | None, csrf: str) -> str:
    """Return the page for one bot, or for all. Unavailable parts show their fault."""
    seen, orders = await asyncio.gather(status(platform, bot), positions.orders(platform, bot), return_exceptions=True)
    if isinstance(seen, BaseException):
        raise seen
    if isinstance(orders, BaseException) and not isinstance(orders, AlphaError):
        raise orders
    fault = "" if not isinstance(orders, AlphaError) else f"<p class=bad>{escape(str(orders))}</p>"
    known = [] if isinstance(orders, BaseException) else orders
    halts = "".join(
        f"<p class=bad>HALT {escape(halt.kind)} {escape(short(halt.bot) or 'all')} {escape(halt.symbol)}: "
        f"{escape(halt.reason)}</p>"
        for halt in seen.halts
    )
    everything = (
        f'<section class=all>{fault}{halts}<form method=post action="/steer/ask" class=answers>{hidden(csrf)}'
        "<button name=do value=acknowledge>Acknowledge alerts</button>"
        "<button name=do value=panic class=danger>PANIC: close everything</button></form>"
        "<p class=dim>Each asks for confirmation, is audited, and is told to the other operators.</p></section>"
    )
    return everything + "".join(
        _bot(platform, row, [order for order in known if order.bot == row.bot], csrf) for row in seen.bots
    )


def _bot(platform: Operations, row: BotStatus, orders: Sequence[OrderRow], csrf: str) -> str:
    word = platform.registry.word_of(platform.registry.find(row.bot))
    buttons = "".join(
        f'<button name=do value="{name} {escape(word)}"{kind}>{label}</button>' for name, label, kind in _BOT
    )
    held = "".join(_position(word, each, csrf) for each in row.positions) or "<p class=dim>No open position.</p>"
    open_orders = "".join(_order(word, each, csrf) for each in orders if not each.is_stop)
    return (
        f'<section id="{escape(row.bot)}"><h2>{escape(short(row.bot))} '
        f'<span class="state {_STATES.get(row.state, "warn")}">{escape(row.state.value)}</span></h2>'
        f"<p class=dim>{escape(in_zone(row.note, platform.zone))} Open {cell_html(amounts(row.unrealised))}.</p>"
        f'<form method=post action="/steer/ask" class=answers>{hidden(csrf)}{buttons}</form>'
        f"<h3>Positions</h3>{held}{f'<h3>Open orders</h3>{open_orders}' if open_orders else ''}</section>"
    )


def _position(word: str, row: PositionRow, csrf: str) -> str:
    symbol = escape(row.symbol)
    stop = number(row.stop_loss).text if row.stop_loss else "none"
    facts = (
        f"<b>{symbol}</b> {escape(row.direction)} {number(row.size).text}"
        f" &nbsp; entry {number(row.entry_price).text} &nbsp; mark {number(row.mark_price).text}"
        f" &nbsp; {cell_html(usdt(row.unrealised_pnl))} {escape(row.coin)}"
        f" &nbsp; stop <span class={'plain' if row.stop_loss else 'bad'}>{stop}</span>"
    )
    parts = "".join(
        f'<button name=do value="close {escape(word)} {symbol} {share}">{label}</button>'
        for share, label in ((100, "Close"), (50, "50 %"), (25, "25 %"))
    )
    return (
        f'<div class=thing><p>{facts}</p><form method=post action="/steer/ask" class=answers>{hidden(csrf)}{parts}</form>'
        f'<form method=post action="/steer/ask" class=answers>{hidden(csrf)}'
        f'<input type=hidden name=do value="movestop {escape(word)} {symbol}">'
        f"<label>stop <input name=more inputmode=decimal required size=12 maxlength=20 "
        f'placeholder="{escape(stop)}" aria-label="New stop of {symbol}"></label>'
        f"<button>Move stop</button></form></div>"
    )


def _order(word: str, row: OrderRow, csrf: str) -> str:
    what = f"{row.kind} {row.side} {number(row.qty).text} {row.symbol} at {number(row.trigger_price or row.price).text}"
    return (
        f'<div class=thing><p>{escape(what)}</p><form method=post action="/steer/ask" class=answers>{hidden(csrf)}'
        f'<button name=do value="cancelorder {escape(word)} {escape(row.symbol)} {escape(row.order_id)}">Cancel</button>'
        "</form></div>"
    )

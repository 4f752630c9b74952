"""What an operator does to one position or order by hand: cancel an order, close a part, move a stop, forbid a symbol.

Every order is reduce-only. A stop moved by hand binds until the position is flat: the guard sets it again when it was
loosened, and leaves a tighter one alone.
"""

import contextlib
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation

import msgspec

from alpha.bybit.errors import NothingToClose
from alpha.bybit.orders import OrderRequest, StopRequest
from alpha.bybit.place_order import place_order_once
from alpha.bybit.rate_limiter import Priority
from alpha.errors import AlphaError, Rejected
from alpha.live_state.control import Command
from alpha.logs import logger
from alpha.model.money import plain
from alpha.model.order_link import guard_order_link_id
from alpha.model.position import Position
from alpha.model.reason import Reason
from alpha.model.side import BUY, SELL, Direction
from alpha.model.sizing import closing_slice, round_qty, round_stop
from alpha.strategy.positions import stop_passed
from risk_guard.account import GuardedAccount
from risk_guard.store import GuardStore, Halt

log = logger(__name__)
COMMANDS = frozenset({"cancel_order", "reduce", "move_stop", "blacklist", "unblacklist"})
BLACKLIST = "blacklist"
_STOP, _REDUCE = "manual_stop", "reduce"
#: More slices than this mean that something is wrong with the caps.
_MOST_SLICES = 200
Tell = Callable[[str], Awaitable[None]]


class ManualStop(msgspec.Struct, frozen=True):
    """A stop that an operator set. `side` is that of the position, Buy or Sell; the price in USDT."""

    command_id: str
    symbol: str
    side: str
    price: str
    issuer: str


class Reduction(msgspec.Struct, frozen=True):
    """A partial closing under way: what shall be left, in base coin, however often it is begun again."""

    command_id: str
    left: str


class ManualControl:
    """Carries out the commands of COMMANDS for one account at a time."""

    def __init__(self, store: GuardStore) -> None:
        self._store = store

    async def run(self, account: GuardedAccount, command: Command, tell: Tell) -> tuple[str, str]:
        """Return the outcome and its sentence. Raises the gateway's and the store's errors."""
        symbol = command.args.get("symbol", "")
        if not symbol:
            return "refused", "Name a symbol."
        if command.name == "blacklist":
            return await self._forbid(account, symbol, command.issuer)
        if command.name == "unblacklist":
            return await self._allow(account, symbol, command.issuer)
        if account.observe:
            return "refused", f"{account.bot.id}: the guard only observes; nothing was sent."
        if command.name == "cancel_order":
            return await self._cancel(account, symbol, command.args.get("order_id", ""))
        if command.name == "reduce":
            return await self._reduce(account, symbol, command, tell)
        return await self._move_stop(account, symbol, command)

    async def enforce(self, account: GuardedAccount) -> None:
        """Set stops moved by hand again where they were loosened; forget those of positions that are gone."""
        if account.id is None or account.observe:
            return
        kept = [msgspec.convert(row, ManualStop) for row in await self._store.load_all(account.id, _STOP)]
        if not kept:
            return
        positions = [row for row in await account.gateway.positions(rank=Priority.STOP) if not row.is_flat]
        for stop in kept:
            held = next((row for row in positions if (row.symbol, row.side) == (stop.symbol, stop.side)), None)
            if held is None:
                await self._store.forget_closing(account.id, f"{_STOP}:{stop.symbol}", stop.command_id)
                continue
            sign, price = Direction(held.side).sign, Decimal(stop.price)
            if held.stop_loss is not None and (price - held.stop_loss) * sign > 0:
                log.warning("manual_stop_set_again", bot=account.bot.id, symbol=stop.symbol, price=stop.price)
                await account.gateway.set_trading_stop(
                    StopRequest(symbol=stop.symbol, stop_loss=price, position_idx=held.position_idx)
                )

    async def _forbid(self, account: GuardedAccount, symbol: str, issuer: str) -> tuple[str, str]:
        why = f"no new entries, by {issuer}"
        written = await self._store.halt(Halt(None, account.bot.id, symbol, BLACKLIST, why, BLACKLIST))
        more = "" if written else " PostgreSQL is away: it holds as soon as it is back, and no bot enters without it."
        return "done", f"{account.bot.id} enters {symbol} no more; an open position stays managed.{more}"

    async def _allow(self, account: GuardedAccount, symbol: str, issuer: str) -> tuple[str, str]:
        if not await self._store.lift_symbol(account.bot.id, symbol, BLACKLIST, issuer):
            return "refused", f"{symbol} is not forbidden for {account.bot.id}."
        return "done", f"{account.bot.id} may enter {symbol} again."

    async def _cancel(self, account: GuardedAccount, symbol: str, order_id: str) -> tuple[str, str]:
        orders = await account.gateway.open_orders(symbol, rank=Priority.EXIT)
        found = next((order for order in orders if order.order_id == order_id), None)
        if found is None:
            return "refused", f"{account.bot.id} has no open order {order_id[:60]!r} in {symbol}."
        if found.stop_order_type in {"StopLoss", "PartialStopLoss", "TrailingStop"}:
            return (
                "refused",
                f"That order is the stop of {symbol}; move it (/movestop), or close the position (/close).",
            )
        if not await account.gateway.cancel(symbol, order_id=order_id):
            return "refused", f"The order in {symbol} was no longer open."
        return "done", f"{account.bot.id}: the {found.side.lower()} order of {plain(found.qty)} {symbol} is cancelled."

    async def _held(self, account: GuardedAccount, symbol: str) -> Position:
        rows = [row for row in await account.gateway.positions(symbol, rank=Priority.EXIT) if not row.is_flat]
        if not rows:
            raise Rejected(f"{account.bot.id} has no position in {symbol}.")
        if len(rows) > 1:
            raise Rejected(f"{account.bot.id} holds {symbol} long and short; close them on the exchange, or /flatten.")
        return rows[0]

    async def _reduce(self, account: GuardedAccount, symbol: str, command: Command, tell: Tell) -> tuple[str, str]:
        percent = _number(command.args.get("percent", ""), "The share")
        if not 0 < percent <= 100:
            return "refused", f"The share must be above 0 and at most 100 per cent, got {plain(percent)}."
        position = await self._held(account, symbol)
        instrument = await account.instrument(symbol)
        qty = position.size * percent / 100
        if instrument is not None and percent < 100:
            qty = round_qty(qty, instrument)
            if qty < instrument.min_order_qty:
                return "refused", (
                    f"{plain(percent)} % of {plain(position.size)} {symbol} is below the smallest order of "
                    f"{plain(instrument.min_order_qty)}."
                )
        left = await self._left(account, symbol, command.id, position.size - qty)
        sent = Decimal(0)
        for attempt in range(1, _MOST_SLICES + 1):
            rows = [row for row in await account.gateway.positions(symbol, rank=Priority.EXIT) if not row.is_flat]
            held = next((row for row in rows if row.side == position.side), None)
            wanted = Decimal(0) if held is None else held.size - left
            if held is None or wanted <= 0:
                break
            reference = held.mark_price or held.entry_price
            piece = min(wanted, closing_slice(wanted, account.max_order_usdt / reference, instrument))
            try:
                await place_order_once(account.gateway, _closing(account, held, piece, reference, command.id, attempt))
            except NothingToClose:
                break
            sent += piece
            await tell(f"{account.bot.id}: closing {plain(piece)} of {plain(held.size)} {symbol}.")
        if account.id is not None:
            with contextlib.suppress(AlphaError):
                await self._store.forget_closing(account.id, f"{_REDUCE}:{symbol}", command.id)
        what = "The position is closed" if not left else f"{plain(left)} {symbol} stay open"
        return "done", f"{account.bot.id}: {plain(sent)} {symbol} closed at market. {what}."

    async def _left(self, account: GuardedAccount, symbol: str, command_id: str, left: Decimal) -> Decimal:
        """What shall be left of the position: as this command decided it first, also after a restart."""
        if account.id is None:
            return left
        name = f"{_REDUCE}:{symbol}"
        try:
            saved = await self._store.load(account.id, name)
            known = None if saved is None else msgspec.convert(saved, Reduction)
            if known is not None and known.command_id == command_id:
                return Decimal(known.left)
            await self._store.save(account.id, name, msgspec.to_builtins(Reduction(command_id, plain(left))))
        except AlphaError as fault:
            log.warning("reduction_not_durable", bot=account.bot.id, fault=str(fault))
        return left

    async def _move_stop(self, account: GuardedAccount, symbol: str, command: Command) -> tuple[str, str]:
        price = _number(command.args.get("price", ""), "The price")
        position = await self._held(account, symbol)
        direction, last = (
            Direction(position.side),
            (await account.gateway.tickers(symbol, rank=Priority.STOP))[symbol].last,
        )
        instrument = await account.instrument(symbol)
        if instrument is not None:
            price = round_stop(price, position.side, instrument)
        if price <= 0 or stop_passed(direction, price, last):
            beyond = "below" if direction is Direction.LONG else "above"
            return (
                "refused",
                f"A stop of this position must be {beyond} the market at {plain(last)}, got {plain(price)}.",
            )
        if position.liq_price and (position.liq_price - price) * direction.sign >= 0:
            return "refused", (
                f"{symbol} would be liquidated at {plain(position.liq_price)}, before a stop at {plain(price)}."
            )
        await account.gateway.set_trading_stop(
            StopRequest(symbol=symbol, stop_loss=price, position_idx=position.position_idx)
        )
        before = "none" if position.stop_loss is None else plain(position.stop_loss)
        said = f"{account.bot.id}: the stop of {symbol} is at {plain(price)} (before: {before})."
        if account.id is None:
            return "done", f"{said} It is not kept: the account's number is not known yet."
        stop = ManualStop(command.id, symbol, position.side, plain(price), command.issuer)
        try:
            await self._store.save(account.id, f"{_STOP}:{symbol}", msgspec.to_builtins(stop))
        except AlphaError as fault:
            return "done", f"{said} That it binds could not be kept ({fault}): the bot may move it."
        return "done", f"{said} It binds until the position is flat: the bot may only tighten it."


def _closing(
    account: GuardedAccount, held: Position, qty: Decimal, reference: Decimal, command_id: str, attempt: int
) -> OrderRequest:
    return OrderRequest(
        symbol=held.symbol,
        side=BUY if held.side == SELL else SELL,
        qty=qty,
        order_link_id=guard_order_link_id(
            Reason.MANUAL, account=account.text, symbol=held.symbol, command_id=command_id, attempt=attempt
        ),
        reference_price=reference,
        reduce_only=True,
        position_idx=held.position_idx,
    )


def _number(text: str, what: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Rejected(f"{what} must be a number, got {text[:40]!r}.") from None
    if not value.is_finite():
        raise Rejected(f"{what} must be a number, got {text[:40]!r}.")
    return value

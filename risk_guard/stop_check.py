"""The patrol of one account: checks every position's stop, then repairs, closes or reports."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.errors import Refused
from alpha.bybit.orders import StopRequest
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import AlphaError, Retry
from alpha.logs import logger
from alpha.model.coin import SETTLE_COINS
from alpha.model.execution import CORPORATE_ACTION
from alpha.model.leg import BOTH
from alpha.model.money import plain
from alpha.model.order import Order
from alpha.model.order_link import GUARD_TAG, parse_order_link_id
from alpha.model.position import Position
from alpha.model.reason import Reason
from alpha.strategy.positions import OwnPosition
from risk_guard.account import GuardedAccount
from risk_guard.settings import GuardSettings
from risk_guard.stop_policy import Need, StopDecision, judge
from risk_guard.store import GuardStore

log = logger(__name__)
#: A bot sets its stop within this time after a fill; a stop still wrong then is the guard's to repair.
GRACE_S = 3.0
#: How far back to search for who opened a position that no strategy remembers, in exchange time.
OPENED_WITHIN_MS = 7 * 86_400_000

Close = Callable[[GuardedAccount, str, Reason], Awaitable[None]]


class StopCheck:
    """Patrols one account. `close` closes one position whose stop was passed."""

    def __init__(
        self,
        account: GuardedAccount,
        settings: GuardSettings,
        store: GuardStore,
        alerts: Alerts,
        close: Close,
        *,
        clock: Clock = SYSTEM_CLOCK,
        grace_s: float = GRACE_S,
    ) -> None:
        self.walks = 0
        self.repaired = 0
        self._account = account
        self._settings = settings
        self._store = store
        self._alerts = alerts
        self._close = close
        self._clock = clock
        self._grace_s = grace_s
        self._own: dict[str, OwnPosition] = {}
        self._of_bot: set[tuple[str, str]] = set()

    async def walk(self) -> None:
        """Run one round. Every fault is checked twice, so that the guard does not interfere with a working bot.

        A position that cannot be checked or repaired does not affect the others; the first fault is raised at the end.
        """
        suspects, faults = await self._look()
        if suspects:
            await self._clock.sleep(self._grace_s)
            found, faults = await self._look()
            acts = [self._act(*found[slot]) for slot in found if slot in suspects]
            faults += _faults(await asyncio.gather(*acts, return_exceptions=True))
        if faults:
            raise faults[0]
        self.walks += 1

    async def _look(self) -> tuple[dict[str, tuple[Position, StopDecision]], list[AlphaError]]:
        """Faults by position (its slot), and what could not be checked. Raises when positions or orders cannot be read."""
        account = self._account
        rows = await account.gateway.positions(coins=SETTLE_COINS, rank=Priority.STOP)
        positions = [row for row in rows if not row.is_flat]
        self._of_bot &= {(row.symbol, row.side) for row in positions}
        if not positions:
            return {}, []
        orders = await account.gateway.open_orders(coins=SETTLE_COINS, rank=Priority.STOP)
        await self._remember()
        results = await asyncio.gather(*(self._judge(row, orders) for row in positions), return_exceptions=True)
        found = {
            row.slot: (row, verdict)
            for row, verdict in zip(positions, results, strict=True)
            if isinstance(verdict, StopDecision) and verdict.need is not Need.NOTHING
        }
        return found, _faults(results)

    async def _judge(self, position: Position, orders: list[Order]) -> StopDecision:
        account, symbol = self._account, position.symbol
        of_symbol = [order for order in orders if order.symbol == symbol and order.leg == position.leg]
        # a bot trades in one-way mode only: legs of hedge mode are not its own
        own = self._own.get(symbol) if position.leg == BOTH else None
        ours = self._settings.guard_protect_manual or self._by_us(position, of_symbol)
        return judge(
            position,
            of_symbol,
            own,
            await account.instrument(symbol),
            await self._last(position),
            self._settings.guard_emergency_stop_pct,
            protect_manual=ours or (own is None and await self._opened_by_us(position)),
        )

    async def _last(self, position: Position) -> Decimal:
        """The last price; the position's mark price where there is no ticker."""
        tickers = await self._account.gateway.tickers(position.symbol, rank=Priority.STOP)
        if position.symbol in tickers:
            return tickers[position.symbol].last
        if position.mark_price is None:
            raise Retry(f"{position.symbol}: Bybit shows neither a last nor a mark price; its stop cannot be judged.")
        return position.mark_price

    async def _remember(self) -> None:
        """Load what the strategy remembers; keep the last known state while PostgreSQL is unavailable."""
        if self._account.id is None:
            return
        try:
            self._own = await self._store.own_positions(self._account.id)
        except AlphaError as fault:
            log.warning("memory_of_strategy_unread", bot=self._account.bot.id, fault=str(fault))

    def _by_us(self, position: Position, orders: list[Order]) -> bool:
        """True when the bot has an open order on this symbol: the position is its own even if not yet remembered."""
        tags = {self._account.bot.tag, GUARD_TAG}
        for order in orders:
            for text in (order.order_link_id, order.parent_order_link_id):
                link = parse_order_link_id(text) if order.symbol == position.symbol else None
                if link is not None and link.tag in tags:
                    return True
        return False

    async def _opened_by_us(self, position: Position) -> bool:
        """True when one of the bot's fills is part of the position: the bot crashed before it could remember it.

        Fills are read backwards until they explain the whole position.
        """
        known = (position.symbol, position.side)
        if known in self._of_bot:
            return True
        gateway, tags = self._account.gateway, {self._account.bot.tag}
        left, now_ms = position.size, gateway.business.now_ms()
        pages = gateway.executions(now_ms - OPENED_WITHIN_MS, now_ms + 1, symbol=position.symbol, rank=Priority.STOP)
        async for page in pages:
            for row in page.rows:
                if not row.changes_size or row.exec_type == CORPORATE_ACTION:
                    continue
                if row.side != position.side:
                    left += row.qty
                    continue
                link = parse_order_link_id(row.order_link_id)
                if link is not None and link.tag in tags:
                    self._of_bot.add(known)
                    return True
                left -= row.qty
                if left <= 0:
                    return False
        return False

    async def _act(self, position: Position, verdict: StopDecision) -> None:
        account, symbol = self._account, position.slot
        if verdict.need is Need.REPORT:
            await self._alert(Level.WARNING, symbol, verdict.why, "Set a stop, or GUARD_PROTECT_MANUAL=true.")
            return
        if account.observe:
            done = "closed" if verdict.need is Need.CLOSE else f"given a stop at {_price(verdict)}"
            await self._alert(
                Level.CRITICAL, symbol, f"{verdict.why} It would have been {done}; the guard only observes."
            )
            return
        if verdict.need is Need.STOP and verdict.price is not None:
            try:
                await account.gateway.set_trading_stop(
                    StopRequest(symbol=position.symbol, stop_loss=verdict.price, position_idx=position.position_idx)
                )
            except Refused as fault:
                # The market has passed the level in the meantime.
                await self._alert(Level.CRITICAL, symbol, f"{verdict.why} The stop was refused ({fault}): closing.")
                await self._close(account, symbol, Reason.STOP_LOSS)
                return
            self.repaired += 1
            await self._alert(
                Level.CRITICAL, symbol, f"{verdict.why} The guard has set it.", "Look why its bot did not."
            )
            return
        await self._alert(Level.CRITICAL, symbol, f"{verdict.why} The guard closes it.", "Look why it was still open.")
        await self._close(account, symbol, Reason.STOP_LOSS)

    async def _alert(self, level: Level, symbol: str, text: str, remedy: str = "") -> None:
        bot = self._account.bot.id
        await self._alerts.raise_alert(
            Alert(level, f"guard:stop:{bot}:{symbol}", text, remedy, bot), self._clock.wall_ms()
        )


def _faults(results: Sequence[object]) -> list[AlphaError]:
    """The AlphaErrors among gathered results; any other exception is raised."""
    faults: list[AlphaError] = []
    for result in results:
        if isinstance(result, AlphaError):
            faults.append(result)
        elif isinstance(result, BaseException):
            raise result
    return faults


def _price(verdict: StopDecision) -> str:
    return "-" if verdict.price is None else plain(verdict.price)

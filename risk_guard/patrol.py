"""The patrol of one account: every position compared with its stop; repaired, closed or reported."""

import asyncio
from collections.abc import Awaitable, Callable

from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.faults import Refused
from alpha.bybit.orders import StopRequest
from alpha.bybit.rows import Order, Position
from alpha.bybit.throttle import Rank
from alpha.clock import wall_ms
from alpha.errors import AlphaError
from alpha.logs import logger
from alpha.money import plain
from alpha.order_link import GUARD_TAG, parse_order_link_id
from alpha.reasons import Reason
from alpha.strategy.positions import OwnPosition
from risk_guard.account import GuardedAccount
from risk_guard.settings import GuardSettings
from risk_guard.store import GuardStore
from risk_guard.verdict import Need, Verdict, judge

log = logger(__name__)
#: A bot that has just filled sets its stop within this; what is still wrong then is the guard's to mend.
GRACE_S = 3.0

Close = Callable[[GuardedAccount, str, Reason], Awaitable[None]]


class Patrol:
    """Walks one account. `close` closes one position whose stop was passed."""

    def __init__(
        self,
        account: GuardedAccount,
        settings: GuardSettings,
        store: GuardStore,
        alerts: Alerts,
        close: Close,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        grace_s: float = GRACE_S,
    ) -> None:
        self.walks = 0
        self.repaired = 0
        self._account = account
        self._settings = settings
        self._store = store
        self._alerts = alerts
        self._close = close
        self._sleep = sleep
        self._grace_s = grace_s
        self._own: dict[str, OwnPosition] = {}

    async def walk(self) -> None:
        """One round. What is wrong is looked at twice, so that a bot at work is not disturbed. Raises the gateway's errors."""
        suspects = await self._look()
        if suspects:
            await self._sleep(self._grace_s)
            for symbol, (position, verdict) in (await self._look()).items():
                if symbol in suspects:
                    await self._act(position, verdict)
        self.walks += 1

    async def _look(self) -> dict[str, tuple[Position, Verdict]]:
        account = self._account
        positions = [row for row in await account.gateway.positions(rank=Rank.STOP) if not row.is_flat]
        if not positions:
            return {}
        orders = await account.gateway.open_orders(rank=Rank.STOP)
        await self._remember()
        found = {}
        for position in positions:
            ticker = (await account.gateway.tickers(position.symbol, rank=Rank.STOP))[position.symbol]
            own = self._own.get(position.symbol)
            verdict = judge(
                position,
                [order for order in orders if order.symbol == position.symbol],
                own,
                await account.instrument(position.symbol),
                ticker.last,
                self._settings.guard_emergency_stop_pct,
                protect_manual=self._settings.guard_protect_manual or self._by_us(position, orders),
            )
            if verdict.need is not Need.NOTHING:
                found[position.symbol] = (position, verdict)
        return found

    async def _remember(self) -> None:
        """What the strategy remembers; what was known last while PostgreSQL is away."""
        if self._account.id is None:
            return
        try:
            self._own = await self._store.own_positions(self._account.id)
        except AlphaError as fault:
            log.warning("memory_of_strategy_unread", bot=self._account.bot.id, fault=str(fault))

    def _by_us(self, position: Position, orders: list[Order]) -> bool:
        """True when an order of ours works on this symbol: the position is ours even if nobody remembers it yet."""
        tags = {self._account.bot.tag, GUARD_TAG}
        for order in orders:
            for text in (order.order_link_id, order.parent_order_link_id):
                link = parse_order_link_id(text) if order.symbol == position.symbol else None
                if link is not None and link.tag in tags:
                    return True
        return False

    async def _act(self, position: Position, verdict: Verdict) -> None:
        account, symbol = self._account, position.symbol
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
                await account.gateway.set_trading_stop(StopRequest(symbol=symbol, stop_loss=verdict.price))
            except Refused as fault:
                # The market has moved through it in between.
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
        await self._alerts.raise_alert(Alert(level, f"guard:stop:{bot}:{symbol}", text, remedy, bot), wall_ms())


def _price(verdict: Verdict) -> str:
    return "-" if verdict.price is None else plain(verdict.price)

"""Hard caps on every order, the durable halt and the real-money gate. Every send passes through here first."""

from collections import deque
from collections.abc import Awaitable, Callable
from decimal import Decimal

from msgspec import Struct

from alpha.bybit.errors import CapExceeded, TradingHalted
from alpha.bybit.orders import OrderRequest
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.config.exchange import ExchangeSettings
from alpha.config.gates import check_real_money, largest_live_order
from alpha.errors import AlphaError, Retry
from alpha.model.account import Environment
from alpha.model.money import plain

MINUTE_MS = 60_000
#: Exits may use this multiple of the entries' orders per minute: a cap must not lock a position in.
EXIT_RATE_FACTOR = 3

#: Returns why entries in this symbol are forbidden now, or None. Must read durable state, not a copy in memory.
HaltCheck = Callable[[str], Awaitable[str | None]]


class OrderCaps(Struct, frozen=True, kw_only=True):
    """The caps of one bot. Each cap names its setting, so that the error says where to change it."""

    max_order_usdt: Decimal
    max_orders_per_minute: int = 30
    max_distance_pct: Decimal = Decimal(10)
    max_order_setting: str = "ALPHA_MAX_ORDER_USDT"
    orders_setting: str = "ALPHA_MAX_ORDERS_PER_MINUTE"
    distance_setting: str = "ALPHA_MAX_PRICE_DISTANCE_PCT"


def caps_for(settings: ExchangeSettings, caps: OrderCaps, *, demo: bool | None = None) -> OrderCaps:
    """`caps` plus ALPHA_LIVE_MAX_ORDER_USDT for real money; raises Misconfigured when that is not set."""
    if settings.environment(demo=demo) is not Environment.LIVE:
        return caps
    live = largest_live_order(settings)
    if live >= caps.max_order_usdt:
        return caps
    return OrderCaps(
        max_order_usdt=live,
        max_orders_per_minute=caps.max_orders_per_minute,
        max_distance_pct=caps.max_distance_pct,
        max_order_setting="ALPHA_LIVE_MAX_ORDER_USDT",
        orders_setting=caps.orders_setting,
        distance_setting=caps.distance_setting,
    )


class OrderGuard:
    """Admits the orders of one bot, or raises an error that says in one sentence why not."""

    def __init__(
        self,
        bot: str,
        environment: Environment,
        caps: OrderCaps,
        halt: HaltCheck,
        *,
        live_bots: tuple[str, ...] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`live_bots` is ALPHA_LIVE_TRADING, `halt` reads the durable halt."""
        self._bot = bot
        self._environment = environment
        self._caps = caps
        self._halt = halt
        self._live_bots = live_bots
        self._clock = clock
        self._sent: deque[int] = deque()

    @property
    def caps(self) -> OrderCaps:
        """The caps in force; the guard slices its exits to `max_order_usdt`."""
        return self._caps

    def check_write(self) -> None:
        """Raise Misconfigured unless this bot may send writes in this environment."""
        check_real_money(self._environment, self._bot, self._live_bots)

    async def check(self, order: OrderRequest) -> None:
        """Admit one send of `order` and count it.

        Raises Misconfigured at the real-money gate, CapExceeded, TradingHalted, and Retry when the halt cannot be
        read, since an order that might be forbidden must not be sent. Reduce-only orders pass a halt: they are what
        a halt is for.
        """
        self.check_write()
        order.check()
        self._check_notional(order)
        self._check_distance(order)
        if not order.reduce_only:
            await self._check_halt(order.symbol)
        self._count(order)

    def _check_notional(self, order: OrderRequest) -> None:
        if order.notional > self._caps.max_order_usdt:
            raise CapExceeded(
                "notional",
                self._caps.max_order_setting,
                f"{order.symbol}: an order of {plain(order.notional)} USDT is above the cap of "
                f"{plain(self._caps.max_order_usdt)} USDT ({self._caps.max_order_setting}).",
            )

    def _check_distance(self, order: OrderRequest) -> None:
        if order.price is None:
            return
        distance = abs(order.price - order.reference_price) / order.reference_price * 100
        if distance > self._caps.max_distance_pct:
            raise CapExceeded(
                "distance",
                self._caps.distance_setting,
                f"{order.symbol}: a price of {plain(order.price)} is {distance:.2f} % away from the market at "
                f"{plain(order.reference_price)}; the cap is {plain(self._caps.max_distance_pct)} % "
                f"({self._caps.distance_setting}).",
            )

    async def _check_halt(self, symbol: str) -> None:
        try:
            reason = await self._halt(symbol)
        except (AlphaError, OSError, TimeoutError) as fault:
            raise Retry(
                f"{symbol}: no entry is sent for {self._bot} while the halt state cannot be read: {fault}",
            ) from fault
        if reason is not None:
            raise TradingHalted(f"{symbol}: no entry is sent for {self._bot}: it is halted ({reason}).")

    def _count(self, order: OrderRequest) -> None:
        now = self._clock.wall_ms()
        while self._sent and self._sent[0] <= now - MINUTE_MS:
            self._sent.popleft()
        most = self._caps.max_orders_per_minute * (EXIT_RATE_FACTOR if order.reduce_only else 1)
        if len(self._sent) >= most:
            raise CapExceeded(
                "orders_per_minute",
                self._caps.orders_setting,
                f"{order.symbol}: {self._bot} has sent {len(self._sent)} orders within a minute; the cap is {most} "
                f"({self._caps.orders_setting}).",
            )
        self._sent.append(now)

"""One account snapshot per second: from Redis while the listener vouches for it, else from the exchange."""

from dataclasses import dataclass
from decimal import Decimal

from alpha.bybit.rate_limiter import Priority
from alpha.errors import AlphaError
from alpha.live_state.connect import REDIS_UNAVAILABLE, RedisClients
from alpha.live_state.events import EventReader, EventType
from alpha.live_state.read import DataState, LivePosition, Side, read_positions, read_status, read_wallets
from alpha.model.coin import SETTLE_COINS, USDT, settle_coin
from alpha.model.money import ZERO
from alpha.model.order_link import GUARD_TAG
from alpha.model.position import Position
from alpha.model.timestamp import ms_of
from risk_guard.account import GuardedAccount
from risk_guard.limits import Seen

_MINUTE_MS = 60_000
_NEW_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class SeenOrder:
    """One order seen on the stream: its `orderLinkId`, and when it was created, in exchange time."""

    link_id: str
    symbol: str
    created_ms: int


class SnapshotReader:
    """Takes snapshots of one account."""

    def __init__(self, account: GuardedAccount, links: RedisClients) -> None:
        self._account = account
        self._redis = links.of(account.bot)
        self._reader = EventReader(self._redis, account.bot.id)
        self._orders: dict[str, int] = {}
        self._new: list[SeenOrder] = []

    async def live(self) -> Seen | None:
        """The account as Redis shows it; None when Redis is unavailable or the listener does not vouch for it."""
        bot = self._account.bot.id
        try:
            await self._count_orders()
            status = await read_status(self._redis, bot)
            if status is None or status.state is not DataState.SYNCED or not status.is_of(self._account.text):
                return None
            wallets = {row.coin: row for row in await read_wallets(self._redis, bot)}
            if not wallets:
                return None
            positions = await read_positions(self._redis, bot)
        except (*REDIS_UNAVAILABLE, AlphaError):
            return None
        now_ms = max(ms_of(wallet.updated_at) for wallet in wallets.values())
        if self._account.gateway.business.known:
            now_ms = max(now_ms, self._account.gateway.business.now_ms())
        amounts = {coin: (row.equity, row.wallet_balance) for coin, row in wallets.items()}
        return _seen(now_ms, amounts, positions, self._last_minute(now_ms))

    async def direct(self) -> Seen:
        """The account as the exchange shows it. Raises the gateway's errors."""
        gateway = self._account.gateway
        wallet = await gateway.wallet(rank=Priority.STOP)
        found = [line for coin in SETTLE_COINS if (line := wallet.coin(coin)) is not None]
        amounts = {line.coin: (line.equity, line.wallet_balance) for line in found}
        positions = [
            _live(row) for row in await gateway.positions(coins=SETTLE_COINS, rank=Priority.STOP) if not row.is_flat
        ]
        if not amounts:
            raise _NoMoney(f"The account of {self._account.bot.id} shows neither USDT nor USDC.")
        now_ms = gateway.business.now_ms()
        return _seen(now_ms, amounts, positions, self._last_minute(now_ms))

    def new_orders(self) -> list[SeenOrder]:
        """The orders seen on the stream since the previous call."""
        found, self._new = self._new, []
        return found

    async def _count_orders(self) -> None:
        for event in await self._reader.read(block_ms=1):
            order_id = str(event.data.get("orderId", ""))
            if event.type is not EventType.ORDER or event.data.get("createType") != "CreateByUser":
                continue
            link_id = str(event.data.get("orderLinkId") or "")
            if link_id.startswith(f"{GUARD_TAG}-"):
                continue
            created_ms = int(str(event.data.get("createdTime") or event.ts_ms))
            if order_id not in self._orders:
                order = SeenOrder(link_id, str(event.data.get("symbol")), created_ms)
                self._new = [*self._new[-_NEW_KEPT:], order]
            # A later update of an order does not make it a new one.
            self._orders[order_id] = created_ms

    def _last_minute(self, now_ms: int) -> int:
        self._orders = {order: made for order, made in self._orders.items() if made > now_ms - _MINUTE_MS}
        return len(self._orders)


class _NoMoney(AlphaError):
    """An account without a settle coin has no equity to judge."""


def _seen(now_ms: int, amounts: dict[str, tuple[Decimal, Decimal]], positions: list[LivePosition], orders: int) -> Seen:
    """The snapshot: USDT first, which an account in USDC has none of; a coin without money and positions is left out."""
    held = {settle_coin(row.symbol) for row in positions}
    others = tuple(
        Seen(now_ms, equity, balance, positions, 0, coin)
        for coin, (equity, balance) in amounts.items()
        if coin != USDT and (equity or balance or coin in held)
    )
    equity, balance = amounts.get(USDT, (ZERO, ZERO))
    return Seen(now_ms, equity, balance, positions, orders, USDT, others)


def _live(row: Position) -> LivePosition:
    return LivePosition(
        symbol=row.symbol,
        side=Side(row.side),
        size=row.size,
        entry_price=row.entry_price,
        mark_price=row.mark_price,
        unrealised_pnl=row.unrealised_pnl,
        leverage=row.leverage,
        liq_price=row.liq_price,
        stop_loss=row.stop_loss,
        take_profit=row.take_profit,
        trailing_stop=row.trailing_stop,
        opened_at=None,
        updated_at=None,
        seq=row.seq,
        leg=row.leg,
        margin=row.initial_margin,
        adl_rank=row.adl_rank,
    )

"""What the account holds now: from the live state in Redis, or over REST where that cannot be trusted."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from alpha.bybit.client import Gateway
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import Retry
from alpha.live_state.client import TextRedis
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.read import DataState, LivePosition, Side, read_positions, read_status, read_wallet
from alpha.model.position import Position
from alpha.model.side import Direction


@dataclass(frozen=True, slots=True)
class Held:
    """One open position as the exchange has it."""

    symbol: str
    direction: Direction
    size: Decimal
    entry_price: Decimal
    stop_loss: Decimal | None
    liq_price: Decimal | None
    opened_ms: int | None


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """The account at one moment. Amounts in USDT; `live` says that it came from live state that is synced."""

    held: dict[str, Held]
    equity: Decimal
    wallet_balance: Decimal
    open_profit: Decimal
    live: bool


class AccountView:
    """Looks at one account."""

    def __init__(
        self,
        gateway: Gateway,
        bot_db: TextRedis,
        bot_id: str,
        account: str,
        *,
        rest_only: bool = False,
        pace_ms: int = 0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`account` is environment and userID. `rest_only` is for a step clock: every look is then of the step's instant.

        `pace_ms`: how far apart routine looks over REST are.
        """
        self._gateway = gateway
        self._redis = bot_db
        self._bot = bot_id
        self._account = account
        self._rest_only = rest_only
        self._pace_ms = pace_ms
        self._clock = clock
        self._rest: tuple[int, AccountSnapshot] | None = None

    async def snapshot(self) -> AccountSnapshot:
        """The account, from Redis where that is synced, else over REST. Retry when neither answers."""
        found = None if self._rest_only else await self._live()
        if found is not None:
            self._rest = None
            return found
        # With the rank of the listener's own reads: with a higher one the looks of many bots keep it from ever being synced again.
        found = await self.snapshot_from_exchange(rank=Priority.RECONCILE)
        self._rest = (self._clock.monotonic_ms(), found)
        return found

    async def live(self) -> bool:
        """Whether the live state in Redis can be trusted now. The exchange is not asked."""
        return await self._live() is not None

    @property
    def due(self) -> bool:
        """Whether a routine look may be taken: always, but for a while after one over REST."""
        return self._rest is None or self._clock.monotonic_ms() - self._rest[0] >= self._pace_ms

    async def glance(self) -> AccountSnapshot:
        """As `snapshot`, but the last look where that was over REST, however old: what follows from it must be asked again."""
        return await self.snapshot() if self._rest is None else self._rest[1]

    async def snapshot_from_exchange(self, *, rank: Priority = Priority.EXIT) -> AccountSnapshot:
        """The account over REST."""
        rows, wallet = await asyncio.gather(self._gateway.positions(rank=rank), self._gateway.wallet(rank=rank))
        usdt = wallet.usdt
        if usdt is None:
            raise Retry("The account has no USDT: no equity, no order. Transfer some to the unified account.")
        held = [_held(row) for row in rows if not row.is_flat]
        return AccountSnapshot(
            {row.symbol: row for row in held}, usdt.equity, usdt.wallet_balance, usdt.unrealised_pnl, live=False
        )

    async def _live(self) -> AccountSnapshot | None:
        try:
            return await self._from_redis()
        except REDIS_UNAVAILABLE:
            return None

    async def _from_redis(self) -> AccountSnapshot | None:
        """The synced live state, or None when it is not synced, not complete, or another account's."""
        status = await read_status(self._redis, self._bot)
        if status is None or status.state is not DataState.SYNCED or not status.is_of(self._account):
            return None
        wallet = await read_wallet(self._redis, self._bot)
        if wallet is None:
            return None
        held = [_live_held(row) for row in await read_positions(self._redis, self._bot) if row.size]
        return AccountSnapshot(
            {row.symbol: row for row in held}, wallet.equity, wallet.wallet_balance, wallet.unrealised_pnl, live=True
        )


def _held(row: Position) -> Held:
    return Held(
        row.symbol, Direction(row.side), row.size, row.entry_price, row.stop_loss, row.liq_price, row.open_ms or None
    )


def _live_held(row: LivePosition) -> Held:
    if row.side is Side.FLAT or row.entry_price is None:
        raise Retry(f"The live state of {row.symbol} is not complete; it is read again.")
    opened_ms = None if row.opened_at is None else int(row.opened_at.timestamp() * 1000)
    return Held(
        row.symbol, Direction(row.side.value), row.size, row.entry_price, row.stop_loss, row.liq_price, opened_ms
    )

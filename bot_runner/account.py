"""What the account holds now: from the live state in Redis, or over REST where that cannot be trusted."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from alpha.bybit.client import Gateway
from alpha.bybit.rate_limiter import Priority
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
        self, gateway: Gateway, bot_db: TextRedis, bot_id: str, account: str, *, rest_only: bool = False
    ) -> None:
        """`account` is environment and userID. `rest_only` is for a step clock: every look is then of the step's instant."""
        self._gateway = gateway
        self._redis = bot_db
        self._bot = bot_id
        self._account = account
        self._rest_only = rest_only
        self.redis_away = False

    async def snapshot(self) -> AccountSnapshot:
        """The account, from Redis where that is synced, else over REST. Retry when neither answers."""
        if not self._rest_only:
            try:
                found = await self._from_redis()
                self.redis_away = False
            except REDIS_UNAVAILABLE:
                found = None
                self.redis_away = True
            if found is not None:
                return found
        return await self.snapshot_from_exchange()

    async def snapshot_from_exchange(self) -> AccountSnapshot:
        """The account over REST."""
        rows, wallet = await asyncio.gather(
            self._gateway.positions(rank=Priority.EXIT), self._gateway.wallet(rank=Priority.EXIT)
        )
        usdt = wallet.usdt
        if usdt is None:
            raise Retry("The account has no USDT: no equity, no order. Transfer some to the unified account.")
        held = [_held(row) for row in rows if not row.is_flat]
        return AccountSnapshot(
            {row.symbol: row for row in held}, usdt.equity, usdt.wallet_balance, usdt.unrealised_pnl, live=False
        )

    async def _from_redis(self) -> AccountSnapshot | None:
        """The synced live state, or None when it is not synced, not complete, or another account's."""
        status = await read_status(self._redis, self._bot)
        if status is None or status.state is not DataState.SYNCED or not status.is_of(self._account):
            return None
        wallet = await read_wallet(self._redis, self._bot)
        if wallet is None:
            return None
        held = [_live(row) for row in await read_positions(self._redis, self._bot) if row.size]
        return AccountSnapshot(
            {row.symbol: row for row in held}, wallet.equity, wallet.wallet_balance, wallet.unrealised_pnl, live=True
        )


def _held(row: Position) -> Held:
    return Held(
        row.symbol, Direction(row.side), row.size, row.entry_price, row.stop_loss, row.liq_price, row.open_ms or None
    )


def _live(row: LivePosition) -> Held:
    if row.side is Side.FLAT or row.entry_price is None:
        raise Retry(f"The live state of {row.symbol} is not complete; it is read again.")
    opened_ms = None if row.opened_at is None else int(row.opened_at.timestamp() * 1000)
    return Held(
        row.symbol, Direction(row.side.value), row.size, row.entry_price, row.stop_loss, row.liq_price, opened_ms
    )

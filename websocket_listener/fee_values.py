"""Values fees that are paid in another coin than the settle coin (MNT): in USDT, at the price when the fill happened.

The price is the public market's: the ticker for a fill of the last minute, else the close of the fill's minute. It is
kept in `trading.fills.fee_price`. A coin without a market stays without a value, and is shown so.
"""

import asyncio
from decimal import Decimal
from typing import Any

import asyncpg

from alpha.bybit.client import Gateway
from alpha.bybit.errors import Refused
from alpha.errors import AlphaError
from alpha.logs import logger
from alpha.model.account import Account
from alpha.model.timestamp import ms_of
from alpha.postgres.database import POSTGRES_ERRORS, Pool
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)

_BEAT_S = 2.0
_MINUTE_MS = 60_000
_MOST = 200


class FeeValues:
    """Values the fees of one account."""

    def __init__(self, account: Account, gateway: Gateway, pool: Pool) -> None:
        self._account = account
        self._gateway = gateway
        self._pool = pool
        self._without_market: set[str] = set()
        self._minutes: dict[tuple[str, int], Decimal] = {}

    async def run(self) -> None:
        """Value until cancelled; what fails is tried again on the next beat."""
        while True:
            try:
                while await self.value() == _MOST:
                    pass
            except (asyncpg.UndefinedColumnError, asyncpg.UndefinedTableError):
                log.info("fees_not_valued", why="the database waits for its migration")
                await asyncio.sleep(60.0)
            except (AlphaError, *POSTGRES_ERRORS) as fault:
                log.info("fees_not_valued", bot=self._account.bot_id, why=f"{type(fault).__name__}: {fault}"[:300])
            await asyncio.sleep(_BEAT_S)

    async def value(self) -> int:
        """Value a batch of fees; returns how many were valued. Raises the gateway's and asyncpg's errors."""
        async with self._pool.acquire(timeout=5.0) as connection:
            rows = await connection.fetch(SQL["waiting"], self._account.id, sorted(self._without_market), _MOST)
        priced: list[tuple[Any, Decimal]] = []
        for row in rows:
            price = await self._price(row["fee_currency"], ms_of(row["exec_time"]))
            if price is not None:
                priced.append((row, price))
        if not priced:
            return 0
        names = [[row[name] for row, _ in priced] for name in ("category", "symbol", "exec_id")]
        async with self._pool.acquire(timeout=5.0) as connection:
            await connection.execute(SQL["value"], self._account.id, *names, [price for _, price in priced])
        return len(priced)

    async def _price(self, coin: str, at_ms: int) -> Decimal | None:
        symbol = f"{coin}USDT"
        minute_ms = at_ms - at_ms % _MINUTE_MS
        known = self._minutes.get((coin, minute_ms))
        if known is not None:
            return known
        if coin in self._without_market:
            return None
        try:
            if self._gateway.business.now_ms() - at_ms < _MINUTE_MS:
                return (await self._gateway.tickers(symbol))[symbol].last
            candles = await self._gateway.kline(symbol, "1", start_ms=minute_ms, end_ms=minute_ms, limit=1)
        except (Refused, KeyError) as fault:
            log.warning("no_price_of_fees", coin=coin, why=str(fault)[:200])
            self._without_market.add(coin)
            return None
        if not candles:
            # a market younger than the fill
            self._without_market.add(coin)
            return None
        self._minutes = {**dict(list(self._minutes.items())[-500:]), (coin, minute_ms): candles[0].close}
        return candles[0].close

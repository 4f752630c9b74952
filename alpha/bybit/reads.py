"""Bybit's read calls, one method per call, each with typed rows."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from alpha.bybit import decode, rows
from alpha.bybit import endpoints as at_bybit
from alpha.bybit.endpoints import Endpoint
from alpha.bybit.errors import Busy, NotSupported, Refused
from alpha.bybit.models import (
    AccountInfo,
    ApiKeyInfo,
    ClosedPnl,
    FeeRate,
    FundingRate,
    Kline,
    OpenInterest,
    PublicTrade,
    SystemStatus,
    Ticker,
    TransactionLogRow,
    Wallet,
)
from alpha.bybit.pagination import Page, follow, read_page, windows
from alpha.bybit.rate_limiter import Priority
from alpha.bybit.session import Caller
from alpha.clock import BusinessClock
from alpha.model.account import Environment
from alpha.model.coin import USDT
from alpha.model.exchange_profile import profile_of
from alpha.model.execution import Execution
from alpha.model.fill_order import oldest_first
from alpha.model.instrument import Instrument
from alpha.model.order import Order
from alpha.model.position import Position
from alpha.model.trading_session import has_sessions

T = TypeVar("T")
LINEAR = "linear"
SETTLE_COIN = USDT


class Reads:
    """The reads of one key. `rank` is the priority when the request budget is short."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        #: Instruments whose market has trading hours, of those that were read through this gateway.
        self.with_sessions: dict[str, Instrument] = {}

    @property
    def account(self) -> str:
        """The account whose request budget this gateway uses."""
        return self._caller.account

    @property
    def environment(self) -> Environment:
        """Which exchange this gateway talks to."""
        return self._caller.hosts.environment

    @property
    def business(self) -> BusinessClock:
        """The newest time that the exchange's answers carried."""
        return self._caller.business

    @property
    def skew_ms(self) -> int | None:
        """The exchange's clock minus this machine's, in milliseconds; None before the first measurement."""
        return self._caller.skew_ms

    def signing_ms(self) -> int:
        """The timestamp to sign a WebSocket login with, in milliseconds."""
        return self._caller.signing_ms()

    async def sync_clock(self) -> int:
        """Measure the skew of this machine's clock now, in milliseconds."""
        return await self._caller.sync_clock()

    async def close(self) -> None:
        """Stop the gateway's threads and close its connections."""
        await self._caller.close()

    # -- the market ---------------------------------------------------------------------------------------------

    async def server_time_ms(self, *, rank: Priority = Priority.RECONCILE) -> int:
        """The exchange's clock, in milliseconds: business time on a simulated exchange."""
        result = await self._caller.read(at_bybit.SERVER_TIME, {}, rank)
        return decode.parse_server_time(result).time_ms

    async def instruments(
        self, symbol: str | None = None, *, rank: Priority = Priority.RECONCILE
    ) -> dict[str, Instrument]:
        """All tradable linear instruments, or the requested one, by symbol; Rejected when that does not exist."""
        params = {"category": LINEAR, "symbol": symbol, "limit": 1000}
        found: dict[str, Instrument] = {}
        async for page in self._pages(at_bybit.INSTRUMENTS, params, decode.parse_instrument, rank):
            # spot-like contracts and pre-listings have no filters; only a requested symbol must be readable
            if symbol and page.unreadable:
                raise page.unreadable[0]
            found.update({row.symbol: row for row in page.rows})
        if symbol and symbol not in found:
            raise Refused(f"Bybit has no linear instrument {symbol}; check the symbol's spelling.", 10001)
        self.with_sessions |= {name: row for name, row in found.items() if has_sessions(row)}
        return found

    async def tickers(self, symbol: str | None = None, *, rank: Priority = Priority.RECONCILE) -> dict[str, Ticker]:
        """The tickers of all linear symbols, or of one, by symbol."""
        rows = await self._list(at_bybit.TICKERS, {"category": LINEAR, "symbol": symbol}, decode.parse_ticker, rank)
        return {row.symbol: row for row in rows}

    async def recent_trades(
        self, symbol: str, *, limit: int = 1000, rank: Priority = Priority.RECONCILE
    ) -> list[PublicTrade]:
        """The newest trades of the market, newest first; `limit` at most 1,000, and there is no page before them."""
        params = {"category": LINEAR, "symbol": symbol, "limit": limit}
        return await self._list(at_bybit.RECENT_TRADES, params, decode.parse_public_trade, rank)

    async def kline(
        self,
        symbol: str,
        interval: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int = 1000,
        rank: Priority = Priority.RECONCILE,
    ) -> list[Kline]:
        """Up to 1,000 candles, oldest first. `closed` is judged by the timestamp of the same answer only.

        Bybit stamps an answer slightly after reading the candles, so a candle counts as closed one second late.
        """
        params = {
            "category": LINEAR,
            "symbol": symbol,
            "interval": interval,
            "start": start_ms,
            "end": end_ms,
            "limit": limit,
        }
        answer = await self._caller.answer(at_bybit.KLINE, params, rank)
        if answer.time_ms is None:
            raise Busy("Bybit sent candles without a time, so that none of them is known to be closed; ask again.")
        now_ms = answer.time_ms - profile_of(self.environment).stamp_ms
        page = read_page(answer.result, lambda row: decode.parse_kline_rest(row, symbol, interval, now_ms))
        return sorted(_all(page), key=lambda candle: candle.start_ms)

    async def funding_history(
        self, symbol: str, *, start_ms: int | None = None, end_ms: int, rank: Priority = Priority.BACKFILL
    ) -> list[FundingRate]:
        """Up to 200 funding rates up to `end_ms`, oldest first."""
        params = {"category": LINEAR, "symbol": symbol, "startTime": start_ms, "endTime": end_ms, "limit": 200}
        rows = await self._list(at_bybit.FUNDING_HISTORY, params, decode.parse_funding_rate, rank)
        return sorted(rows, key=lambda row: row.time_ms)

    async def open_interest(
        self, symbol: str, step: str, *, start_ms: int, end_ms: int, rank: Priority = Priority.BACKFILL
    ) -> list[OpenInterest]:
        """Up to 200 values of `start_ms <= time <= end_ms`, the newest ones, oldest first.

        `step` as Bybit writes it: 5min, 15min, 30min, 1h, 4h, 1d.
        """
        params = {
            "category": LINEAR,
            "symbol": symbol,
            "intervalTime": step,
            "startTime": start_ms,
            "endTime": end_ms,
            "limit": 200,
        }
        rows = await self._list(at_bybit.OPEN_INTEREST, params, decode.parse_open_interest, rank)
        return sorted(rows, key=lambda row: row.time_ms)

    async def system_status(self, *, rank: Priority = Priority.RECONCILE) -> list[SystemStatus]:
        """Announced maintenance and incidents."""
        return await self._list(at_bybit.SYSTEM_STATUS, {}, decode.parse_system_status, rank)

    # -- the account --------------------------------------------------------------------------------------------

    async def key_info(self, *, rank: Priority = Priority.RECONCILE) -> ApiKeyInfo:
        """The key's identity and permissions; its `user_id` identifies the account."""
        return decode.parse_key_info(await self._caller.read(at_bybit.KEY_INFO, {}, rank))

    async def sub_accounts(self, *, rank: Priority = Priority.RECONCILE) -> int:
        """How many sub-accounts the user has. Only a key of the main account with a right to transfer may ask:
        KeyRefused for any other."""
        return decode.parse_sub_members(await self._caller.read(at_bybit.SUB_MEMBERS, {}, rank))

    async def account_info(self, *, rank: Priority = Priority.RECONCILE) -> AccountInfo:
        """The margin mode of the account."""
        return decode.parse_account_info(await self._caller.read(at_bybit.ACCOUNT_INFO, {}, rank))

    async def fees_in_mnt(self, *, rank: Priority = Priority.RECONCILE) -> bool:
        """True when the account pays the fees of contracts in MNT while it has any."""
        return decode.parse_fees_in_mnt(await self._caller.read(at_bybit.USER_SETTINGS, {}, rank))

    async def wallet(self, *, rank: Priority = Priority.RECONCILE) -> Wallet:
        """The unified account with its coins."""
        rows = await self._list(at_bybit.WALLET, {"accountType": "UNIFIED"}, decode.parse_wallet, rank)
        if not rows:
            raise Busy("Bybit answered with no wallet; ask again.")
        return rows[0]

    async def fee_rates(self, symbol: str | None = None, *, rank: Priority = Priority.RECONCILE) -> dict[str, FeeRate]:
        """The fee rates by symbol. Raises NotSupported on demo, which lacks the call (it answers 10001)."""
        if self.environment is Environment.DEMO:
            raise NotSupported("account/fee-rate does not exist on demo; use the published rates.", 10001)
        params = {"category": LINEAR, "symbol": symbol}
        rows = await self._list(at_bybit.FEE_RATES, params, decode.parse_fee_rate, rank)
        return {row.symbol: row for row in rows}

    async def positions(
        self,
        symbol: str | None = None,
        *,
        coins: Sequence[str] = (SETTLE_COIN,),
        rank: Priority = Priority.RECONCILE,
    ) -> list[Position]:
        """The open positions that settle in `coins`; with `symbol`, those of that symbol even when flat.

        A symbol in one-way mode has one, a symbol in hedge mode two.
        """
        return await self._by_coin(at_bybit.POSITIONS, symbol, coins, 200, rows.parse_position, rank)

    async def open_orders(
        self,
        symbol: str | None = None,
        *,
        coins: Sequence[str] = (SETTLE_COIN,),
        rank: Priority = Priority.RECONCILE,
    ) -> list[Order]:
        """The open orders, including conditional orders and stops, of one symbol or of all contracts of `coins`."""
        return await self._by_coin(at_bybit.OPEN_ORDERS, symbol, coins, 50, rows.parse_order, rank)

    async def order_by_link_id(self, symbol: str, link_id: str, *, rank: Priority = Priority.RECONCILE) -> Order | None:
        """The order with this `orderLinkId`, open or closed; None when the exchange does not know it."""
        return await self._one_order({"symbol": symbol, "orderLinkId": link_id}, rank)

    async def order_by_id(self, symbol: str, order_id: str, *, rank: Priority = Priority.RECONCILE) -> Order | None:
        """The order with this id, open or closed; None when the exchange does not know it (or no longer does)."""
        return await self._one_order({"symbol": symbol, "orderId": order_id}, rank)

    # -- histories, by window (at most seven days) and page -----------------------------------------------------

    def executions(
        self,
        start_ms: int,
        end_ms: int,
        *,
        symbol: str | None = None,
        category: str = LINEAR,
        rank: Priority = Priority.RECONCILE,
    ) -> AsyncIterator[Page[Execution]]:
        """The pages of `execution/list`: windows oldest first, rows within a window newest first."""

        def row(sent: object) -> Execution:
            return rows.parse_execution(sent, category)

        return self._history(at_bybit.EXECUTIONS, start_ms, end_ms, symbol, 100, row, rank, category=category)

    async def executions_oldest_first(
        self, start_ms: int, end_ms: int, *, symbol: str | None = None, rank: Priority = Priority.RECONCILE
    ) -> AsyncIterator[Page[Execution]]:
        """Like `executions`, but one complete page per window, oldest row first, yielded once the window was read."""
        for start, end in windows(start_ms, end_ms):
            rows: list[Execution] = []
            unreadable = []
            async for page in self.executions(start, end, symbol=symbol, rank=rank):
                rows += page.rows
                unreadable += page.unreadable
            yield Page(oldest_first(rows), unreadable, "")

    async def executions_of_order(self, order_id: str, *, rank: Priority = Priority.RECONCILE) -> list[Execution]:
        """All executions of one order."""
        params = {"category": LINEAR, "orderId": order_id, "limit": 100}
        return await self._every(at_bybit.EXECUTIONS, params, rows.parse_execution, rank)

    def order_history(
        self, start_ms: int, end_ms: int, *, symbol: str | None = None, rank: Priority = Priority.RECONCILE
    ) -> AsyncIterator[Page[Order]]:
        """The pages of `order/history`, oldest window first."""
        return self._history(at_bybit.ORDER_HISTORY, start_ms, end_ms, symbol, 50, rows.parse_order, rank)

    def closed_pnl(
        self, start_ms: int, end_ms: int, *, symbol: str | None = None, rank: Priority = Priority.BACKFILL
    ) -> AsyncIterator[Page[ClosedPnl]]:
        """The pages of `position/closed-pnl`; windows refer to the closing order's creation time."""
        return self._history(at_bybit.CLOSED_PNL, start_ms, end_ms, symbol, 100, decode.parse_closed_pnl, rank)

    def transaction_log(
        self, start_ms: int, end_ms: int, *, currency: str | None = SETTLE_COIN, rank: Priority = Priority.RECONCILE
    ) -> AsyncIterator[Page[TransactionLogRow]]:
        """The pages of `account/transaction-log` for one coin; None: for all coins."""
        more = {"accountType": "UNIFIED"} | ({"currency": currency} if currency else {})
        return self._history(
            at_bybit.TRANSACTION_LOG, start_ms, end_ms, None, 50, decode.parse_transaction, rank, category=None, **more
        )

    # -- internals -----------------------------------------------------------------------------------------------

    async def _history(
        self,
        endpoint: Endpoint,
        start_ms: int,
        end_ms: int,
        symbol: str | None,
        limit: int,
        row: Callable[[object], T],
        rank: Priority,
        *,
        category: str | None = LINEAR,
        **more: str,
    ) -> AsyncIterator[Page[T]]:
        for start, end in windows(start_ms, end_ms):
            params: dict[str, object] = {
                "category": category,
                "symbol": symbol,
                "startTime": start,
                "endTime": end,
                "limit": limit,
                **more,
            }
            async for page in self._pages(endpoint, params, row, rank):
                yield page

    async def _pages(
        self, endpoint: Endpoint, params: Mapping[str, object], row: Callable[[object], T], rank: Priority
    ) -> AsyncIterator[Page[T]]:
        async def fetch(cursor: str) -> Page[T]:
            asked = {**params, "cursor": cursor} if cursor else params
            return read_page(await self._caller.read(endpoint, asked, rank), row)

        async for page in follow(fetch):
            yield page

    async def _by_coin(
        self,
        endpoint: Endpoint,
        symbol: str | None,
        coins: Sequence[str],
        limit: int,
        row: Callable[[object], T],
        rank: Priority,
    ) -> list[T]:
        params: dict[str, object] = {"category": LINEAR, "limit": limit}
        if symbol:
            return await self._every(endpoint, {**params, "symbol": symbol}, row, rank)
        found: list[T] = []
        for coin in coins:
            found += await self._every(endpoint, {**params, "settleCoin": coin}, row, rank)
        return found

    async def _every(
        self, endpoint: Endpoint, params: Mapping[str, object], row: Callable[[object], T], rank: Priority
    ) -> list[T]:
        """All rows of all pages; raises UnreadableRow if any row is unreadable: a partial list would mislead."""
        return [found async for page in self._pages(endpoint, params, row, rank) for found in _all(page)]

    async def _list(
        self, endpoint: Endpoint, params: Mapping[str, object], row: Callable[[object], T], rank: Priority
    ) -> list[T]:
        return _all(read_page(await self._caller.read(endpoint, params, rank), row))

    async def _one_order(self, by: dict[str, object], rank: Priority) -> Order | None:
        for endpoint in (at_bybit.OPEN_ORDERS, at_bybit.ORDER_HISTORY):
            found = await self._list(endpoint, {"category": LINEAR, **by}, rows.parse_order, rank)
            if found:
                return max(found, key=lambda order: order.updated_ms)
        return None


def _all(page: Page[T]) -> list[T]:
    if page.unreadable:
        raise page.unreadable[0]
    return page.rows

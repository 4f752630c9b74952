"""Typed reads of live state. Absent values read as None or empty, never as a default."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import msgspec

from alpha.clock import boottime_ms, wall_ms
from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.live_state.freshness import MOST_VALID_S, PATIENCE_S, VALID_S, Beats
from alpha.model.coin import SETTLE_COINS, USDT
from alpha.model.leg import BOTH, split_slot
from alpha.model.money import amount, amount_or_none, amount_or_zero
from alpha.model.timestamp import at, ms_of

T = TypeVar("T")


class DataState(StrEnum):
    """The state of a bot's live data, as the listener reports it."""

    SYNCED = "synced"
    STALE = "stale"
    DOWN = "down"


class Side(StrEnum):
    """The direction of a position; `FLAT` when its size is zero. Values in Bybit's notation."""

    LONG = "Buy"
    SHORT = "Sell"
    FLAT = ""


@dataclass(frozen=True, slots=True)
class LivePosition:
    """`position:<bot>:<symbol>[:<leg>]`. Sizes in base coin, amounts in the settle coin, times of the exchange.

    `margin` is the initial margin; in isolated margin the whole stake of this position.
    """

    symbol: str
    side: Side
    size: Decimal
    entry_price: Decimal | None
    mark_price: Decimal | None
    unrealised_pnl: Decimal | None
    leverage: Decimal | None
    liq_price: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    trailing_stop: Decimal | None
    opened_at: datetime | None
    updated_at: datetime | None
    seq: int
    leg: str = BOTH
    margin: Decimal | None = None
    adl_rank: int = 0

    @property
    def signed_size(self) -> Decimal:
        """The size, negative for a short."""
        return -self.size if self.side is Side.SHORT else self.size


@dataclass(frozen=True, slots=True)
class LiveWallet:
    """`wallet:<bot>` (USDT) or `wallet:<bot>:USDC`: one settle coin of the account, in that coin."""

    equity: Decimal
    wallet_balance: Decimal
    available: Decimal | None
    unrealised_pnl: Decimal
    updated_at: datetime
    coin: str = USDT


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """`status:<bot>`: whether the live state can be trusted, and since when. Times are of the listener's clock, for
    display only: `state` is what the reader may rely on; it is `stale` when the listener said `synced` but no longer
    confirms it."""

    state: DataState
    connected_at: datetime | None
    synced_at: datetime | None
    last_message_at: datetime | None
    last_fill_at: datetime | None
    #: The account the listener reads: environment and userID, "" if unknown.
    account: str = ""
    #: Upper bound, by the reader's own clock, of the seconds since it was compared with the exchange; None if unknown.
    age_s: float | None = None

    def is_of(self, account: str) -> bool:
        """False when the live state belongs to a different account."""
        return self.account in {"", account}


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`heartbeat:<bot>`: wall-clock time of the strategy's last heartbeat, its state and what it waits for."""

    alive_at: datetime
    state: str
    waits_for: str
    #: For how long this reader has seen the same counter, by its own clock; None for a writer without a counter.
    stands_s: float | None = None
    #: Whether this reader has ever seen the counter move: then wall clocks, which step, say nothing.
    moved: bool = False

    def age(self, now: datetime) -> timedelta:
        """How long ago the last beat was; `now` is the reader's wall clock, which counts until the counter has moved once."""
        stands = timedelta(seconds=self.stands_s or 0)
        return stands if self.moved else max(stands, now - self.alive_at, timedelta())


@dataclass(frozen=True, slots=True)
class MarketQuote:
    """`market:<symbol>`; prices in USDT, `updated_at` in the exchange's time."""

    last: Decimal | None
    mark: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    funding_rate: Decimal | None
    next_funding_at: datetime | None
    updated_at: datetime | None


class Candle(msgspec.Struct, frozen=True, array_like=True):
    """One closed candle, stored as a JSON array in this order. Amounts are strings, as Bybit sent them."""

    start_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str


class BarIndicators(msgspec.Struct, frozen=True):
    """The indicators of a strategy at one bar of `interval_ms`, by name; only those that had a finite value."""

    start_ms: int
    interval_ms: int
    values: dict[str, float]


_indicators_decoder = msgspec.json.Decoder(BarIndicators)
_candle_decoder = msgspec.json.Decoder(Candle)


def encode_candle(candle: Candle) -> str:
    """Encode a candle for its list."""
    return msgspec.json.encode(candle).decode()


def decode_candle(text: str) -> Candle:
    """Decode a candle from its list."""
    return _candle_decoder.decode(text)


def _moment(text: str | None) -> datetime | None:
    return at(int(text)) if text and int(text) > 0 else None


async def read_position(bot_db: TextRedis, bot: str, slot: str) -> LivePosition | None:
    """The position of a symbol (in hedge mode `symbol:leg`), flat or open; None when none was ever seen."""
    fields = await bot_db.hgetall(keys.position(bot, slot))
    return parse_position(slot, fields) if fields else None


async def read_positions(bot_db: TextRedis, bot: str) -> list[LivePosition]:
    """All open positions, by symbol and leg."""
    look = await _look_at(bot_db, bot)
    slots = sorted(look.slots if look is not None else await bot_db.smembers(keys.positions(bot)))
    if not slots:
        return []
    async with bot_db.pipeline(transaction=False) as pipe:
        for slot in slots:
            pipe.hgetall(keys.position(bot, slot))
        rows = await pipe.execute()
    return [parse_position(slot, row) for slot, row in zip(slots, rows, strict=True) if row]


def parse_position(slot: str, fields: Mapping[str, str]) -> LivePosition:
    """The position in the hash of this slot (`BTCUSDT`, or `BTCUSDT:long`)."""
    symbol, leg = split_slot(slot)

    def price(name: str) -> Decimal | None:
        value = amount_or_none(fields.get(name), name)
        return value if value else None

    return LivePosition(
        symbol=symbol,
        side=Side(fields.get("side", "")),
        size=amount(fields["size"], "size"),
        entry_price=price("entry_price"),
        mark_price=price("mark_price"),
        unrealised_pnl=amount_or_none(fields.get("unrealised_pnl"), "unrealised_pnl"),
        leverage=price("leverage"),
        liq_price=price("liq_price"),
        stop_loss=price("stop_loss"),
        take_profit=price("take_profit"),
        trailing_stop=price("trailing_stop"),
        opened_at=_moment(fields.get("opened_at")),
        updated_at=_moment(fields.get("updated_at")),
        seq=int(fields.get("seq") or -1),
        leg=leg,
        margin=price("margin"),
        adl_rank=int(fields.get("adl_rank") or 0),
    )


async def read_orders(bot_db: TextRedis, bot: str) -> dict[str, dict[str, object]]:
    """The open orders: order id to the row as the exchange sent it."""
    look = await _look_at(bot_db, bot)
    rows = look.orders if look is not None else await bot_db.hgetall(keys.orders(bot))
    return {order_id: msgspec.json.decode(row) for order_id, row in rows.items()}


async def read_wallets(bot_db: TextRedis, bot: str) -> list[LiveWallet]:
    """The wallet's settle coins, USDT first, as they were at one moment; empty before it was first seen."""
    look = await _look_at(bot_db, bot)
    if look is not None:
        rows = look.wallets
    else:
        # Redis may be emptied between two reads: a coin that then is missing was not spent
        async with bot_db.pipeline(transaction=True) as pipe:
            for coin in SETTLE_COINS:
                pipe.hgetall(keys.wallet(bot, coin))
            rows = await pipe.execute()
    return [_parse_wallet(fields, coin) for coin, fields in zip(SETTLE_COINS, rows, strict=True) if fields]


async def read_symbols(bot_db: TextRedis, bot: str) -> set[str]:
    """The symbols that the bot follows."""
    look = await _look_at(bot_db, bot)
    return look.symbols if look is not None else await bot_db.smembers(keys.symbols(bot))


async def read_intervals(bot_db: TextRedis, bot: str) -> set[str]:
    """The intervals of the candles that the bot follows."""
    look = await _look_at(bot_db, bot)
    return look.intervals if look is not None else await bot_db.smembers(keys.intervals(bot))


async def read_heard(bot_db: TextRedis, bot: str) -> tuple[set[str], int]:
    """The symbols that the bot follows, and the exchange's time of its wallet in milliseconds; 0 for none."""
    look = await _look_at(bot_db, bot)
    if look is not None:
        return look.symbols, max(int(wallet.get("updated_at") or 0) for wallet in look.wallets)
    async with bot_db.pipeline(transaction=False) as pipe:
        pipe.smembers(keys.symbols(bot))
        for coin in SETTLE_COINS:
            pipe.hget(keys.wallet(bot, coin), "updated_at")
        symbols, *stamps = await pipe.execute()
    return symbols, max(int(stamp or 0) for stamp in stamps)


async def read_wallet(bot_db: TextRedis, bot: str, coin: str = USDT) -> LiveWallet | None:
    """One settle coin of the wallet; None when the account has never had it."""
    fields = await bot_db.hgetall(keys.wallet(bot, coin))
    return _parse_wallet(fields, coin) if fields else None


def _parse_wallet(fields: Mapping[str, str], coin: str) -> LiveWallet:
    return LiveWallet(
        equity=amount(fields["equity"], "equity"),
        wallet_balance=amount(fields["wallet_balance"], "wallet_balance"),
        available=amount_or_none(fields.get("available"), "available"),
        unrealised_pnl=amount_or_zero(fields.get("unrealised_pnl"), "unrealised_pnl"),
        updated_at=at(int(fields["updated_at"])),
        coin=coin,
    )


#: The reads of one look, each with its answer; None outside of one.
_look: ContextVar[dict[tuple[str, str], asyncio.Task[Any]] | None] = ContextVar("look", default=None)


@contextmanager
def one_look() -> Iterator[None]:
    """Within this block, and in tasks that it starts, all that Redis holds of a bot is read once, at one moment, whoever asks.

    For what only shows: who changes something reads again afterwards.
    """
    token = _look.set({})
    try:
        yield
    finally:
        _look.reset(token)


async def once(kind: str, name: str, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The answer of `read`, asked once per kind and name within `one_look`."""
    look = _look.get()
    if look is None:
        return await read()
    task = look.get((kind, name))
    if task is None:
        task = look[(kind, name)] = asyncio.create_task(read())
    found: T = await task
    return found


@dataclass(frozen=True, slots=True)
class _BotLook:
    """All that Redis holds of one bot, but its positions: they are read when their slots are known."""

    asked_ms: int
    status: dict[str, str]
    heartbeat: dict[str, str]
    wallets: list[dict[str, str]]
    orders: dict[str, str]
    slots: set[str]
    symbols: set[str]
    intervals: set[str]


async def _look_at(bot_db: TextRedis, bot: str) -> _BotLook | None:
    """What this look has read of the bot; None outside of one."""
    return None if _look.get() is None else await once("bot", bot, lambda: _read_bot(bot_db, bot))


async def _read_bot(bot_db: TextRedis, bot: str) -> _BotLook:
    asked_ms = boottime_ms()
    async with bot_db.pipeline(transaction=True) as pipe:
        pipe.hgetall(keys.status(bot))
        pipe.hgetall(keys.heartbeat(bot))
        pipe.hgetall(keys.orders(bot))
        pipe.smembers(keys.positions(bot))
        pipe.smembers(keys.symbols(bot))
        pipe.smembers(keys.intervals(bot))
        for coin in SETTLE_COINS:
            pipe.hgetall(keys.wallet(bot, coin))
        status, heartbeat, orders, slots, symbols, intervals, *wallets = await pipe.execute()
    return _BotLook(asked_ms, status, heartbeat, wallets, orders, slots, symbols, intervals)


#: Each client's observations of each bot's counter, for this process.
_seen: WeakKeyDictionary[TextRedis, dict[str, Beats]] = WeakKeyDictionary()
_READ_AGAIN_S = 0.1


async def read_status(bot_db: TextRedis, bot: str, *, patience_s: float = PATIENCE_S) -> LiveStatus | None:
    """Whether this bot's live state can be trusted; None before the listener ever ran.

    `synced` is believed when the listener's counter has moved since this client's previous read. A client that reads
    every second never waits; a first or infrequent read waits up to `patience_s` until the counter moves.
    """
    return await once("status", bot, lambda: _read_status(bot_db, bot, patience_s))


async def _read_status(bot_db: TextRedis, bot: str, patience_s: float) -> LiveStatus | None:
    beats = _seen.setdefault(bot_db, {}).setdefault(bot, Beats())
    look = await _look_at(bot_db, bot)
    while True:
        asked_ms = boottime_ms() if look is None else look.asked_ms
        fields = await bot_db.hgetall(keys.status(bot)) if look is None else look.status
        look = None
        if not fields:
            return None
        state, age_s = DataState(fields["state"]), None
        if "beat" not in fields:
            return _parse_status(fields, *_by_wall_clock(state, fields.get("synced_at")))
        beats.saw(fields.get("writer", ""), int(fields["beat"]), asked_ms)
        now_ms = boottime_ms()
        beat_age_s = beats.age_s(now_ms)
        if beat_age_s is not None and fields.get("audit_age_ms"):
            age_s = beat_age_s + (int(fields["audit_age_ms"]) + int(fields.get("late_ms") or 0)) / 1000
        proven = state is not DataState.SYNCED or (age_s is not None and age_s <= _valid_s(fields))
        if proven or beats.watched_s(now_ms) >= patience_s:
            return _parse_status(fields, state if proven else DataState.STALE, age_s)
        await asyncio.sleep(_READ_AGAIN_S)


def _valid_s(fields: Mapping[str, str]) -> float:
    text = fields.get("valid_ms", "")
    return min(MOST_VALID_S, int(text) / 1000) if text.isdecimal() else VALID_S


def _by_wall_clock(state: DataState, synced_at: str | None) -> tuple[DataState, float | None]:
    """A status without a counter, from a listener of the previous release: only wall clocks can be compared."""
    moment = _moment(synced_at)
    if moment is None:
        return (DataState.STALE if state is DataState.SYNCED else state), None
    age_s = (wall_ms() - ms_of(moment)) / 1000
    too_old = state is DataState.SYNCED and age_s > VALID_S
    return (DataState.STALE if too_old else state), max(0.0, age_s)


def _parse_status(fields: Mapping[str, str], state: DataState, age_s: float | None) -> LiveStatus:
    return LiveStatus(
        state=state,
        connected_at=_moment(fields.get("connected_at")),
        synced_at=_moment(fields.get("synced_at")),
        last_message_at=_moment(fields.get("last_message_at")),
        last_fill_at=_moment(fields.get("last_fill_at")),
        account=fields.get("account", ""),
        age_s=age_s,
    )


async def read_heartbeat(bot_db: TextRedis, bot: str) -> Heartbeat | None:
    """The strategy's last heartbeat; None before the first."""
    return await once("heartbeat", bot, lambda: _read_heartbeat(bot_db, bot))


async def _read_heartbeat(bot_db: TextRedis, bot: str) -> Heartbeat | None:
    look = await _look_at(bot_db, bot)
    asked_ms = boottime_ms() if look is None else look.asked_ms
    fields = await bot_db.hgetall(keys.heartbeat(bot)) if look is None else look.heartbeat
    if not fields:
        return None
    alive_at, state, waits_for = at(int(fields["alive_at"])), fields.get("state", ""), fields.get("waits_for", "")
    if "beat" not in fields:
        return Heartbeat(alive_at, state, waits_for)
    beats = _seen.setdefault(bot_db, {}).setdefault(keys.heartbeat(bot), Beats())
    beats.saw(fields.get("writer", ""), int(fields["beat"]), asked_ms)
    return Heartbeat(alive_at, state, waits_for, beats.watched_s(boottime_ms()), beats.moved)


async def read_quote(shared_db: TextRedis, symbol: str) -> MarketQuote | None:
    """The latest prices of `symbol`; None before any was seen."""
    fields = await shared_db.hgetall(keys.market(symbol))
    if not fields:
        return None
    return MarketQuote(
        last=amount_or_none(fields.get("last"), "last"),
        mark=amount_or_none(fields.get("mark"), "mark"),
        bid=amount_or_none(fields.get("bid"), "bid"),
        ask=amount_or_none(fields.get("ask"), "ask"),
        funding_rate=amount_or_none(fields.get("funding_rate"), "funding_rate"),
        next_funding_at=_moment(fields.get("next_funding_at")),
        updated_at=_moment(fields.get("updated_at")),
    )


async def read_candles(shared_db: TextRedis, symbol: str, interval: str, last: int = keys.CANDLES_KEPT) -> list[Candle]:
    """The latest closed candles, oldest first, at most `last`."""
    rows = await shared_db.lrange(keys.candles(symbol, interval), -last, -1)
    return [decode_candle(row) for row in rows]


async def read_indicators(bot_db: TextRedis, bot: str, symbol: str) -> list[BarIndicators]:
    """What the bot's strategy computed for this symbol, oldest first, one entry per bar; empty when nothing is kept."""
    rows = (_indicators_decoder.decode(row) for row in await bot_db.lrange(keys.indicators(bot, symbol), 0, -1))
    return sorted({row.start_ms: row for row in rows}.values(), key=lambda row: row.start_ms)

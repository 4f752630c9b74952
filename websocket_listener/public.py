"""The public stream: prices and candles of every symbol that a bot follows or holds."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from redis.exceptions import RedisError

from alpha.bybit.client import Gateway
from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.connection import Handlers
from alpha.bybit.hosts import Hosts
from alpha.bybit.messages import Envelope
from alpha.bybit.models import Kline
from alpha.bybit.stream import Connecting, Stream, Watch
from alpha.clock import wall_ms
from alpha.drift import NOTES, DriftKind
from alpha.errors import Rejected
from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.logs import logger
from alpha.model.coin import settle_coin
from alpha.postgres.rejected import RejectedMessage, RejectedMessages, as_text
from websocket_listener import serialize
from websocket_listener.account_recorder import AccountRecorder
from websocket_listener.bot import BotListener
from websocket_listener.candles import Candles, Series
from websocket_listener.settings import ListenerSettings
from websocket_listener.tickers import MayWrite, Tickers

log = logger(__name__)
_LOOK_S = 1.0
_EVENTS_SEARCHED = 2_000


class _Told(msgspec.Struct):
    symbol: str
    interval: str
    start_ms: int


_candle = msgspec.json.Decoder(_Told)


@dataclass(frozen=True, slots=True)
class PublicWrites:
    """Who writes what is public: `may_write` raises while another listener does. `writes` is given where listeners share
    the accounts: one of them writes, each tells its own bots."""

    may_write: MayWrite
    writes: Callable[[], bool] | None = None


class PublicFeed:
    """Streams what the bots follow."""

    def __init__(
        self,
        hosts: Hosts,
        settings: ListenerSettings,
        budget: ConnectBudget,
        shared_db: TextRedis,
        gateway: Gateway,
        market: Tickers,
        rejected: RejectedMessages,
        public: PublicWrites,
    ) -> None:
        self.market = market
        self._shares = public.writes is not None
        writes = public.writes or (lambda: True)
        self.candles = Candles(shared_db, gateway, self._candle_closed, self._told, public.may_write, writes)
        self.stream = Stream(
            "public",
            hosts.public_ws,
            Handlers(self._data, self._garbage),
            Watch(self._up, self._down, self._refused),
            all_topics_needed=False,
            connecting=Connecting(timing=settings.stream_timing, budget=budget),
        )
        self._rejected = rejected
        self._bots: list[tuple[BotListener, TextRedis]] = []
        self._recorders: Mapping[str, AccountRecorder] = {}
        self._symbols: dict[str, set[str]] = {}
        self._series: dict[str, set[Series]] = {}

    def listen_for(
        self, bots: Sequence[tuple[BotListener, TextRedis]], recorders: Mapping[str, AccountRecorder]
    ) -> None:
        """The bots whose wishes count, each with its own database, and the recorded accounts, whose symbols are followed."""
        self._bots, self._recorders = list(bots), recorders

    async def run(self) -> None:
        """Stream until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.market.run())
            tasks.create_task(self.candles.run())
            tasks.create_task(self._follow())
            tasks.create_task(self.stream.run())

    def lost(self) -> None:
        """Redis was emptied or restarted: prices and candles are written again."""
        self.market.lost()
        self.candles.check_all()

    async def _follow(self) -> None:
        """Look each second what the bots follow; while Redis is unavailable what was followed last counts."""
        while True:
            for bot, redis in self._bots:
                try:
                    async with redis.pipeline(transaction=False) as pipe:
                        pipe.smembers(keys.symbols(bot.bot.id))
                        pipe.smembers(keys.intervals(bot.bot.id))
                        symbols, intervals = await pipe.execute()
                except (RedisError, OSError, TimeoutError):
                    continue
                recorder = self._recorders.get(bot.bot.id)
                held = set() if recorder is None else recorder.held_symbols
                self._symbols[bot.bot.id] = set(symbols) | held
                self._series[bot.bot.id] = {(symbol, interval) for symbol in symbols for interval in intervals}
            followed = {symbol for symbols in self._symbols.values() for symbol in symbols}
            series = {one for many in self._series.values() for one in many}
            self.market.forget(followed)
            self.candles.follow(series)
            topics = {f"tickers.{symbol}" for symbol in followed}
            topics |= {f"kline.{interval}.{symbol}" for symbol, interval in series}
            # pushed each second with every symbol: only while something is held
            topics |= {f"adlAlert.{settle_coin(symbol)}" for symbol in self._held()}
            self.stream.set_topics(topics)
            self.candles.overdue(self.market.newest_ms)
            await asyncio.sleep(_LOOK_S)

    def _held(self) -> set[str]:
        return {symbol for recorder in self._recorders.values() for symbol in recorder.held_symbols}

    def _data(self, envelope: Envelope, frame: str | bytes) -> None:
        try:
            if envelope.topic.startswith("tickers."):
                self.market.ticker(envelope)
            elif envelope.topic.startswith("kline."):
                self.candles.kline(envelope)
            elif envelope.topic.startswith("adlAlert."):
                self.market.adl(envelope)
            else:
                NOTES.note(DriftKind.TOPIC, "public stream", envelope.topic.split(".")[0], as_text(frame))
        except (Rejected, IndexError) as fault:
            self._reject(frame, str(fault), envelope.topic)

    def _garbage(self, frame: str | bytes, fault: str) -> None:
        self._reject(frame, fault, None)

    def _reject(self, frame: str | bytes, fault: str, topic: str | None) -> None:
        self._rejected.put(RejectedMessage("public stream", as_text(frame), fault, topic=topic))

    def _up(self) -> None:
        self.candles.check_all()

    def _down(self, why: str) -> None:
        log.info("public_stream_down", why=why, at_ms=wall_ms())

    def _refused(self, why: str) -> None:
        log.warning("public_stream_refused", why=why)

    def _candle_closed(self, candle: Kline, end_ms: int) -> None:
        data = serialize.candle_event(candle, end_ms)
        series = (candle.symbol, candle.interval)
        for bot, _ in self._bots:
            if series in self._series.get(bot.bot.id, set()) and (not self._shares or bot.recorded_here):
                bot.announce(("EVENT", "candle", str(end_ms), data))

    async def _told(self, series: Series) -> int | None:
        """The start of the last candle of this series that stands in the events of every bot that follows it."""
        starts = []
        for bot, redis in self._bots:
            if series not in self._series.get(bot.bot.id, set()) or (self._shares and not bot.recorded_here):
                continue
            found = None
            for _, fields in await redis.xrevrange(keys.events(bot.bot.id), count=_EVENTS_SEARCHED):
                if fields.get("type") != "candle":
                    continue
                try:
                    told = _candle.decode(fields["data"])
                except msgspec.DecodeError:
                    continue
                if (told.symbol, told.interval) == series:
                    found = told.start_ms
                    break
            starts.append(found)
        known = [start for start in starts if start is not None]
        return min(known) if known else None

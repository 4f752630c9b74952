"""Real prices: a `LiveMarket` fed by the public stream of another Bybit-speaking exchange, Bybit's own by default."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec

from exchange_simulator.market import catalogue
from exchange_simulator.market.intervals import FIXED_MS, INTERVALS, bucket_end, bucket_start, bucket_starts
from exchange_simulator.market.model import (
    DAY_MS,
    MINUTE_MS,
    Bar,
    Instrument,
    MarketError,
    Minute,
    Moment,
    Quote,
    Tick,
    merge,
)
from exchange_simulator.market.upstream import BYBIT, Row, Upstream, addresses, bar, units

_PING_S = 20.0
_SILENCE_S = 45.0
_BACKLOG = 200_000  # moments buffered for a slow consumer; the oldest are dropped first
_AT_ONCE = 8  # symbols whose history is fetched concurrently at startup
_MINUTES_FETCHED = 1_560  # needed for 24-hour figures: 24 hours before the full hour
_MINUTES_KEPT = 2_880
_TOPICS = ("tickers", "publicTrade", "kline.1")


class BybitMarket:
    """See `LiveMarket`. With `symbols` None: the catalogue's default symbols that upstream trades."""

    base_ms = MINUTE_MS
    end_ms: int | None = None

    def __init__(
        self,
        upstream: str = BYBIT,
        symbols: Sequence[str] | None = None,
        *,
        rest_url: str | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        stream_url, found_rest = addresses(upstream)
        self._stream_url, self._rest_url = stream_url, rest_url or found_rest
        self._asked = None if symbols is None else tuple(symbols)
        self._jitter = jitter
        self.instruments: Mapping[str, Instrument] = {}
        self.first_ms = 0
        self._session: aiohttp.ClientSession | None = None
        self._rest: Upstream | None = None
        self._task: asyncio.Task[None] | None = None
        self._connected = False
        self._subscribed = asyncio.Event()
        self._refusal: MarketError | None = None
        self._moments: deque[Moment] = deque(maxlen=_BACKLOG)
        self._arrived = asyncio.Event()
        self._closed = False
        self._tickers: dict[str, dict[str, Any]] = {}
        self._quotes: dict[str, Quote] = {}
        self._rates: dict[str, dict[int, Decimal]] = {}
        self._minutes: dict[str, dict[int, Bar]] = {}
        self._whole_to: dict[str, int] = {}  # start of the newest minute with no gap before it
        self._final: dict[tuple[str, str], dict[int, Bar]] = {}
        self._forming: dict[tuple[str, str], Bar] = {}

    async def start(self) -> None:
        """See `LiveMarket.start`."""
        self._session = aiohttp.ClientSession()
        try:
            await self._fetch_state(Upstream(self._rest_url, self._session))
            self._task = asyncio.create_task(self._follow(self._session))
            async with asyncio.timeout(30):
                await self._subscribed.wait()
            if self._refusal is not None:
                raise self._refusal
        except TimeoutError:
            await self.close()
            raise MarketError(
                f"The upstream {self._stream_url} did not take the subscription in 30 s: check address and network."
            ) from None
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """See `LiveMarket.close`."""
        self._closed = True
        self._arrived.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._session is not None:
            await self._session.close()

    @property
    def connected(self) -> bool:
        """See `LiveMarket.connected`."""
        return self._connected

    async def moments(self) -> AsyncIterator[Moment]:
        """See `LiveMarket.moments`."""
        while True:
            while self._moments:
                yield self._moments.popleft()
            if self._closed:
                return
            self._arrived.clear()
            await self._arrived.wait()

    def quote(self, symbol: str) -> Quote:
        """See `LiveMarket.quote`."""
        return self._quotes[symbol]

    def bar(self, symbol: str, start_ms: int) -> Bar | None:
        """A minute of at least the last 25 hours; the forming one in its current state."""
        return self._minutes[symbol].get(start_ms)

    def bars(self, symbol: str, from_ms: int, to_ms: int) -> list[Bar]:
        """Minutes of at least the last 25 hours."""
        return [each for start, each in sorted(self._minutes[symbol].items()) if from_ms <= start < to_ms]

    def candles(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> list[Bar]:
        """Known candles of this range: those fetched by `load`, the forming one included, and recent minutes."""
        final, forming = self._final.get((symbol, interval), {}), self._forming.get((symbol, interval))
        found: list[Bar] = []
        for start in bucket_starts(interval, from_ms, to_ms):
            candle = final.get(start) or self._joined(symbol, interval, start)
            if candle is None and forming is not None and forming.start_ms == start:
                candle = forming
            if candle is not None:
                found.append(candle)
        return found

    def _joined(self, symbol: str, interval: str, start: int) -> Bar | None:
        """A candle aggregated from minutes that are all known; at most one day long."""
        kept, end = self._minutes[symbol], bucket_end(interval, start)
        if end - start > DAY_MS or start not in kept or end - MINUTE_MS not in kept:
            return None
        minutes = [kept[time] for time in range(start, end, MINUTE_MS) if time in kept]
        return merge(minutes, start) if len(minutes) == (end - start) // MINUTE_MS else None

    async def load(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> None:
        """See `LiveMarket.load`. Closed candles are fetched once."""
        if interval not in INTERVALS:
            raise MarketError(f"{interval!r} is not an interval of candles: use one of {', '.join(INTERVALS)}.")
        known, rest = self.instruments[symbol], self._upstream()
        final = self._final.setdefault((symbol, interval), {})
        now = self._quotes[symbol].time_ms
        first = max(from_ms, bucket_start(interval, known.launch_ms))
        missing = [start for start in bucket_starts(interval, first, min(to_ms, now + 1)) if start not in final]
        length = FIXED_MS.get(interval, 31 * DAY_MS)
        while missing:
            low = missing[0]
            page = await rest.klines(known, interval, low, low + 999 * length)
            for each in page:
                if bucket_end(interval, each.start_ms) <= now:
                    final[each.start_ms] = each
                else:
                    self._forming[symbol, interval] = each
            missing = [start for start in missing if start > low + 999 * length]

    def index_price(self, symbol: str, time_ms: int, last: int) -> Decimal:
        """Upstream's current index price."""
        return self._quotes[symbol].index_price

    def funding_rate(self, symbol: str, time_ms: int) -> Decimal:
        """The rate charged at a past funding time if known, otherwise the next one."""
        return self._rates[symbol].get(time_ms, self._quotes[symbol].funding_rate)

    def open_interest(self, symbol: str, time_ms: int) -> Decimal:
        """Upstream's current open interest."""
        return self._quotes[symbol].open_interest

    def _upstream(self) -> Upstream:
        if self._rest is None:
            raise MarketError("The live market has not been started.")
        return self._rest

    async def _fetch_state(self, rest: Upstream) -> None:
        self._rest = rest
        traded = await rest.instruments()
        if self._asked is not None and (unknown := sorted(set(self._asked) - set(traded))):
            raise MarketError(f"The upstream {self._rest_url} does not trade {', '.join(unknown)}.")
        wanted = self._asked or [symbol for symbol in catalogue.DEFAULT_SYMBOLS if symbol in traded]
        if not wanted:
            raise MarketError(f"The upstream {self._rest_url} trades none of the usual symbols: name some.")
        server = await rest.get("/v5/market/time")
        now = int(server["timeNano"]) // 1_000_000
        first = (now // MINUTE_MS - _MINUTES_FETCHED) * MINUTE_MS
        turns = asyncio.Semaphore(_AT_ONCE)

        async def fetch(known: Instrument) -> Instrument:
            async with turns:
                tiers = await rest.risk_tiers(known.symbol)
                self._rates[known.symbol] = await rest.funding(known.symbol)
                self._minutes[known.symbol] = {}
                await self._fetch_minutes(rest, known, first)
            return replace(known, risk_tiers=tiers or known.risk_tiers)

        fetched = await asyncio.gather(*(fetch(traded[symbol]) for symbol in wanted))
        found = {known.symbol: known for known in fetched}
        self.instruments = found
        self.first_ms = min(known.launch_ms for known in found.values())
        tickers = await rest.tickers()
        for symbol in wanted:
            self._tickers[symbol] = dict(tickers[symbol])
            self._take_ticker(symbol, {}, now)

    async def _fetch_minutes(self, rest: Upstream, known: Instrument, since: int) -> None:
        """Fetches minutes from `since` to the present. Only after that they are free of gaps."""
        kept = self._minutes[known.symbol]
        while True:
            page = await rest.klines(known, "1", since, since + 999 * MINUTE_MS)
            kept.update((minute.start_ms, minute) for minute in page)
            if len(page) < 1000:
                break
            since += 1000 * MINUTE_MS
        self._whole_to[known.symbol] = max(kept, default=since)

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        """Maintains one connection until `close`; backs off from 0.5 s to 30 s while upstream refuses."""
        wait = 0.5
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError, MarketError):
                async with session.ws_connect(self._stream_url, timeout=aiohttp.ClientWSTimeout(ws_close=5)) as stream:
                    pings = asyncio.create_task(self._ping(stream))
                    try:
                        await self._subscribe(stream)
                        wait = 0.5
                        await self._read(stream)
                    finally:
                        if self._connected:
                            self._whole_to = {symbol: max(kept) for symbol, kept in self._minutes.items()}
                        self._connected = False
                        pings.cancel()
            if self._refusal is not None and not self._subscribed.is_set():
                self._subscribed.set()
                return
            await asyncio.sleep(wait * (0.5 + self._jitter()))
            wait = min(30.0, wait * 2)

    async def _ping(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await asyncio.sleep(_PING_S)
            await stream.send_str('{"op":"ping"}')

    async def _subscribe(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        topics = [f"{topic}.{symbol}" for symbol in self.instruments for topic in _TOPICS]
        chunks = [topics[first : first + 10] for first in range(0, len(topics), 10)]
        for number, chunk in enumerate(chunks):
            await stream.send_str(
                msgspec.json.encode({"op": "subscribe", "req_id": str(number), "args": chunk}).decode()
            )
        answered = 0
        while answered < len(chunks):
            message = await self._receive(stream)
            if message.get("op") == "subscribe":
                answered += 1
                if not message.get("success"):
                    self._refusal = MarketError(
                        f"The upstream {self._stream_url} refused a subscription: {message.get('ret_msg')}."
                    )
                    raise aiohttp.ClientError
            else:
                self._take(message)
        # Minutes from before the subscription; pushes meanwhile wait in the socket.
        rest, whole = self._upstream(), dict(self._whole_to)
        await asyncio.gather(
            *(self._fetch_minutes(rest, known, whole[symbol]) for symbol, known in self.instruments.items())
        )
        self._connected = True
        self._subscribed.set()

    async def _read(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            self._take(await self._receive(stream))

    async def _receive(self, stream: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        frame = await stream.receive(timeout=_SILENCE_S)
        if frame.type is not aiohttp.WSMsgType.TEXT:
            raise aiohttp.ClientError
        message = msgspec.json.decode(frame.data)
        return message if isinstance(message, dict) else {}

    def _take(self, message: dict[str, Any]) -> None:
        topic = message.get("topic")
        if not isinstance(topic, str):
            return
        kind, _, symbol = topic.rpartition(".")
        if symbol not in self.instruments:
            return
        if kind == "tickers":
            self._take_ticker(symbol, message["data"], int(message["ts"]))
        elif kind == "publicTrade":
            for row in message["data"]:
                self._take_trade(symbol, row)
        elif kind == "kline.1":
            for row in message["data"]:
                self._take_minute(symbol, row)

    def _take_ticker(self, symbol: str, changed: Row, time_ms: int) -> None:
        merged = self._tickers[symbol]
        merged.update(changed)
        known = self.instruments[symbol]
        quote = Quote(
            symbol=symbol,
            time_ms=time_ms,
            last=units(merged["lastPrice"], known.tick_size),
            bid=units(merged.get("bid1Price") or merged["lastPrice"], known.tick_size),
            bid_size=units(merged.get("bid1Size") or "0", known.qty_step),
            ask=units(merged.get("ask1Price") or merged["lastPrice"], known.tick_size),
            ask_size=units(merged.get("ask1Size") or "0", known.qty_step),
            mark_price=Decimal(merged["markPrice"]),
            index_price=Decimal(merged["indexPrice"]),
            funding_rate=Decimal(merged.get("fundingRate") or "0"),
            next_funding_ms=int(merged.get("nextFundingTime") or 0),
            open_interest=Decimal(merged.get("openInterest") or "0"),
        )
        before = self._quotes.get(symbol)
        if before is not None and quote.next_funding_ms > before.next_funding_ms > 0:
            self._rates[symbol][before.next_funding_ms] = before.funding_rate
        self._quotes[symbol] = quote
        self._push(quote)

    def _take_trade(self, symbol: str, row: Row) -> None:
        known = self.instruments[symbol]
        price, qty = units(row["p"], known.tick_size), units(row["v"], known.qty_step)
        self._push(Tick(symbol, int(row["T"]), price, qty, "Buy" if row["S"] == "Buy" else "Sell"))

    def _take_minute(self, symbol: str, row: Row) -> None:
        minute = bar(
            self.instruments[symbol],
            int(row["start"]),
            row["open"],
            row["high"],
            row["low"],
            row["close"],
            row["volume"],
        )
        kept = self._minutes[symbol]
        kept[minute.start_ms] = minute
        if len(kept) > _MINUTES_KEPT:
            del kept[min(kept)]
        self._push(Minute(symbol, int(row["timestamp"]), minute, bool(row["confirm"])))

    def _push(self, moment: Moment) -> None:
        self._moments.append(moment)
        self._arrived.set()

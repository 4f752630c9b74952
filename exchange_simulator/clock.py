"""Clocks that advance business time: free-running at a given speed, or stepped by control calls."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from exchange_simulator.exchange import Exchange
from exchange_simulator.market.intervals import INTERVALS, bucket_end, bucket_start

TICK_S = 0.02
PUBLISH_S = 0.1
CANDLES_S = 1.0  # wall-clock seconds between pushes of a forming candle; a closed one is pushed at once
SAVE_S = 1.0  # interval between saves in wall-clock seconds: the most a SIGKILL can lose
SLICE_S = 0.01  # longest uninterrupted market processing before requests are served


class FreeClock:
    """Business time runs `speed` times as fast as `clock` (wall-clock seconds). Speed 0: as fast as possible.

    At speed 1 a delay is always caught up, and an exchange whose trading starts in the present shows wall-clock time
    (`clock` then gives seconds since the epoch).
    """

    def __init__(self, exchange: Exchange, clock: Callable[[], float] | None = None) -> None:
        self.exchange = exchange
        self._clock = clock or (time.time if exchange.setup.present else time.monotonic)
        self.paused = False
        self.speed = exchange.setup.speed

    async def run(self) -> None:
        """Advances time until cancelled or the market ends; time then stands still. `speed` may change meanwhile."""
        exchange, speed = self.exchange, self.speed
        timeline = exchange.timeline
        wall, business = self._clock(), float(exchange.now_ms)
        if exchange.setup.present and speed == 1:
            business = max(business, wall * 1000)
        published = candled = saved = wall
        while not timeline.ended:
            if self.paused:
                await asyncio.sleep(TICK_S)
                wall, business = self._clock(), float(exchange.now_ms)
                continue
            if speed != self.speed:
                speed, wall, business = self.speed, self._clock(), float(exchange.now_ms)
            now = self._clock()
            target = business + (now - wall) * 1000 * speed if speed else float("inf")
            behind = False
            while not timeline.ended and timeline.next_time <= target:
                bar_end = timeline.bar_start + timeline.base_ms
                timeline.advance(int(min(target, bar_end)), fine=False)
                if self._clock() - now > SLICE_S:
                    behind = timeline.next_time <= target
                    break
            if not behind and speed and not timeline.ended:
                timeline.advance(int(target))
            exchange.commit()
            if self._clock() - published >= PUBLISH_S:
                published = self._clock()
                exchange.feed.refresh(candles=published - candled >= CANDLES_S)
                if published - candled >= CANDLES_S:
                    candled = published
            if self._clock() - saved >= SAVE_S:
                saved = self._clock()
                exchange.save()
            if behind and speed not in (0, 1) and target - exchange.now_ms > 5_000 * speed:
                # More than five seconds late: the delay cannot be caught up, so continue from the present.
                wall, business = self._clock(), float(exchange.now_ms)
            await asyncio.sleep(0 if behind or not speed else TICK_S)
        exchange.feed.refresh()


@dataclass(slots=True)
class Waiter:
    """A client that the step clock waits for: the candles it evaluates, and its progress."""

    symbols: tuple[str, ...]
    interval: str
    evaluated: dict[str, int] = field(default_factory=dict)  # symbol -> start of the newest evaluated candle
    points: bool = False
    point: int = -1


class StepClock:
    """Business time advances only on `advance`, which waits for the registered clients at every closed candle."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.waiters: dict[str, Waiter] = {}
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._stepped = asyncio.Event()

    def expect(self, client: str, symbols: tuple[str, ...], interval: str, points: bool) -> None:
        """Registers a client to wait for. Candles that have already closed are not expected from it."""
        if interval not in INTERVALS:
            raise ValueError(f"{interval} is not an interval")
        waiter = Waiter(symbols, interval, points=points)
        start = self._last_closed(interval)
        waiter.evaluated = dict.fromkeys(symbols, start)
        waiter.point = self.exchange.timeline.points_done
        self.waiters[client] = waiter
        self._changed.set()

    def forget(self, client: str) -> None:
        self.waiters.pop(client, None)
        self._changed.set()

    def evaluated(self, client: str, symbol: str, start_ms: int) -> None:
        """Records that a client has evaluated the candle starting at `start_ms`, its orders acknowledged."""
        waiter = self.waiters[client]
        waiter.evaluated[symbol] = max(start_ms, waiter.evaluated.get(symbol, 0))
        self._changed.set()

    def seen(self, client: str, point: int) -> None:
        """Records that a client has acted on everything up to a point."""
        waiter = self.waiters[client]
        waiter.point = max(waiter.point, point)
        self._changed.set()

    def _last_closed(self, interval: str) -> int:
        """Start of the newest candle that has closed by now."""
        now = self.exchange.now_ms
        start = bucket_start(interval, now)
        return bucket_start(interval, start - 1)

    def owing(self) -> dict[str, list[str]]:
        """Clients that have not reported yet, with the reports still pending."""
        owing: dict[str, list[str]] = {}
        for client, waiter in self.waiters.items():
            start = self._last_closed(waiter.interval)
            due = [
                f"{symbol} {waiter.interval} {start}"
                for symbol in waiter.symbols
                if waiter.evaluated.get(symbol, -1) < start and self._has(symbol, waiter.interval, start)
            ]
            if waiter.points and waiter.point < self.exchange.timeline.points_done:
                due.append(f"point {self.exchange.timeline.points_done}")
            if due:
                owing[client] = due
        return owing

    def _has(self, symbol: str, interval: str, start: int) -> bool:
        candles = self.exchange.market.candles(symbol, interval, start, start + 1)
        return bool(candles) and bucket_end(interval, start) <= self.exchange.now_ms + 1

    async def advance(self, points: int, to_ms: int | None, timeout_s: float) -> dict[str, list[str]]:
        """Advances by `points` points, or to `to_ms`, waiting for the registered clients before each point.

        Returns the reports still pending on timeout, otherwise nothing.
        """
        async with self._lock:
            timeline = self.exchange.timeline
            done = 0
            while not timeline.ended and (timeline.next_time <= to_ms if to_ms is not None else done < points):
                owed = await self._settled(timeout_s)
                if owed:
                    return owed
                timeline.step()
                self.exchange.commit()
                self.exchange.save()
                self.exchange.feed.refresh()
                done += 1
                self._announce()
                await asyncio.sleep(0)
            return await self._settled(timeout_s)

    def _announce(self) -> None:
        stepped, self._stepped = self._stepped, asyncio.Event()
        stepped.set()

    async def after(self, point: int, timeout_s: float) -> None:
        """Waits until a point later than `point` has been taken, at most `timeout_s`."""
        if self.exchange.timeline.points_done > point or self.exchange.timeline.ended:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._stepped.wait()
        except TimeoutError:
            return

    async def _settled(self, timeout_s: float) -> dict[str, list[str]]:
        deadline = time.monotonic() + timeout_s
        while True:
            owing = self.owing()
            left = deadline - time.monotonic()
            if not owing or left <= 0:
                return owing
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                return self.owing()

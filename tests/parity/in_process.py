"""The bot itself on a virtual clock, in one process with the simulated exchange in step clock; it can be killed.

Everything of the bot and of the exchange is the product's. What is not: HTTP, PostgreSQL and Redis, which are those of
`tests.simulation`.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any

import bot_runner.loop_step
from alpha.config.loader import load
from alpha.strategy.base import BarContext, StrategyState
from alpha.strategy.intents import CancelEntry, Exit, Intent, MoveStop, MoveTarget
from alpha.strategy.resting import Phase
from bot_runner.settings import BotSettings
from bot_runner.step import Point, StepClock
from exchange_simulator import clock, options
from exchange_simulator.exchange import Exchange
from tests.parity.random_runs import SYMBOLS, Outcome, by_symbol
from tests.parity.random_strategy import RandomParameters, RandomStrategy
from tests.parity.replay import CASH
from tests.simulation.exchange import KEY, SECRET, Venue
from tests.simulation.faults import Outages
from tests.simulation.postgres_store import PostgresServer
from tests.simulation.redis_store import RedisServer
from tests.simulation.virtual_loop import EPOCH_S, VirtualLoop, clocks_of
from tests.simulation.world import BASE, BOT, World, one_bot, replaced, the_bot

_BAR_MS = 300_000
_AGAIN_S = 0.5


class Counted(RandomStrategy):
    """Counts what it wants, by kind."""

    def __init__(self, parameters: RandomParameters, wanted: Counter[str]) -> None:
        super().__init__(parameters)
        self._wanted = wanted

    def evaluate(self, moment: BarContext, state: StrategyState) -> list[Intent]:
        """As the random strategy."""
        intents = super().evaluate(moment, state)
        entries = moment.portfolio.entries
        for intent in intents:
            # One that finds nothing to cancel is no cancellation.
            if not isinstance(intent, CancelEntry) or any(
                order.symbol == intent.symbol and intent.tag in ("", order.tag) for order in entries
            ):
                self._wanted[_kind(intent)] += 1
        return intents


def _kind(intent: Intent) -> str:
    if isinstance(intent, Exit):
        return "exit at a limit" if intent.at is not None else "exit" if intent.fraction == 1 else "partial exit"
    names = {MoveStop: "move stop", MoveTarget: "move target", CancelEntry: "cancel entry"}
    return names.get(type(intent), "enter")


@dataclass(slots=True)
class Lived:
    """What a bot did: its fills, and what it wanted, sent and was filled with, by kind."""

    outcome: Outcome
    wanted: Counter[str]
    sent: Counter[str]
    filled: Counter[str]
    #: Steps of the event loop when the bot had joined the clock, and at the end.
    joined: int
    steps: int
    #: What must not be; each one sentence.
    faults: list[str] = field(default_factory=list)
    timeframes: int = 0
    killed: int = 0
    #: Kills while a bar was decided or an order may have been on its way: what it wanted then may come too late.
    deciding: int = 0


class _Loop(VirtualLoop):
    """Calls `kill_now` once for each of `kills`, numbers of steps, or at the first later step at which `spared` is false."""

    def __init__(self, draw: random.Random, kills: tuple[int, ...]) -> None:
        super().__init__(draw)
        self._kills = sorted(kills, reverse=True)
        self.kill_now: Callable[[], None] = lambda: None
        self.spared: Callable[[], bool] = lambda: False

    def _run_once(self) -> None:
        super()._run_once()
        if self._kills and self.steps >= self._kills[-1] and not self.spared():
            self._kills.pop()
            self.kill_now()


class _Steps(StepClock):
    """The bot's step clock without HTTP in between."""

    clock: clock.StepClock

    def __init__(self, url: str, client: str) -> None:
        self._client = client
        self._last = -1

    async def next(self) -> Point:
        """As StepClock.next."""
        timeline = self.clock.exchange.timeline
        while timeline.points_done <= self._last:
            await self.clock.after(self._last, 10)
        return Point(timeline.points_done, self.clock.exchange.now_ms, timeline.point, timeline.ended)

    async def close(self) -> None:
        """Nothing is open."""

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        if path == "/_sim/clients":
            self.clock.expect(body["client"], (), "5", points=True)
        else:
            self.clock.seen(body["client"], body["point"])


@cache
def _settings(_role: str) -> BotSettings:
    return load(
        BotSettings,
        env_file=None,
        **BASE,
        alpha_bots_file=one_bot(),
        alpha_lease_seconds=3,
        alpha_step_url="http://127.0.0.1:1",
        alpha_max_orders_per_minute=100_000,
    )


def exchange_of(folder: Path, start: datetime) -> Exchange:
    """The exchange in step clock on these candles, with the bot's account."""
    argv = ["--replay", str(folder), "--step", "--path", "low-first", "--warmup", "500", "--no-rate-limits"]
    argv += ["--start", start.strftime("%Y-%m-%dT%H:%M"), "--account", f"{KEY}:{SECRET}:{CASH}"]
    argv += ["--account", f"{KEY}-reads:{SECRET}-reads:0:of={KEY},read-only"]
    chosen = options.parse(argv, {})
    return Exchange(chosen.market, chosen.keys, chosen.setup)


@contextmanager
def _world(
    exchange: Exchange, seed: int, wanted: Counter[str], kills: tuple[int, ...]
) -> Iterator[tuple[World, _Loop, clock.StepClock]]:
    draw = random.Random(f"interleaving {seed}")
    loop = _Loop(draw, kills)
    with clocks_of(loop):
        redis = RedisServer(Outages(random.Random(seed)), lambda: int((EPOCH_S + loop.now_s) * 1000))
        postgres = PostgresServer(Outages(random.Random(seed)), lambda: EPOCH_S + loop.now_s)
        venue = Venue(loop, random.Random(f"network {seed}"), exchange)
        venue.network.slow_s = 0.0
        postgres.accounts["simulated", str(venue.account.uid)] = (1, BOT)
        make = partial(Counted, RandomParameters(seed=seed, symbols=SYMBOLS), wanted)
        world = World(seed, loop, draw, redis, postgres, venue, the_bot(), make, _settings)
        steps = clock.StepClock(exchange)
        client = (bot_runner.loop_step, "StepClock", type("Steps", (_Steps,), {"clock": steps}))

        def unforeseen(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if context.get("exception") is not None:
                world.ended.append(f"{context['message']}: {context['exception']!r}")

        loop.set_exception_handler(unforeseen)
        try:
            with replaced(world, client, traced=False):
                yield world, loop, steps
        finally:
            exchange.close()
            loop.close()


def live(
    folder: Path, start: datetime, seed: int, bars: int, kills: tuple[int, ...] = (), *, spare_decisions: bool = False
) -> Lived:
    """A random strategy's bot over these bars; killed at each of these steps, and started again.

    `spare_decisions`: not while it decides a bar or an order may be on its way, but a little later.
    """
    exchange, wanted = exchange_of(folder, start), Counter[str]()
    with _world(exchange, seed, wanted, kills) as (world, loop, steps):
        killed, deciding = 0, 0

        def decides() -> bool:
            timeline, waiter = exchange.timeline, steps.waiters.get(BOT)
            resting = world.postgres.state.get((1, "resting"), {"state": {}})["state"]
            # Of an order that may be on its way it is known only after half a minute whether it ever arrived; bars go on.
            if any(row["phase"] == Phase.SENDING.value for row in resting.values()):
                return True
            return timeline.point == 0 and waiter is not None and waiter.point < timeline.points_done

        def kill() -> None:
            nonlocal killed, deciding
            for process in world.living("bot"):
                killed, deciding = killed + 1, deciding + decides()
                world.crash(process, "bot", _AGAIN_S)

        loop.kill_now = kill
        if spare_decisions:
            loop.spared = decides

        async def course() -> int:
            world.start("bot")
            while BOT not in steps.waiters:
                await asyncio.sleep(0.01)
            joined = loop.steps
            to_ms = exchange.setup.start_ms + bars * _BAR_MS - 1
            owed = await steps.advance(0, to_ms, 600.0)
            if owed:
                world.ended.append(f"the bot did not report: {owed}")
            return joined

        joined = loop.run_until_complete(loop.spawn(loop.outside, course()))
        account = world.venue.account
        rows = [row for row in world.venue.executions() if row.exec_type != "Funding"]
        held = {position.symbol: position.size for position in account.held()}
        fills = [(row.symbol, row.side, row.qty, row.price, row.fee, row.time_ms) for row in rows]
        sent = Counter(kind for kind in world.postgres.intent_kinds.values())
        filled = Counter(world.postgres.intent_kinds.get(link, "level") for link in {row.link_id for row in rows})
        outcome = Outcome(by_symbol(fills), account.wallet, held)
        faults = [*world.ended, *sorted(world.postgres.unknown), *_differences(world)]
        timeframes = len(RandomStrategy(RandomParameters(seed=seed)).timeframes)
        return Lived(outcome, wanted, sent, filled, joined, loop.steps, faults, timeframes, killed, deciding)


def _differences(world: World) -> list[str]:
    """What the bot knows, beside what the exchange has."""
    state = {name: row["state"] for (_, name), row in world.postgres.state.items()}
    account, found = world.venue.account, []
    held = {position.symbol: abs(position.size) for position in account.held()}
    known = {symbol: Decimal(row["size"]) for symbol, row in state.get("positions", {}).items()}
    if held != known:
        found.append(f"the bot knows {known}, and the exchange holds {held}")
    orders = [order for order in account.orders.values() if order.create_type == "CreateByUser"]
    resting = state.get("resting", {}).values()
    there = sorted((order.symbol, order.leaves) for order in orders)
    # One that was to leave before it was sent is dropped at the next look.
    never = [row for row in resting if row["sent_qty"] is None and not row["leaving"]]
    found += [f"the order {row} was never sent" for row in never]
    knows = sorted(
        (row["symbol"], Decimal(row["sent_qty"]) - Decimal(row["filled"]))
        for row in resting
        if row["sent_qty"] is not None
    )
    if there != knows:
        found.append(f"the bot knows the orders {knows}, and the exchange has {there}")
    links = [order.body["orderLinkId"] for order in world.venue.accepted]
    found += [f"{link} was accepted {count} times" for link, count in Counter(links).items() if count > 1]
    found += [f"{link} was sent without its reason" for link in links if link not in world.postgres.recorded]
    return found

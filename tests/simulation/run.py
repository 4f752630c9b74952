"""Plays one seed; shortens a seed that fails."""

import asyncio
import gc
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.simulation.exchange import SYMBOLS, Network
from tests.simulation.invariants import Invariants
from tests.simulation.schedule import CALM_S, ROLES, Disturbance, calm_from_s, disturbances
from tests.simulation.virtual_loop import Process, Stuck
from tests.simulation.world import World, world_of

_LOOK_S = 0.5
#: At the end a takeover may still wait, or the bot may act on a bar: so long everything has to come to rest.
_REST_S = 45.0


@dataclass
class Outcome:
    """What one seed came to."""

    seed: int
    breaches: list[str]
    disturbances: list[Disturbance]
    steps: int = 0
    orders: int = 0
    fills: int = 0
    takeovers: int = 0
    most_unprotected_s: float = 0.0
    synced_looks: int = 0
    digest: int = 0
    trace: list[str] = field(default_factory=list)


def play(
    seed: int,
    *,
    without: Iterable[int] = (),
    chosen: Sequence[Disturbance] | None = None,
    traced: bool = False,
) -> Outcome:
    """Play a seed, leaving out the disturbances of these numbers; or with others, which are `chosen`."""
    left_out = set(without)
    if chosen is None:
        chosen = [one for one in disturbances(seed) if one.number not in left_out]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        outcome = _play(seed, list(chosen), traced=traced)
        _forget(seed)
    return outcome


def _forget(seed: int) -> None:
    """Collect what killed processes left unfinished: now and then, because it takes as long as a few seconds of a run."""
    if seed % 4 == 0:
        gc.collect()


def _play(seed: int, chosen: list[Disturbance], *, traced: bool) -> Outcome:
    with world_of(seed, traced=traced) as world:
        invariants = Invariants(world)
        try:
            world.loop.run_until_complete(world.loop.spawn(world.loop.outside, _course(world, invariants, chosen)))
        except Stuck as fault:
            invariants.breaches.append(str(fault))
        return Outcome(
            seed,
            [
                *invariants.breaches,
                *(f"ended by a fault: {text}" for text in world.ended),
                *(f"PostgreSQL in memory does not know: {text}" for text in sorted(world.postgres.unknown)),
            ],
            chosen,
            world.loop.steps,
            len(world.venue.accepted),
            len(world.postgres.fills),
            sum(row["acquisitions"] - 1 for row in world.postgres.leases.values()),
            invariants.most_unprotected_s,
            invariants.synced_looks,
            world.loop.digest,
            world.trace,
        )


async def _course(world: World, invariants: Invariants, chosen: list[Disturbance]) -> None:
    world.loop.spawn(world.venue.process, world.venue.run())
    for role in ROLES:
        for _ in range(2 if world.draw.random() < 0.5 else 1):
            world.start(role)
    for one in chosen:
        world.loop.call_later(one.at_s, _disturb, world, one)
    calm_s = max([calm_from_s(world.seed), *(one.at_s + one.for_s for one in chosen)])
    left: list[str] = []
    while world.loop.now_s < calm_s + CALM_S or (left and world.loop.now_s < calm_s + _REST_S):
        await asyncio.sleep(_LOOK_S)
        await invariants.look()
        left = invariants.unsettled() if world.loop.now_s >= calm_s + CALM_S else []
    for text in left:
        invariants.breach(text)


def _disturb(world: World, one: Disturbance) -> None:
    world.say(f"DISTURBED {one}")
    strike = getattr(_Strikes, one.kind.replace(" ", "_"))
    end = strike(world, one)
    if end is not None:
        world.loop.call_later(one.for_s, _recover, world, one, end)


def _recover(world: World, one: Disturbance, end: Any) -> None:
    world.say(f"RECOVERED {one}")
    end()


def _outage(store: str, **what: Any) -> Any:
    def strike(world: World, one: Disturbance) -> Any:
        outages = getattr(world, store).outages
        before = {name: getattr(outages, name) for name in what}
        for name, value in what.items():
            setattr(outages, name, one.amount if value is ... else value)

        def end() -> None:
            for name, value in before.items():
                setattr(outages, name, type(value)())

        return end

    return staticmethod(strike)


def _way(**what: Any) -> Any:
    def strike(world: World, one: Disturbance) -> Any:
        network, healthy = world.venue.network, Network()
        for name, value in what.items():
            setattr(network, name, one.amount if value is ... else value)
        if "refuses" in what:
            world.venue.cut()

        def end() -> None:
            for name in what:
                setattr(network, name, getattr(healthy, name))

        return end

    return staticmethod(strike)


class _Strikes:
    """By kind; each returns what ends it, or None."""

    postgres_fails = _outage("postgres", share=...)
    postgres_hangs = _outage("postgres", hangs=True)
    postgres_full = _outage("postgres", refuses_writes=True)
    redis_fails = _outage("redis", share=...)
    redis_hangs = _outage("redis", hangs=True)
    requests_lost = _way(lost_requests=...)
    answers_lost = _way(lost_answers=...)
    exchange_busy = _way(busy=...)
    pushes_lost = _way(lost_pushes=...)
    pushes_doubled = _way(doubled_pushes=...)
    slow = _way(slow_s=0.6)
    refused = _way(refuses=True)
    streams_stall = _way(stalls=True)

    @staticmethod
    def crash(world: World, one: Disturbance) -> Any:
        if process := _victim(world, one):
            world.crash(process, one.role, one.for_s)

    @staticmethod
    def freeze(world: World, one: Disturbance) -> Any:
        process = _victim(world, one)
        if process is None:
            return None
        world.loop.freeze(process, frozen=True)
        return lambda: world.loop.freeze(process, frozen=False)

    @staticmethod
    def stop(world: World, one: Disturbance) -> Any:
        if process := _victim(world, one):
            world.stops[process].set()

    @staticmethod
    def redis_flushed(world: World, one: Disturbance) -> Any:
        world.redis.flush()

    @staticmethod
    def streams_cut(world: World, one: Disturbance) -> Any:
        world.venue.cut()

    @staticmethod
    def second_instance(world: World, one: Disturbance) -> Any:
        world.start(ROLES[int(abs(one.amount) * 2.99)])

    @staticmethod
    def postgres_restored(world: World, one: Disturbance) -> Any:
        """It hangs, and comes back without what was saved last; every other time the bots die as well."""
        world.postgres.outages.hangs = True
        if one.amount < 0.5:
            for process in world.living("bot"):
                world.crash(process, "bot", one.for_s)

        def end() -> None:
            world.postgres.outages.hangs = False
            world.postgres.restore(one.for_s + 5.0 * one.amount)

        return end

    @staticmethod
    def stop_removed(world: World, one: Disturbance) -> Any:
        for symbol in SYMBOLS:
            world.venue.remove_stop(symbol)

    @staticmethod
    def stop_hit(world: World, one: Disturbance) -> Any:
        world.venue.jump(Decimal("0.006") if one.amount > 0 else Decimal("-0.006"))

    @staticmethod
    def wall_clock_steps(world: World, one: Disturbance) -> Any:
        world.loop.wall_offset_s += one.amount * 50.0


def _victim(world: World, one: Disturbance) -> Process | None:
    """The process that works, or a spare one."""
    living = [process for process in world.living(one.role) if not process.frozen]
    if not living:
        return None
    return living[0] if world.draw.random() < 0.8 else world.draw.choice(living)


def shorten(outcome: Outcome) -> Outcome:
    """The same seed with as few disturbances as still break something."""
    without: set[int] = set()
    best = outcome
    for one in outcome.disturbances:
        tried = play(outcome.seed, without={*without, one.number})
        if tried.breaches:
            without.add(one.number)
            best = tried
    return best

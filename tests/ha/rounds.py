"""The leader of PostgreSQL, of Redis, a listener and each single service, killed, paused and cut off in turn while bots trade."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import asyncpg

from alpha.clock import wall_ms
from tests.faults.books import settle
from tests.faults.fault_env import PASSWORD, FaultEnv
from tests.ha.cluster import AWAY, Cluster
from tests.ha.sentinels import SentinelRedis
from tests.ha.singletons import SINGLETONS, TAKEOVER_S, Pair
from tests.support.world import Process, until

#: A host that is lost is replaced within this time: Patroni's time to live, and a few seconds.
HOST_S, PROCESS_S = 60.0, 15.0
#: A state of that time may still be the one from before the fault.
_NOTICED_S = 4.0


class ClusterServer:
    """The cluster where tests expect an `EmbeddedPostgres`; it is started and stopped by `HaEnv`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.folder = cluster.folder
        self.port = cluster.port
        self.pid = None

    def start(self) -> None:
        """Nothing: it runs."""

    def stop(self, mode: str) -> None:
        """Nothing: `HaEnv.close` stops it."""

    def environment(self) -> dict[str, str]:
        """Connection settings of the owner."""
        return self._cluster.environment()


class HaEnv(FaultEnv):
    """Exchange, Patroni, Sentinel, two listeners that share the accounts, and bots that trade."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        super().__init__(folder, draw)
        self.cluster = Cluster(folder / "cluster", PASSWORD)
        self.sentinels = SentinelRedis(folder / "sentinels", PASSWORD)
        self.postgres = cast(Any, ClusterServer(self.cluster))
        self.redis = cast(Any, self.sentinels)
        self.second: Process | None = None
        self.acknowledged = 0
        self._writing: asyncio.Task[None] | None = None
        self.longest_gap_s = 0.0
        self.pairs: dict[str, Pair] = {}
        #: Seconds of the takeover of this round; 0 where it is not measured.
        self.takeover_s = 0.0

    async def begin(self) -> None:
        """Start everything; returns when all bots are synced."""
        self.folder.chmod(0o755)
        await self.cluster.start()
        self.sentinels.start()
        await self.sentinels.whole()
        await self.open(LISTENER_SHARE="true")
        self.second = self.make_listener("second", LISTENER_SHARE="true")
        self.second.start()
        connection = await self.cluster.connect()
        for role, _ in SINGLETONS.values():
            await connection.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
        await connection.execute("CREATE TABLE IF NOT EXISTS public.acknowledged (number bigint PRIMARY KEY)")
        await connection.close()
        environment = {**self.postgres.environment(), **self.redis.environment(), **self.proxy.environment()}
        self.pairs = {name: Pair(name, self.cluster, environment, self.folder) for name in SINGLETONS}
        await asyncio.gather(*(pair.start() for pair in self.pairs.values()))
        self._writing = asyncio.create_task(self._write())
        await self.synced_since(wall_ms(), 90)

    async def end(self) -> None:
        """Stop everything."""
        if self._writing is not None:
            self._writing.cancel()
        for pair in self.pairs.values():
            pair.kill()
        if self.second is not None:
            self.second.kill()
        with contextlib.suppress(Exception):
            await self.close()
        await self.cluster.stop()

    async def _write(self) -> None:
        """Commit numbers one after another; what was acknowledged must never be missing."""
        connection: Any = None
        last_s = time.monotonic()
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await self.cluster.connect()
                number = self.acknowledged + 1
                await connection.execute("INSERT INTO public.acknowledged VALUES ($1) ON CONFLICT DO NOTHING", number)
                self.acknowledged = number
                self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - last_s)
                last_s = time.monotonic()
                await asyncio.sleep(0.02)
            except (*AWAY, asyncpg.InternalClientError):
                if connection is not None:
                    connection.terminate()
                connection = None
                await asyncio.sleep(0.2)

    async def lost(self) -> int:
        """How many acknowledged numbers are missing."""
        acknowledged = self.acknowledged
        connection = await self.cluster.connect()
        try:
            found = await connection.fetchval(
                "SELECT count(*) FROM public.acknowledged WHERE number <= $1", acknowledged
            )
        finally:
            await connection.close()
        return acknowledged - int(found)


Undo = Callable[[], Awaitable[None]]
#: How to undo a fault, and whether somebody else leads by now.
Fault = tuple[Undo, Callable[[], bool]]


def _at_once() -> bool:
    return True


async def _postgres_killed(env: HaEnv) -> Fault:
    leader = env.cluster.leader
    assert leader is not None
    leader.kill()

    async def undo() -> None:
        leader.start()

    return undo, lambda: any(node.role() == "primary" for node in env.cluster.nodes if node is not leader)


async def _postgres_paused(env: HaEnv) -> Fault:
    leader = env.cluster.leader
    assert leader is not None
    leader.signal(signal.SIGSTOP)

    async def undo() -> None:
        leader.signal(signal.SIGCONT)

    return undo, lambda: any(node.role() == "primary" for node in env.cluster.nodes if node is not leader)


async def _postgres_cut_off(env: HaEnv) -> Fault:
    leader = env.cluster.leader
    assert leader is not None
    leader.etcd.cut()

    async def undo() -> None:
        leader.etcd.heal()

    return undo, lambda: any(node.role() == "primary" for node in env.cluster.nodes if node is not leader)


async def _redis_killed(env: HaEnv) -> Fault:
    leader = env.sentinels.leader
    assert leader is not None
    assert leader.process is not None
    leader.process.kill()
    leader.process.wait()

    async def undo() -> None:
        env.sentinels.again(leader)

    return undo, lambda: env.sentinels.leader not in {None, leader}


async def _redis_paused(env: HaEnv) -> Fault:
    leader = env.sentinels.leader
    assert leader is not None
    leader.signal(signal.SIGSTOP)

    async def undo() -> None:
        leader.signal(signal.SIGCONT)

    return undo, lambda: env.sentinels.leader not in {None, leader}


async def _listener_killed(env: HaEnv) -> Fault:
    assert env.listener is not None
    env.listener.kill()

    async def undo() -> None:
        assert env.listener is not None
        env.listener.start()

    return undo, _at_once


async def _listener_paused(env: HaEnv) -> Fault:
    assert env.second is not None
    env.second.signal(signal.SIGSTOP)

    async def undo() -> None:
        assert env.second is not None
        env.second.signal(signal.SIGCONT)

    return undo, _at_once


def _single(service: str, *, frozen: bool) -> Callable[[HaEnv], Awaitable[Fault]]:
    async def fault(env: HaEnv) -> Fault:
        pair = env.pairs[service]
        env.takeover_s = await pair.replaced(frozen=frozen)
        return pair.mend, _at_once

    return fault


#: Name to what is done, and the seconds after which every bot must be synced again.
FAULTS: dict[str, tuple[Callable[[HaEnv], Awaitable[Fault]], float]] = {
    "postgres leader killed": (_postgres_killed, HOST_S),
    "postgres leader paused": (_postgres_paused, HOST_S),
    "postgres leader cut off": (_postgres_cut_off, HOST_S),
    "redis leader killed": (_redis_killed, HOST_S),
    "redis leader paused": (_redis_paused, HOST_S),
    "listener killed": (_listener_killed, PROCESS_S),
    "listener paused": (_listener_paused, PROCESS_S),
    **{
        f"{service} {what}": (_single(service, frozen=what == "paused"), PROCESS_S)
        for service in SINGLETONS
        for what in ("killed", "paused")
    },
}


@dataclass
class Outcome:
    """One round: when all bots were synced again, the longest time without a commit, and what was wrong."""

    name: str
    synced_s: float
    gap_s: float
    takeover_s: float = 0.0
    faults: list[str] = field(default_factory=list)


async def play(env: HaEnv, name: str) -> Outcome:
    """One round. `faults` is empty when nothing was lost, doubled or too late."""
    fault, most_s = FAULTS[name]
    env.trade()
    env.longest_gap_s = env.takeover_s = 0.0
    began_ms, began_s = wall_ms(), time.monotonic()
    undo, changed = await fault(env)
    faults: list[str] = []

    async def replaced() -> bool:
        return time.monotonic() - began_s > _NOTICED_S and await asyncio.to_thread(changed)

    try:
        await until(replaced, most_s * 2, "another leader")
        await env.synced_since(began_ms + int(_NOTICED_S * 1000), most_s * 2)
    except AssertionError as late:
        faults.append(str(late))
    synced_s = time.monotonic() - began_s
    await undo()
    await env.cluster.whole()
    await env.sentinels.whole()
    env.rest()
    try:
        await env.synced_since(wall_ms(), 90)
    except AssertionError as late:
        faults.append(f"after it was undone: {late}")
    faults += await settle(env, 60)
    missing = await env.lost()
    if missing:
        faults.append(f"{missing} acknowledged rows are missing")
    if env.takeover_s > TAKEOVER_S:
        faults.append(f"taken over after {env.takeover_s:.1f} s, at most {TAKEOVER_S:.0f} s")
    # where nobody's live state hangs on it, what is measured is that the bots trade on
    if synced_s - env.takeover_s > most_s:
        faults.append(f"synced again after {synced_s:.1f} s, at most {most_s:.0f} s")
    return Outcome(name, synced_s, env.longest_gap_s, env.takeover_s, faults)

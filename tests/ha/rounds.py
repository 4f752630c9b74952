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
import httpx

from alpha.clock import wall_ms
from tests.faults.books import settle
from tests.faults.fault_env import PASSWORD, FaultEnv
from tests.ha.cluster import AWAY, Cluster, Wire
from tests.ha.sentinels import SentinelRedis
from tests.ha.singletons import PACK, SINGLETONS, Pair
from tests.support.world import BOTS, PLAIN, ROOT, SYMBOLS, BotKey, Process, patience, until

#: All trade again within this time, beside what a round without a fault takes: after a host, which costs Patroni's time to live,
#: and after a process.
HOST_S, PROCESS_S = 30.0, 10.0
#: A leader of PostgreSQL that is paused or cut off still holds its key in etcd for a while.
FROZEN_HOST_S = 60.0
#: A bot that takes over waits until nothing of the former one can arrive any more.
BOTS_S = 30.0
#: A state of that time may still be the one from before the fault.
_NOTICED_S = 4.0
NOTHING = "nothing"
#: Bots in one container beside the three of every round, so that ten trade.
MANY = tuple(BotKey(f"many_{n}", f"MANY{n}", f"key-m{n}", f"secret-of-m{n}") for n in range(1, 8))


def ten_bots(folder: Path) -> Path:
    """The list of all ten."""
    rows = [
        f"""
[[bot]]
id = "{bot.bot}"
name = "Many {number}"
tag = "m{chr(96 + number)}"
redis_db = {len(BOTS) + number - 1}
prefix = "{bot.prefix}"
container = "{PACK}"
folder = "strategies/momentum"
entry = "trading_system.py"
strategy = "tests.support.toy_bot:Toy"
"""
        for number, bot in enumerate(MANY, start=1)
    ]
    path = folder / "ten.toml"
    path.write_text((ROOT / "bots.toml").read_text() + "".join(rows))
    return path


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
    """Exchange, Patroni, Sentinel, two listeners that share the accounts, pairs of services, and ten bots that trade."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        super().__init__(folder, draw, others=MANY)
        self.bots_file = ten_bots(folder)
        self.stack_roles = ("bot",)
        self.cluster = Cluster(folder / "cluster", PASSWORD)
        self.sentinels = SentinelRedis(folder / "sentinels", PASSWORD)
        self.postgres = cast(Any, ClusterServer(self.cluster))
        self.redis = cast(Any, self.sentinels)
        self.wires: dict[str, Wire] = {
            name: Wire(self.cluster.port, self.proxy.port)
            for name in ("listener", "second", *(f"{pair}-{n}" for pair in SINGLETONS for n in (1, 2)))
        }
        self.second: Process | None = None
        self.acknowledged = 0
        self._writing: asyncio.Task[None] | None = None
        self.longest_gap_s = 0.0
        self.pairs: dict[str, Pair] = {}
        #: Seconds of the takeover of this round; 0 where it is not measured.
        self.takeover_s = 0.0
        #: Seconds of a round in which nothing was lost: until an audit that begins later, and a trade of each bot.
        self.nothing_s = 0.0

    def make_listener(self, name: str, **more: str) -> Process:
        """A listener that shares the accounts, behind its wire."""
        wire = self.wires.get(name)
        return super().make_listener(name, **{**(wire.environment() if wire else {}), "LISTENER_SHARE": "true", **more})

    async def begin(self) -> None:
        """Start everything; returns when all bots are synced."""
        self.folder.chmod(0o755)
        for wire in self.wires.values():
            await wire.start()
        await self.cluster.start()
        self.sentinels.start()
        await self.sentinels.whole()
        await self.open()
        self.second = self.make_listener("second")
        self.second.start()
        connection = await self.cluster.connect()
        for kind in SINGLETONS.values():
            await connection.execute(f"ALTER ROLE {kind.role} PASSWORD '{PASSWORD}'")
        await connection.execute("CREATE TABLE IF NOT EXISTS public.acknowledged (number bigint PRIMARY KEY)")
        await connection.close()
        self.pairs = {
            name: Pair(
                name, self.cluster, self._of_pair(), self.folder, [self.wires[f"{name}-{n}"] for n in (1, 2)]
            )
            for name in SINGLETONS
        }  # fmt: skip
        await asyncio.gather(*(pair.start() for pair in self.pairs.values()))
        self._writing = asyncio.create_task(self._write())
        self.trade()
        await self.synced_since(wall_ms(), 90)
        await self.traded_since(await self.market_ms(), 120)

    def _of_pair(self) -> dict[str, str]:
        """The variables of the services that run as pairs."""
        many = {f"{bot.prefix}_SYMBOLS": f'["{SYMBOLS[n % len(SYMBOLS)]}"]' for n, bot in enumerate(MANY)}
        return {
            **self.environment(),
            **{name: value for bot in self.bots for name, value in bot.environment().items()},
            **{name: value for bot in BOTS for name, value in bot.reading().items()},
            **many,
            **{f"{bot.prefix}_HOLD_BARS": "1" for bot in MANY},
            **{f"{bot.prefix}_NOTIONAL": "500" for bot in MANY},
            "ALPHA_BOTS_FILE": str(self.bots_file),
            "ALPHA_CONTAINER": PACK,
            "ALPHA_LEASE_SECONDS": "6",
            "TICKS_DIR": str(self.folder / "ticks"),
            "BOT_CONTROL_URL": "unix:///no/such/socket",
            # it watches only: what the accounts hold here is traded without stops, on purpose
            "GUARD_OBSERVE": "true",
        }

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
        for wire in self.wires.values():
            await wire.stop()
        await self.cluster.stop()

    async def both_listen(self) -> None:
        """Start again, as a container engine does, a listener that has ended."""
        for listener in (self.listener, self.second):
            if listener is not None and not listener.running:
                listener.start()

    async def market_ms(self) -> int:
        """The exchange's time."""
        async with httpx.AsyncClient(verify=PLAIN, timeout=30) as client:
            return int((await client.get(f"{self.simulator.url}/_sim/state")).json()["now_ms"])

    async def traded_since(self, market_ms: int, wait_s: float) -> float:
        """Wait until a fill of every bot after that moment of the exchange is committed; returns the seconds it took."""
        began_s = time.monotonic()
        seen: set[str] = set()

        async def all_traded() -> bool:
            try:
                connection = await self.database("traded")
                rows = await connection.fetch(
                    "SELECT DISTINCT bot_id FROM trading.fills WHERE exec_time > to_timestamp($1::bigint / 1000.0)",
                    market_ms,
                )
            except (*AWAY, asyncpg.InternalClientError):
                self.forget_database("traded")
                return False
            seen.update(row["bot_id"] for row in rows)
            return seen >= {bot.bot for bot in self.bots}

        try:
            await until(all_traded, wait_s, "every bot to trade", step_s=0.2)
        except AssertionError as late:
            raise AssertionError(f"{late}: {sorted({bot.bot for bot in self.bots} - seen)} do not") from None
        return time.monotonic() - began_s

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


async def _nothing(env: HaEnv) -> Fault:
    async def undo() -> None:
        """Nothing."""

    return undo, _at_once


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


async def _redis_cut_off(env: HaEnv) -> Fault:
    """Its replicas and the Sentinels do not reach it any more; its clients do."""
    leader = env.sentinels.leader
    assert leader is not None
    await asyncio.to_thread(leader.cut_off)

    async def undo() -> None:
        await asyncio.to_thread(leader.heal)

    return undo, lambda: env.sentinels.leader not in {None, leader}


async def _listener_killed(env: HaEnv) -> Fault:
    assert env.listener is not None
    env.listener.kill()

    async def undo() -> None:
        await env.both_listen()

    return undo, _at_once


async def _listener_paused(env: HaEnv) -> Fault:
    assert env.second is not None
    env.second.signal(signal.SIGSTOP)

    async def undo() -> None:
        assert env.second is not None
        env.second.signal(signal.SIGCONT)
        await env.both_listen()

    return undo, _at_once


async def _listener_cut_off(env: HaEnv) -> Fault:
    wire = env.wires["listener"]
    wire.stand_still()

    async def undo() -> None:
        wire.heal()
        await env.both_listen()

    return undo, _at_once


def _single(service: str, how: str) -> Callable[[HaEnv], Awaitable[Fault]]:
    async def fault(env: HaEnv) -> Fault:
        pair = env.pairs[service]
        former, env.takeover_s = await pair.replaced(how)
        taken_s = time.monotonic()

        async def undo() -> None:
            await pair.mend()
            # Whoever has thawed may have had something on its way. Nothing of it may be accepted.
            host = pair.exchange_of(former)
            env.fenced += [
                f"{one.link_id} of the former {service}, {one.at_s - taken_s:.1f} s after the other had its lease"
                for one in env.proxy.opened
                if one.host == host and one.at_s > taken_s
            ]

        return undo, _at_once

    return fault


#: Name to what is done, and the seconds after which every bot must be synced and trade again, beside a takeover's own.
FAULTS: dict[str, tuple[Callable[[HaEnv], Awaitable[Fault]], float]] = {
    # what waiting for an audit that begins later and for a trade of each bot takes by itself
    NOTHING: (_nothing, PROCESS_S),
    "postgres leader killed": (_postgres_killed, HOST_S),
    "redis leader killed": (_redis_killed, HOST_S),
    "listener killed": (_listener_killed, PROCESS_S),
    "risk_guard killed": (_single("risk_guard", "killed"), PROCESS_S),
    "bots killed": (_single("bots", "killed"), BOTS_S),
    "postgres leader paused": (_postgres_paused, FROZEN_HOST_S),
    "redis leader paused": (_redis_paused, HOST_S),
    "listener paused": (_listener_paused, PROCESS_S),
    "risk_guard paused": (_single("risk_guard", "paused"), PROCESS_S),
    "bots paused": (_single("bots", "paused"), BOTS_S),
    "postgres leader cut off": (_postgres_cut_off, FROZEN_HOST_S),
    "redis leader cut off": (_redis_cut_off, HOST_S),
    "listener cut off": (_listener_cut_off, PROCESS_S),
    "risk_guard cut off": (_single("risk_guard", "cut off"), PROCESS_S),
    "bots cut off": (_single("bots", "cut off"), BOTS_S),
    **{
        f"{service} {how}": (_single(service, how), PROCESS_S)
        for service in ("trade_sync_service", "tick_recorder", "telegram_manager")
        for how in ("killed", "paused")
    },
}


@dataclass
class Outcome:
    """One round: when all bots were synced and traded again, the longest time without a commit, and what was wrong."""

    name: str
    synced_s: float
    again_s: float
    gap_s: float
    takeover_s: float = 0.0
    faults: list[str] = field(default_factory=list)


async def play(env: HaEnv, name: str) -> Outcome:
    """One round. `faults` is empty when nothing was lost, doubled or too late."""
    fault, most_s = FAULTS[name]
    for pair in env.pairs.values():
        pair.supervise()
    await env.both_listen()
    env.trade()
    env.longest_gap_s = env.takeover_s = 0.0
    began_ms, began_s, market_ms = wall_ms(), time.monotonic(), await env.market_ms()
    faults: list[str] = []
    try:
        undo, changed = await fault(env)
    except AssertionError as late:
        return Outcome(name, 0.0, 0.0, env.longest_gap_s, 0.0, [str(late)])

    async def replaced() -> bool:
        return time.monotonic() - began_s > _NOTICED_S and await asyncio.to_thread(changed)

    async def traded() -> float:
        await env.traded_since(market_ms, most_s * 2)
        return time.monotonic() - began_s

    trading = asyncio.create_task(traded())
    again_s = 0.0
    try:
        await until(replaced, most_s * 2, "another leader")
        await env.synced_since(began_ms + int(_NOTICED_S * 1000), most_s * 2)
    except AssertionError as late:
        faults.append(str(late))
    synced_s = time.monotonic() - began_s
    try:
        again_s = max(synced_s, await trading)
    except AssertionError as late:
        faults.append(str(late))
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
    faults += [f"fenced order: {text}" for text in env.fenced]
    env.fenced.clear()
    takeover_s = SINGLETONS[name.partition(" ")[0]].takeover_s if env.takeover_s else 0.0
    if env.takeover_s > takeover_s * patience():
        faults.append(f"taken over after {env.takeover_s:.1f} s, at most {takeover_s:.0f} s")
    if name == NOTHING:
        env.nothing_s = again_s
    elif again_s - env.takeover_s - env.nothing_s > most_s * patience():
        # where nobody's live state hangs on it, what is measured is that the bots trade on
        faults.append(f"traded again after {again_s:.1f} s, at most {most_s:.0f} s more than without a fault")
    return Outcome(name, synced_s, again_s, env.longest_gap_s, env.takeover_s, faults)

"""One world: exchange, stores, and processes of listener, bot and guard that are started again when they end."""

import asyncio
import gc
import os
import random
import secrets
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import structlog

import alpha.bybit.session
import alpha.bybit.stream
import alpha.lease
import alpha.postgres.bounded_database
import bot_runner.app
import risk_guard.app
import websocket_listener.app
import websocket_listener.lease
from alpha.config.keys import BotKeys, load_keys
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import AlphaError, Misconfigured, Rejected, Retry
from alpha.live_state.client import TextRedis
from alpha.live_state.connect import RedisClients
from alpha.postgres.errors import POSTGRES_ERRORS, explained
from alpha.process import LoopPulse
from alpha.registry import Bot, load_registry
from alpha.strategy.base import Strategy
from bot_runner.app import BotProcess
from bot_runner.settings import BotSettings
from risk_guard.app import GuardApp
from risk_guard.settings import GuardSettings
from tests.simulation.exchange import KEY, SECRET, SYMBOLS, SimulatedTransport, Venue, moving_exchange
from tests.simulation.faults import Outages
from tests.simulation.postgres_store import ConnectionPool, PostgresServer
from tests.simulation.redis_store import RedisClient, RedisServer
from tests.simulation.virtual_loop import EPOCH_S, Process, VirtualLoop, clocks_of, current
from tests.support.toy_bot import Toy, ToyParameters
from websocket_listener.app import serve
from websocket_listener.settings import ListenerSettings

BOT = "shortseller_001"
ROOT = Path(__file__).resolve().parents[2]
BASE: dict[str, Any] = {
    "bybit_rest_url": "http://127.0.0.1:1",
    "bybit_ws_url": "ws://127.0.0.1:1",
    "postgres_password": "unused",
    "redis_password": "unused",
}
LEASE_S = 3
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


class MinuteToy(Toy):
    """The toy on bars of one minute."""

    @property
    def interval(self) -> str:
        """One minute."""
        return "1"


class NoServer:
    """Instead of the health server."""

    port = 0

    def __init__(self, *_: object, **__: object) -> None:
        return

    def close(self) -> None:
        """Nothing listens."""


class NoControl:
    """A bot control that is not there."""

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: object, **__: object) -> None:
            if name != "close":
                raise Retry("The bot control does not answer.")

        return refuse


@dataclass
class World:
    """Everything of one run."""

    seed: int
    loop: VirtualLoop
    draw: random.Random
    redis: RedisServer
    postgres: PostgresServer
    venue: Venue
    bot: Bot
    #: Makes the strategy of each bot that starts.
    strategy: Callable[[], Strategy[Any, Any]]
    settings: Callable[[str], "ListenerSettings | GuardSettings | BotSettings"]
    processes: dict[str, list[Process]] = field(default_factory=dict)
    stops: dict[Process, asyncio.Event] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    started: int = 0

    def say(self, text: str) -> None:
        """A line of the trace."""
        self.trace.append(f"{self.loop.now_s:9.4f} {current().name:<14} {text}")

    # --- processes -------------------------------------------------------------------------------------------------

    def start(self, role: str) -> Process:
        """Start one more process of this kind; it is started again when it ends."""
        self.started += 1
        process = Process(f"{role}-{self.started}", self.started)
        self.processes.setdefault(role, []).append(process)
        self.loop.spawn(process, self._life(role, process))
        return process

    def living(self, role: str) -> list[Process]:
        """The processes of this kind that are alive."""
        return [process for process in self.processes.get(role, []) if process.alive]

    def crash(self, process: Process, role: str, again_s: float) -> None:
        """Kill it, and start another one after a while, as a container engine does."""
        self.loop.kill(process)
        self.venue.cut(process)
        row = self.postgres.state.get((1, "runtime"))
        if role == "bot" and row is not None:
            # A crash every few seconds would pause it: here the crashes are the test, not a fault.
            row["state"]["starts_ms"] = []
        self.loop.call_later(again_s, self.start, role, context=self.loop.outside.context)

    async def _life(self, role: str, process: Process) -> None:
        stop = asyncio.Event()
        self.stops[process] = stop
        try:
            await self._work(role, stop)
            why = "stopped"
        except AlphaError as fault:
            why = f"{type(fault).__name__}: {fault}"
            if isinstance(fault, Misconfigured | Rejected):
                self.ended.append(f"{process.name} {why}")
        except Exception as fault:  # noqa: BLE001 - a fault nobody foresaw is judged by the invariants
            where = traceback.extract_tb(fault.__traceback__)[-1]
            why = f"UNFORESEEN {type(fault).__name__} at {Path(where.filename).name}:{where.lineno}: {fault}"
            self.ended.append(f"{process.name} {why}")
        self.say(f"ended: {why}")
        self.loop.call_soon(self.crash, process, role, 0.5, context=self.loop.outside.context)

    async def _work(self, role: str, stop: asyncio.Event) -> None:
        settings = self.settings(role)
        if isinstance(settings, ListenerSettings):
            await serve(settings, stop, LoopPulse())
        elif isinstance(settings, GuardSettings):
            await GuardApp(settings).run(stop, LoopPulse())
        elif isinstance(settings, BotSettings):
            await BotProcess(settings, self.bot, keys(), self.strategy()).run(stop, LoopPulse())


@cache
def _settings_of(role: str) -> ListenerSettings | GuardSettings | BotSettings:
    """Read once: they are frozen, and reading them costs as much as seconds of a run."""
    base = {**BASE, "alpha_bots_file": one_bot()}
    if role == "listener":
        return load(ListenerSettings, env_file=None, **base, listener_audit_s=5.0, listener_history_days=1, listener_silence_s=6.0,
                    listener_ping_s=2.0)  # fmt: skip
    if role == "guard":
        return load(GuardSettings, env_file=None, **base, guard_patrol_s=5, guard_lease_s=3)
    return load(BotSettings, env_file=None, **base, alpha_lease_seconds=LEASE_S)


@cache
def keys() -> BotKeys:
    return load_keys(the_bot(), env_file=None)


@cache
def the_bot() -> Bot:
    return load_registry(one_bot()).find(BOT)


@cache
def one_bot() -> Path:
    """A bots file with one bot; it lasts as long as this process."""
    _FOLDERS.append(tempfile.TemporaryDirectory(prefix="alpha-simulation-"))
    path = Path(_FOLDERS[-1].name) / "bots.toml"
    first = (ROOT / "bots.toml").read_text().split("\n[[bot]]\n")[1]
    path.write_text(f"[[bot]]\n{first}")
    return path


@contextmanager
def world_of(seed: int, *, traced: bool = False) -> Iterator[World]:
    """A world that is not started yet; product code reaches only what is simulated while it lasts."""
    draw = random.Random(f"interleaving {seed}")
    random.seed(seed)
    loop = VirtualLoop(draw)
    with clocks_of(loop):
        redis = RedisServer(Outages(random.Random(f"redis {seed}")), lambda: int((EPOCH_S + loop.now_s) * 1000))
        postgres = PostgresServer(Outages(random.Random(f"postgres {seed}")), lambda: EPOCH_S + loop.now_s)
        start_ms = 1_740_787_200_000 + (seed % 1_000) * 60_000
        venue = Venue(loop, random.Random(f"network {seed}"), moving_exchange(start_ms))
        postgres.accounts["simulated", str(venue.account.uid)] = (1, BOT)
        strategy = ToyParameters(symbols=SYMBOLS, hold_bars=draw.choice((1, 1, 2, 40)), stop=cast(Any, "0.004"))
        world = World(
            seed,
            loop,
            draw,
            redis,
            postgres,
            venue,
            the_bot(),
            partial(MinuteToy, strategy),
            _settings_of,
        )

        def unforeseen(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            if "handle" in context:
                world.ended.append(f"{context['message']}: {context.get('exception')!r}")

        loop.set_exception_handler(unforeseen)
        with replaced(world, traced=traced):
            try:
                yield world
            finally:
                venue.exchange.close()
                loop.close()


@contextmanager
def replaced(world: World, *more: tuple[Any, str, Any], traced: bool) -> Iterator[None]:
    """The drivers of the product, replaced; `more` are further (owner, name, value)."""

    async def pool(settings: DatabaseSettings, _application: str, *, min_size: int = 1, **__: object) -> ConnectionPool:
        made = ConnectionPool(world.postgres)
        try:
            if min_size:
                await made.take(10.0)
        except POSTGRES_ERRORS as fault:
            raise explained(fault, settings) from None
        return made

    def client(_links: RedisClients, number: int, **_: object) -> TextRedis:
        return cast(TextRedis, RedisClient(world.redis, number))

    transport = type("WorldTransport", (SimulatedTransport,), {"venue": world.venue})
    put: list[tuple[Any, str, Any]] = [
        (alpha.bybit.session, "Transport", transport),
        (alpha.bybit.stream, "OPEN_SOCKET", world.venue.connect),
        (alpha.postgres.bounded_database, "create_pool", pool),
        (websocket_listener.app, "create_pool", pool),
        (websocket_listener.app, "HealthServer", NoServer),
        (websocket_listener.app, "spare_collector", lambda: None),
        (websocket_listener.app, "ListenerMetrics", lambda *_: _Nothing()),
        (bot_runner.app, "HealthServer", NoServer),
        (risk_guard.app, "HealthServer", NoServer),
        (risk_guard.app, "open_control", lambda *_: NoControl()),
        (RedisClients, "_client", client),
        (alpha.lease, "process_name", lambda: f"host:{current().name}:1"),
        (websocket_listener.lease, "process_name", lambda: f"host:{current().name}:1"),
    ]
    ids = random.Random(f"ids {world.seed}")
    put += [(os, "urandom", ids.randbytes), (secrets, "token_hex", lambda size=32: ids.randbytes(size).hex())]
    put += more
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in put]
    environment = {"SHORTSELLER_BYBIT_API_KEY": KEY, "SHORTSELLER_BYBIT_API_SECRET": SECRET}
    environment |= {
        "SHORTSELLER_BYBIT_READ_API_KEY": f"{KEY}-reads",
        "SHORTSELLER_BYBIT_READ_API_SECRET": f"{SECRET}-reads",
    }
    os.environ.update(environment)
    for owner, name, value in put:
        setattr(owner, name, value)
    _log_to(world if traced else None)
    collects = gc.isenabled()
    gc.disable()  # what a kill leaves unfinished must not be collected in the middle of a run
    try:
        yield
    finally:
        for owner, name, value in kept:
            setattr(owner, name, value)
        for name in environment:
            os.environ.pop(name, None)
        if collects:
            gc.enable()


class _Nothing:
    def collect(self) -> list[Any]:
        return []


def _log_to(world: World | None) -> None:
    """The product's log lines go into the trace, or nowhere."""

    def keep(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        if world is not None:
            with suppress(LookupError):
                name = event.pop("event")
                world.say(f"{name} {' '.join(f'{key}={value}' for key, value in event.items())}"[:400])
        raise structlog.DropEvent

    structlog.configure(processors=[keep], wrapper_class=structlog.stdlib.BoundLogger, cache_logger_on_first_use=False)

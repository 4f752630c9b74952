"""Environment of a fault round: exchange, proxy, PostgreSQL, Redis, the listener, and bots that trade continuously."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from alpha.clock import wall_ms
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.live_state import keys
from alpha.live_state.connect import REDIS_UNAVAILABLE, RedisClients
from alpha.live_state.read import read_status
from alpha.postgres.database import POSTGRES_ERRORS
from alpha.postgres.migrate import MigrateSettings, run
from demo.postgres import DATABASE, OWNER, EmbeddedPostgres
from demo.redis import EmbeddedRedis
from exchange_simulator.market.catalogue import DEFAULT_SYMBOLS
from tests.faults.disk import SmallDisk
from tests.faults.memory import Memory
from tests.faults.stack import BOT, Stack
from tests.support.stepped_clock import ClockFile
from tests.support.tcp_proxy import Proxy
from tests.support.world import BOTS, ROOT, SYMBOLS, BotKey, Process, Simulator, Trader, until

PASSWORD = "password-of-the-faults"
DATABASES = {"shortseller_001": 0, "lxalgo_001": 1, "momentum_001": 2}
BUFFER_ROWS = 1_000
_FORGIVE_RESTARTS = """
CREATE FUNCTION trading.forgive_restarts() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN NEW.state := jsonb_set(NEW.state, '{starts_ms}', '[]'); RETURN NEW; END$$;
CREATE TRIGGER forgive_restarts BEFORE INSERT OR UPDATE ON trading.strategy_state
FOR EACH ROW WHEN (NEW.name = 'runtime') EXECUTE FUNCTION trading.forgive_restarts();
"""
AUDIT_S = 2.0
SILENCE_S = 2.0
LISTENER = {
    "LISTENER_AUDIT_S": str(AUDIT_S),
    "LISTENER_PING_S": "0.5",
    "LISTENER_SILENCE_S": str(SILENCE_S),
    "LISTENER_BUFFER_ROWS": str(BUFFER_ROWS),
    "LISTENER_SNAPSHOT_S": "5",
    "LOG_LEVEL": "info",
}


#: One account in one-way mode and USDT, one in hedge mode, one that trades a contract in USDC as well.
KINDS = {"lxalgo_001": "hedge", "momentum_001": "usdc=100000"}


@dataclass
class Sent:
    """Orders sent by the bots: market orders acknowledged by the exchange, with times."""

    acknowledged: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    orders: int = 0
    failed: int = 0


class FaultEnv:
    """One environment in one folder with one source of randomness."""

    def __init__(
        self, folder: Path, draw: random.Random, *, small_disk: bool = False, others: tuple[BotKey, ...] = ()
    ) -> None:
        """`small_disk`: PostgreSQL gets its own file system that can be filled, where mounting is allowed. `others`: more bots."""
        self.disk, self.no_disk = SmallDisk.mounted(folder / "postgres") if small_disk else (None, "not asked for")
        self.draw = draw
        self.folder = folder
        #: Every bot, the database of its live state, and the file that lists them.
        self.bots: tuple[BotKey, ...] = (*BOTS, *others)
        self.databases = {**DATABASES, **{bot.bot: len(BOTS) + number for number, bot in enumerate(others)}}
        self.bots_file = ROOT / "bots.toml"
        self.postgres = EmbeddedPostgres(folder / "postgres", PASSWORD, durable=False)
        self.redis = EmbeddedRedis(folder / "redis", PASSWORD)
        self.simulator = Simulator(
            folder,
            speed="60",
            seed=draw.randrange(1, 10_000),
            options=(
                "--no-rate-limits",
                "--faults",
                "--depth-usdt",
                "2000",
                "--symbols",
                ",".join((*DEFAULT_SYMBOLS, "BTCPERP")),
                *(word for bot in others for word in ("--account", f"{bot.key}:{bot.secret}:100000")),
            ),
            accounts_are=KINDS,
        )
        folder.mkdir(parents=True, exist_ok=True)
        #: The wall clock of every process of ours; the exchange and the servers have their own.
        self.clock = ClockFile(folder / "clock")
        #: How often it was set.
        self.clock_steps = 0
        #: Symbols that nobody trades until they are delivered.
        self.mortal = [symbol for symbol in DEFAULT_SYMBOLS if symbol not in SYMBOLS]
        self.proxy = Proxy(self.simulator.port, draw, {bot.key: bot.secret for bot in self.bots})
        self.sent = Sent()
        self.memory = Memory()
        self.outage_s = 5.0
        #: Factor on the bots' pause between two orders.
        self.pace = 1.0
        self.listener: Process | None = None
        self.stack = Stack()
        #: What of it is started; all where none is named.
        self.stack_roles: tuple[str, ...] = ()
        #: Orders that a process sent after another one had taken its lease, and the exchange accepted.
        self.fenced: list[str] = []
        #: Takeovers that took longer than promised; on a crowded machine that alone breaks nothing.
        self.late: list[str] = []
        #: A second listener, which is started by the faults that need one.
        self.spare: Process | None = None
        #: By bot: the ledger number up to which the ledgers agreed, and the number of fills up to there.
        self.agreed: dict[str, tuple[int, int]] = {}
        #: The difference that was there last before the ledgers agreed.
        self.agreed_last = ""
        self._links: RedisClients | None = None
        self._traders: list[asyncio.Task[None]] = []
        self._trading = asyncio.Event()
        self._connections: dict[str, Any] = {}

    @property
    def links(self) -> RedisClients:
        """Redis clients."""
        if self._links is None:
            raise RuntimeError("the arena is not open")
        return self._links

    def make_listener(self, name: str, **more: str) -> Process:
        """A listener of all bots, not started yet. `more` are additional variables."""
        return Process(
            name,
            ["-m", "tests.support.stepped_clock", "-m", "websocket_listener"],
            {
                **self.environment(),
                "POSTGRES_USER": "alpha_listener",
                **LISTENER,
                "ALPHA_BOTS_FILE": str(self.bots_file),
                **{name: value for bot in self.bots for name, value in bot.environment().items()},
                **more,
            },
            self.folder,
        )

    def environment(self) -> dict[str, str]:
        """Stores, exchange and clock, as every process of ours sees them."""
        return {
            **self.postgres.environment(),
            **self.redis.environment(),
            **self.proxy.environment(),
            "CLOCK_FILE": str(self.clock.path),
            "LOG_LEVEL": "info",
        }

    def now_ms(self) -> int:
        """What the wall clock of our processes shows."""
        return wall_ms() + int(self.clock.offset_s * 1000)

    def step_clock(self, offset_s: float) -> None:
        """Set the wall clock of our processes. What was noted by the clock of before says nothing any more."""
        for noted in self.sent.acknowledged.values():
            noted.clear()
        self.clock.step(offset_s)
        self.clock_steps += 1

    async def open(self, **listener: str) -> None:
        """Start everything; returns when all bots are synced. `listener` are additional variables of the listener."""
        self.postgres.start()
        self.redis.start()
        await self.simulator.start()
        environment = self.postgres.environment()
        arguments = {name.lower(): value for name, value in environment.items()}
        settings = load(
            MigrateSettings,
            env_file=None,
            bots_file=self.bots_file,
            **{f"alpha_{role}_db_password": PASSWORD for role in ("listener", "sync", "guard", "strategy")},
            **arguments,
        )
        await run(settings)
        await self._forgive_restarts()
        await self.proxy.start()
        self._links = RedisClients(self.redis.settings())
        await self.follow()
        self.listener = self.make_listener("listener", **listener)
        self.listener.start()
        await self.synced_since(0, 300)  # a crowded machine begins slowly
        self.spare = self.listener.twin("spare")
        self.stack = Stack.made(self.folder, self.environment())
        self.stack.start(*self.stack_roles)
        self._traders = [asyncio.create_task(self._trade(bot)) for bot in BOTS if bot is not BOT]

    async def close(self) -> None:
        """Stop everything."""
        for task in self._traders:
            task.cancel()
        await asyncio.gather(*self._traders, return_exceptions=True)
        self.stack.stop()
        for listener in (self.listener, self.spare):
            if listener is not None:
                listener.kill()
        await self.proxy.stop()
        self.simulator.process.kill()
        if self._links is not None:
            await self._links.close()
        for connection in self._connections.values():
            connection.terminate()
        self.redis.kill()
        try:
            self.postgres.stop("immediate")
        finally:
            if self.disk is not None:
                self.disk.unmount()

    async def postgres_back(self) -> None:
        """Wait until PostgreSQL answers again; start it if it has shut itself down."""

        async def answers() -> bool:
            try:
                await (await self.database("faults")).execute("SELECT 1")
            except POSTGRES_ERRORS:
                self.forget_database("faults")
                if not (self.postgres.folder / "postmaster.pid").exists():
                    await asyncio.to_thread(self.postgres.start)
                return False
            return True

        await until(answers, 60, "PostgreSQL to answer again")

    async def _forgive_restarts(self) -> None:
        """A bot that is started again and again pauses itself; here that is the test. What it saves forgets its starts."""
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.postgres.port, user=OWNER, password=PASSWORD, database=DATABASE
        )
        try:
            await connection.execute(_FORGIVE_RESTARTS)
        finally:
            await connection.close()

    async def follow(self) -> None:
        """Write what strategies write: the symbols and candles they follow."""
        for bot in BOTS:
            database = self.links.database(DATABASES[bot.bot])
            await database.sadd(keys.symbols(bot.bot), *SYMBOLS)
            await database.sadd(keys.intervals(bot.bot), "1")

    def listener_alive(self) -> bool:
        """True while the listener's process is running."""
        return self.listener is not None and self.listener.running

    # -- trading ------------------------------------------------------------------------------------------------

    def trade(self) -> None:
        """Let the bots trade."""
        self._trading.set()

    def rest(self) -> None:
        """Pause the bots."""
        self._trading.clear()

    async def _trade(self, bot: BotKey) -> None:
        """Alternate market orders, resting limit orders, stops and cancels, buying and selling."""
        draw = random.Random(self.draw.random())
        trader = Trader(self.simulator.url, bot)
        acknowledged = self.sent.acknowledged.setdefault(bot.key, [])
        kind_of_account = KINDS.get(bot.bot, "")
        symbols = ("BTCPERP", *SYMBOLS[1:]) if "usdc" in kind_of_account else SYMBOLS
        indexes = (1, 2) if kind_of_account == "hedge" else (0,)
        # the first order of a leg opens it
        side = {
            (symbol, idx): ("Sell", "Buy")[idx - 1] if idx else draw.choice(("Buy", "Sell"))
            for symbol in symbols
            for idx in indexes
        }
        qty = {"BTCUSDT": "0.01", "BTCPERP": "0.01", "ETHUSDT": "0.3", "SOLUSDT": "5"}
        try:
            while True:
                await self._trading.wait()
                await asyncio.sleep(draw.uniform(0.01, 0.06) * self.pace)
                symbol = draw.choice(symbols)
                idx = draw.choice(indexes) if len(indexes) > 1 else 0
                kind = draw.random()
                try:
                    if kind < 0.75:
                        way = side[symbol, idx] = "Sell" if side[symbol, idx] == "Buy" else "Buy"
                        answer = await trader.order(symbol, way, qty[symbol], positionIdx=idx)
                        if answer["retCode"] == 0:
                            acknowledged.append((self.now_ms(), answer["result"]["orderId"]))
                    elif kind < 0.9:
                        price = {"BTCUSDT": "20000", "BTCPERP": "20000", "ETHUSDT": "500", "SOLUSDT": "20"}[symbol]
                        leg = min(idx, 1)
                        answer = await trader.order(
                            symbol, "Buy", qty[symbol], orderType="Limit", price=price, positionIdx=leg
                        )
                    else:
                        answer = await trader.post("/v5/order/cancel-all", {"category": "linear", "symbol": symbol})
                    self.sent.orders += 1
                    self.sent.failed += answer["retCode"] != 0
                except (httpx.HTTPError, ValueError):
                    self.sent.failed += 1
        finally:
            await trader.close()

    async def replenish(self) -> None:
        """Whoever has lost half of what it began with gets it back, so that trading never ends."""
        for bot in BOTS:
            if Decimal((await self.simulator.account(bot.key))["wallet_balance"]) > 50_000:
                continue
            trader = Trader(self.simulator.url, bot)
            try:
                coins = [{"coin": "USDT", "amountStr": "50000"}]
                await trader.post("/v5/account/demo-apply-money", {"adjustType": 0, "utaDemoApplyMoney": coins})
            finally:
                await trader.close()

    async def flatten(self) -> None:
        """Close every position and cancel every order."""
        for bot in BOTS:
            trader = Trader(self.simulator.url, bot)
            try:
                for row in (await self.simulator.account(bot.key))["positions"]:
                    side = "Sell" if row["side"] == "Buy" else "Buy"
                    idx = row["positionIdx"]
                    answer = await trader.order(row["symbol"], side, row["size"], reduceOnly=True, positionIdx=idx)
                    assert answer["retCode"] == 0, answer
                for symbol in SYMBOLS:
                    await trader.post("/v5/order/cancel-all", {"category": "linear", "symbol": symbol})
            finally:
                await trader.close()

    def owner(self) -> DatabaseSettings:
        """Connection settings of the database's owner."""
        return self.postgres.settings()

    # -- observing ----------------------------------------------------------------------------------------------

    async def database(self, user: str) -> Any:
        """The PostgreSQL connection of one part of the test, reopened when the last one broke."""
        connection = self._connections.get(user)
        if connection is None or connection.is_closed():
            connection = self._connections[user] = await asyncpg.connect(
                host="127.0.0.1",
                port=self.postgres.port,
                user=OWNER,
                password=PASSWORD,
                database=DATABASE,
                timeout=5,
                command_timeout=20,
            )
        return connection

    def forget_database(self, user: str) -> None:
        """Make this part of the test open a new connection next time."""
        connection = self._connections.pop(user, None)
        if connection is not None:
            connection.terminate()

    async def synced_since(self, since_ms: int, wait_s: float) -> float:
        """Wait until every bot is synced by a reconciliation started after `since_ms`; returns the seconds it took."""
        began_s = time.monotonic()

        async def all_synced() -> bool:
            self.watch_memory()
            try:
                states = [await read_status(self.links.database(self.databases[bot.bot]), bot.bot) for bot in self.bots]
            except REDIS_UNAVAILABLE:
                return False
            now = self.now_ms()
            return all(
                state is not None
                and state.state == "synced"
                and state.synced_at is not None
                and since_ms < state.synced_at.timestamp() * 1000 < now + 1_000
                and now - state.synced_at.timestamp() * 1000 < 30_000
                for state in states
            )

        await until(all_synced, wait_s, "all bots to be synced")
        return time.monotonic() - began_s

    def watch_memory(self) -> None:
        """Record the memory use of all processes."""
        self.memory.look(
            {
                "listener": self.listener.pid if self.listener is not None and self.listener.running else None,
                "redis": self.redis.pid,
                "postgres": self.postgres.pid,
            }
        )

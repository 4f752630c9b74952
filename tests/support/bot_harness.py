"""Runs a bot as a real process with real PostgreSQL, Redis and the simulated exchange; optionally the listener."""

import json
import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from alpha.clock import wall_ms
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.live_state.connect import RedisClients
from alpha.live_state.control import PendingCommand, Reply
from alpha.postgres.database import connect
from alpha.postgres.migrate import ROLES, MigrateSettings
from alpha.postgres.migrate import run as migrate
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
from tests.support.alerts import raised_alerts
from tests.support.fixtures import COPY
from tests.support.world import BOTS, PLAIN, ROOT, BotKey, Process, Simulator, until

PASSWORD = "a-password-of-the-tests"
ENTRIES = {
    "shortseller_001": "strategies/shortseller/scripts/start_trading.py",
    "lxalgo_001": "strategies/lxalgo/main.py",
    "momentum_001": "strategies/momentum/trading_system.py",
}


class Servers:
    """A PostgreSQL and a Redis, in a folder that the PostgreSQL OS user can access."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="alpha-stage-"))
        self._folder.chmod(0o755)
        self.postgres = EmbeddedPostgres(self._folder / "postgres", PASSWORD, durable=False)
        self.redis = EmbeddedRedis(self._folder / "redis", PASSWORD)
        #: Migrated template databases by registry: each harness copies one.
        self.templates: dict[Path, str] = {}

    def start(self) -> None:
        """Start both servers."""
        try:
            self.postgres.start()
            self.redis.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop both and delete their data."""
        self.redis.stop()
        self.postgres.stop("immediate")
        # A database per test is ten thousands of files: nobody waits until they are deleted.
        os.spawnlp(os.P_NOWAIT, "rm", "rm", "-rf", str(self._folder))


class BotHarness:
    """Environment of a bot under test. `options` go to the simulator; given `servers` are reused
    with a new database.
    """

    def __init__(
        self,
        folder: Path,
        *,
        speed: str = "60",
        seed: int = 1,
        options: tuple[str, ...] = (),
        servers: Servers | None = None,
        accounts_are: Mapping[str, str] | None = None,
        bots_file: Path = ROOT / "bots.toml",
    ) -> None:
        self.folder = folder
        self._own = servers is None
        self._bots_file = bots_file
        self.servers = Servers() if servers is None else servers
        self.simulator = Simulator(
            folder,
            speed=speed,
            seed=seed,
            options=("--no-rate-limits", "--faults", *options),
            accounts_are=accounts_are,
        )
        self.processes: list[Process] = []
        self._database = f"stage_{uuid.uuid4().hex[:12]}"

    async def open(self) -> None:
        """Start servers and exchange, create the database. What fails to start leaves nothing running."""
        if self._own:
            self.servers.start()
        try:
            await self._make_database(self._database, await self._template())
            await self._empty_redis()
            await self.simulator.start()
        except BaseException:
            self.close()
            raise

    async def _template(self) -> str:
        """A migrated template database on these servers; created once per registry."""
        known = self.servers.templates
        if self._bots_file not in known:
            name = f"template_{len(known)}"
            await self._make_database(name, "template1")
            passwords = {f"{role}_db_password": PASSWORD for role in ROLES}
            variables = {**self.servers.postgres.environment(), **passwords}
            settings = {name.lower(): value for name, value in variables.items()}
            settings |= {"postgres_db": name, "bots_file": str(self._bots_file)}
            await migrate(load(MigrateSettings, env_file=None, **settings))
            known[self._bots_file] = name
        return known[self._bots_file]

    async def _make_database(self, name: str, template: str) -> None:
        connection = await connect(self.servers.postgres.settings(), "test")
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {COPY}')
        finally:
            await connection.close()

    async def _empty_redis(self) -> None:
        links = RedisClients(self.servers.redis.settings())
        await links.shared.eval("return redis.call('FLUSHALL')", 0)
        await links.close()

    def _postgres_variables(self) -> dict[str, str]:
        return {**self.servers.postgres.environment(), "POSTGRES_DB": self._database}

    def database(self) -> DatabaseSettings:
        """Connection settings of the owner for this harness's database."""
        return self.servers.postgres.settings().model_copy(update={"postgres_db": self._database})

    def close(self) -> None:
        """Stop everything that was started here."""
        for process in self.processes:
            process.stop()
        self.simulator.process.kill()
        if self._own:
            self.servers.stop()

    def environment(self, role: str) -> dict[str, str]:
        """Environment shared by all Alpha processes."""
        return {
            **self._postgres_variables(),
            **self.servers.redis.environment(),
            **self.simulator.environment(),
            "POSTGRES_USER": role,
            "POSTGRES_PASSWORD": PASSWORD,
            "ALPHA_BOTS_FILE": str(self._bots_file),
            "LOG_FORMAT": "json",
        }

    def listener(self) -> Process:
        """The listener, not started yet; its keys cannot trade."""
        keys = {name: value for bot in BOTS for name, value in bot.reading().items()}
        return self.process("listener", ["-m", "websocket_listener"], {**self.environment("alpha_listener"), **keys})

    def bot(self, bot_id: str, name: str = "bot", **more: str) -> Process:
        """A bot, not started yet. `more` are additional variables."""
        key = next(bot for bot in BOTS if bot.bot == bot_id)
        variables = {**self.environment("alpha_strategy"), **key.environment(), **more}
        return self.process(name, [str(ROOT / ENTRIES[bot_id])], variables)

    def toy(
        self,
        name: str = "bot",
        *,
        step: bool = True,
        key: BotKey = BOTS[0],
        strategy: str = "tests.support.toy_bot:Toy",
        real_takeover: bool = False,
        **more: str,
    ) -> Process:
        """A bot that trades the toy strategy under ShortSeller's name, with the step clock by default.

        `real_takeover`: it waits as long after a takeover as on Bybit.
        """
        bots = self.folder / "bots.toml"
        text = (ROOT / "bots.toml").read_text()
        bots.write_text(text.replace("strategies.shortseller.strategy:ShortSeller", strategy))
        variables = {
            **self.environment("alpha_strategy"),
            "SHORTSELLER_BYBIT_API_KEY": key.key,
            "SHORTSELLER_BYBIT_API_SECRET": key.secret,
            "ALPHA_BOTS_FILE": str(bots),
            "ALPHA_LEASE_SECONDS": "2",
            # Nothing of a killed process arrives later on loopback; `tests/fence` and `test_takeover` wait in full.
            "ALPHA_TAKEOVER_WAIT_MS": "300",
            **({"ALPHA_STEP_URL": self.simulator.url} if step else {}),
            **more,
        }
        if real_takeover:
            del variables["ALPHA_TAKEOVER_WAIT_MS"]
        return self.process(name, [str(ROOT / ENTRIES["shortseller_001"])], variables)

    async def play(self, bot: Process, client: str = "shortseller_001") -> None:
        """Start a bot with the step clock and wait until it has registered with the clock."""
        before = bot.said().count('"started"')
        bot.start()

        async def joined() -> bool:
            if not bot.running:
                raise AssertionError(f"the bot ended: {bot.said()[-3000:]}")
            clients = (await sim(self, "POST", "/_sim/clients", client="", remove=True))["clients"]
            return bot.said().count('"started"') > before and client in clients

        await until(joined, 150, "the bot to join the step clock")

    async def bars(self, count: int) -> None:
        """Advance by `count` five-minute bars, to the point where the last of them has closed."""
        now_ms = (await sim(self, "GET", "/_sim/state"))["now_ms"]
        to_ms = now_ms - now_ms % 300_000 + count * 300_000
        state = await sim(self, "POST", "/_sim/advance", to_ms=to_ms, timeout_s=150)
        said = "".join(process.said()[-3000:] for process in self.processes)
        assert not state["waiting_for"], f"the bot did not report: {state['waiting_for']}; it said: {said}"

    async def absent(self) -> None:
        """Unregister the bot from the step clock."""
        await sim(self, "POST", "/_sim/clients", client="shortseller_001", remove=True)

    async def command(self, name: str, **args: str) -> Reply:
        """Send a command to the bot as an operator; returns its reply."""
        links = RedisClients(self.servers.redis.settings())
        try:
            redis = links.database(0)
            pending = await PendingCommand.send(redis, "shortseller_001", name, args, "the test", wall_ms())
            for _ in range(60):
                for reply in await pending.replies(500):
                    return reply
            raise AssertionError(f"no answer to {name}")
        finally:
            await links.close()

    async def heartbeat(self) -> dict[str, str]:
        """The bot's heartbeat."""
        links = RedisClients(self.servers.redis.settings())
        try:
            return await links.database(0).hgetall("heartbeat:shortseller_001")
        finally:
            await links.close()

    async def status(self) -> str | None:
        """The state that the listener reports for the bot's live data."""
        links = RedisClients(self.servers.redis.settings())
        try:
            found: str | None = await links.database(0).hget("status:shortseller_001", "state")
            return found
        finally:
            await links.close()

    async def alerts(self, kind: str) -> list[str]:
        """The texts of the bot's alerts of one kind, oldest first."""
        links = RedisClients(self.servers.redis.settings())
        try:
            rows = await raised_alerts(links.shared)
            return [row["text"] for row in rows if row["key"] == f"shortseller_001:{kind}"]
        finally:
            await links.close()

    async def told(self, key: str) -> list[str]:
        """The levels of what the stream of alerts has under a key, oldest first; `over` for the end of trouble."""
        links = RedisClients(self.servers.redis.settings())
        try:
            return [row["level"] for _, row in await links.shared.xrange("alerts") if row["key"] == key]
        finally:
            await links.close()

    async def lasting(self, key: str) -> bool:
        """Whether the newest alert of this key lasts until its end is told."""
        links = RedisClients(self.servers.redis.settings())
        try:
            return [row["lasting"] for row in await raised_alerts(links.shared) if row["key"] == key][-1] == "1"
        finally:
            await links.close()

    async def empty_redis(self) -> None:
        """Delete everything in Redis."""
        await self._empty_redis()

    async def fills(self, key: BotKey = BOTS[0]) -> list[dict[str, Any]]:
        """The account's fills on the exchange, oldest first, without funding."""
        return [row for row in await self.simulator.ledger(key.key) if row["execType"] != "Funding"]

    async def position(self, symbol: str = "BTCUSDT", key: BotKey = BOTS[0]) -> dict[str, Any] | None:
        """The account's open position in a symbol on the exchange."""
        rows = (await self.simulator.account(key.key))["positions"]
        return next((row for row in rows if row["symbol"] == symbol), None)

    async def fault(self, **what: object) -> None:
        """Inject a fault into the exchange."""
        await sim(self, "POST", "/_sim/faults", **what)

    async def fault_free(self) -> None:
        """Remove all faults."""
        async with httpx.AsyncClient(verify=PLAIN, base_url=self.simulator.url) as client:
            (await client.delete("/_sim/faults")).raise_for_status()

    async def guard_row(self, name: str, bot_id: str) -> Any:
        """One row of trading.guard_state, None when there is none."""
        connection = await connect(self.database(), "test")
        try:
            return await connection.fetchval(
                "SELECT state FROM trading.guard_state JOIN trading.accounts USING (account_id) WHERE name = $1 AND bot_id = $2",
                name,
                bot_id,
            )
        finally:
            await connection.close()

    async def liquidate(self, key: BotKey = BOTS[0]) -> None:
        """Liquidate every position of the account."""
        await sim(self, "POST", "/_sim/liquidate", key=key.key)

    async def state_row(self, name: str) -> Any:
        """One row of trading.strategy_state, None when there is none."""
        connection = await connect(self.database(), "test")
        try:
            return await connection.fetchval("SELECT state FROM trading.strategy_state WHERE name = $1", name)
        finally:
            await connection.close()

    async def rows(self, text: str, *arguments: object) -> list[dict[str, Any]]:
        """Rows of a query, as the owner."""
        connection = await connect(self.database(), "test")
        try:
            return [dict(row) for row in await connection.fetch(text, *arguments)]
        finally:
            await connection.close()

    async def orders(self, key: BotKey = BOTS[0]) -> list[dict[str, Any]]:
        """The account's open orders that nobody but a user made: resting entries and targets."""
        rows = (await self.simulator.account(key.key))["orders"]
        return [row for row in rows if row["createType"] == "CreateByUser"]

    async def sql(self, text: str, *arguments: object) -> None:
        """Run SQL as the owner of the database."""
        connection = await connect(self.database(), "test")
        try:
            await connection.execute(text, *arguments)
        finally:
            await connection.close()

    def process(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Process:
        """A process that is stopped with the harness; not started yet."""
        process = Process(name, arguments, environment, self.folder)
        self.processes.append(process)
        return process


def trades(process: Process) -> list[dict[str, Any]]:
    """The trade events that a bot has logged so far: entered and exited, in order."""
    rows = []
    for line in process.said().splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            if row.get("event") in {"entered", "exited"}:
                rows.append(row)
    return rows


async def sim(stage: BotHarness, method: str, path: str, /, **body: object) -> dict[str, Any]:
    """A control call of the simulated exchange."""
    async with httpx.AsyncClient(verify=PLAIN, base_url=stage.simulator.url, timeout=600) as client:
        answer = await client.request(method, path, json=body if method == "POST" else None)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

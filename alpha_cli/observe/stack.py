"""The processes of `alpha observe`: listener, trade sync and dashboard, with PostgreSQL and Redis of this machine."""

import asyncio
import os
import secrets
import sys
from pathlib import Path

from alpha.bybit.session import Credentials
from alpha.config.env_file import quoted
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Fatal, Misconfigured
from alpha.postgres.migrate import ROLES, MigrateSettings
from alpha.postgres.migrate import run as migrate
from alpha.registry import Bot, Registry, load_registry
from demo.lock import DemoLock
from demo.ports import free_port, require_free
from demo.postgres import EmbeddedPostgres
from demo.processes import Process, Spec, State, Supervisor, base_environment
from demo.redis import EmbeddedRedis
from demo.settings import DemoSecrets, secrets_of

LISTENER, SYNC, DASHBOARD = "websocket_listener", "trade_sync_service", "dashboard"
_ROLE = {LISTENER: "alpha_listener", SYNC: "alpha_sync", DASHBOARD: "alpha_readonly"}
#: The account stands in a list of its own: the bots of the checkout have nothing to do with it.
_REGISTRY = """[[bot]]
id = "observed"
name = "Observed"
tag = "o"
redis_db = 0
prefix = "OBSERVED"
container = "observed"
folder = "observed"
entry = "none.py"
strategy = "none:None"
"""


class ObserveStack:
    """One account's stores and processes, in a folder that belongs to it."""

    def __init__(
        self, folder: Path, root: Path, exchange: dict[str, str], *, dashboard_port: int | None = None
    ) -> None:
        """`exchange` holds the variables that choose the exchange (BYBIT_...), as the services read them."""
        self.folder = folder.absolute()
        self._root = root
        self._exchange = exchange
        if dashboard_port is not None:
            require_free(dashboard_port, "--port")
        self._dashboard_port = dashboard_port or free_port()
        self._dashboard_token = secrets.token_urlsafe(16)
        self.supervisor = Supervisor(self.folder / "logs", root)
        self._lock: DemoLock | None = None
        self._secrets: DemoSecrets | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._redis: EmbeddedRedis | None = None
        self._bots_file = self.folder / "bots.toml"

    @property
    def bot(self) -> Bot:
        """The one account, as the services know it."""
        return self.registry.bots[0]

    @property
    def registry(self) -> Registry:
        """The list with that one account."""
        return load_registry(self._bots_file)

    @property
    def dashboard_url(self) -> str:
        """URL of the dashboard, including its token."""
        return f"http://127.0.0.1:{self._dashboard_port}/?token={self._dashboard_token}"

    @property
    def settings_file(self) -> Path:
        """The file for `alpha --env-file`: asks this record from another terminal. Holds no exchange key."""
        return self.folder / "alpha.env"

    async def open(self, key: Credentials, *, history_days: int) -> None:
        """Start the stores, then listener and sync. Raises Misconfigured or Fatal when a part cannot start."""
        self._lock = lock = DemoLock(self.folder, "alpha observe", "alpha observe --state /path")
        self.supervisor.inherited = (lock.children,)
        self._bots_file.write_text(_REGISTRY, encoding="utf-8")
        self._secrets = known = secrets_of(self.folder, ROLES, Registry(()))
        self._postgres = postgres = EmbeddedPostgres(self.folder / "postgres", known.postgres)
        self._redis = stores = EmbeddedRedis(self.folder / "redis", known.redis)
        await asyncio.to_thread(self._end_the_former, lock)
        await asyncio.gather(asyncio.to_thread(postgres.start), asyncio.to_thread(stores.start))
        owner = {**postgres.environment(), "bots_file": str(self._bots_file)}
        owner |= {f"{role}_db_password": password for role, password in known.roles.items()}
        await migrate(load(MigrateSettings, env_file=None, **{name.lower(): value for name, value in owner.items()}))
        held = {self.bot.read_key_variable: key.key, self.bot.read_secret_variable: key.secret}
        self._add(LISTENER, held | {"LISTENER_HISTORY_DAYS": str(history_days)})
        self._add(SYNC, self.sync_environment(key, history_days), wanted=False)
        self._add(DASHBOARD, {"DASHBOARD_PORT": str(self._dashboard_port), "DASHBOARD_TOKEN": self._dashboard_token})
        shown = self.environment_of("alpha_readonly")
        wanted = [name for name in shown if name.startswith(("POSTGRES_", "REDIS_", "BYBIT_", "ALPHA_BOTS"))]
        self.settings_file.touch(mode=0o600)
        self.settings_file.write_text("".join(f"{name}={quoted(shown[name])}\n" for name in wanted), encoding="utf-8")

    def database(self) -> DatabaseSettings:
        """The owner's connection to the record."""
        if self._postgres is None:
            raise Fatal("The stores are not open.")
        return self._postgres.settings()

    def sync_environment(self, key: Credentials, history_days: int) -> dict[str, str]:
        """What the trade sync reads besides its stores."""
        return {
            self.bot.read_key_variable: key.key,
            self.bot.read_secret_variable: key.secret,
            "SYNC_HISTORY_DAYS": str(max(1, history_days)),
        }

    def environment_of(self, role: str) -> dict[str, str]:
        """Environment of a process that uses database role `role`."""
        if self._postgres is None or self._redis is None or self._secrets is None:
            raise Fatal("The stores are not open.")
        return {
            **base_environment(),
            **self._postgres.environment(),
            **self._redis.environment(),
            "POSTGRES_USER": role,
            "POSTGRES_PASSWORD": self._secrets.roles[role],
            **self._exchange,
            "ALPHA_BOTS_FILE": str(self._bots_file),
            # ignore a .env of the checkout: its keys are of other accounts
            "ALPHA_ENV_FILE": os.devnull,
            "LOG_FORMAT": "json",
            "PYTHONPATH": str(self._root),
            "PYTHONUNBUFFERED": "1",
        }

    def health_url(self, name: str) -> str:
        """Where a service says how far it is."""
        return f"http://127.0.0.1:{self.supervisor.processes[name].spec.health_port}/healthz"

    def require_alive(self, name: str) -> None:
        """Raise Misconfigured with the last words of a process that has ended."""
        process: Process = self.supervisor.processes[name]
        if process.state in {State.RESTARTING, State.EXITED} and process.wanted.is_set():
            said = self.supervisor.tail(name, 3).strip() or f"it said nothing; see {process.log_path}"
            raise Misconfigured(f"The {name} did not start: {said}")

    async def close(self) -> None:
        """Stop everything in order. The record is kept."""
        if self._lock is None:
            return
        await self.supervisor.close([SYNC, DASHBOARD, LISTENER])
        stores = [store for store in (self._postgres, self._redis) if store is not None]
        await asyncio.gather(*(asyncio.to_thread(store.stop) for store in stores))
        self._lock.release()
        self._lock = None

    def _end_the_former(self, lock: DemoLock) -> None:
        """End what a killed run left."""
        for store in (self._postgres, self._redis):
            if store is not None:
                store.take_over()
        lock.wait_for_the_former()

    def _add(self, name: str, more: dict[str, str], *, wanted: bool = True) -> None:
        port = free_port()
        environment = {**self.environment_of(_ROLE[name]), "HEALTH_PORT": str(port), **more}
        self.supervisor.add(Spec(name, "service", [sys.executable, "-m", name], environment, port), wanted=wanted)

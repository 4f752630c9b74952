"""The parts of the demo: servers, simulated exchange, services and bots, with their settings."""

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from alpha.config.env_file import quoted
from alpha.config.loader import load
from alpha.errors import Misconfigured
from alpha.postgres.migrate import ROLES, MigrateSettings
from alpha.postgres.migrate import run as migrate
from alpha.registry import Bot, Registry, check_folders
from alpha.services import RESIDENT, SERVICES, DemoStart, Keys, Service
from demo.api import SupervisorApi
from demo.lock import DemoLock
from demo.model import TAKER_FEE, TRAINED_BARS, DemoModel, put_on_record
from demo.ports import free_port, require_free
from demo.postgres import EmbeddedPostgres
from demo.processes import Spec, Supervisor, base_environment
from demo.redis import EmbeddedRedis
from demo.settings import DemoSettings, secrets_of
from demo.speed_control import SLOWEST

EXCHANGE = "exchange_simulator"
#: Limit for Unix socket paths (the OS allows 107 on Linux, 103 on macOS).
_LONGEST_SOCKET_PATH = 100
#: The generated market: the symbols ShortSeller trades, and others with surges and breakouts.
SYMBOLS = (
    *("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "ADAUSDT", "AVAXUSDT", "LINKUSDT", "DOTUSDT", "NEARUSDT"),
    *("LTCUSDT", "UNIUSDT", "AAVEUSDT", "ATOMUSDT", "FILUSDT", "INJUSDT"),
)
#: Only with DEMO_TICKS.
TICK_RECORDER = "tick_recorder"
#: Only with DEMO_ANALYSIS, the default.
ANALYSIS = "analysis_service"
#: Only with DEMO_MODEL.
MODEL_SERVER = "model_server"
#: With these the demo's dashboard steers, too.
STEERING_VARIABLES = ("DASHBOARD_STEERING", "DASHBOARD_PUBLIC_URL")
TELEGRAM_VARIABLES = "C2_"


class Addresses(msgspec.Struct, frozen=True):
    """Addresses of a running demo, read by `make psql` and `alpha status`."""

    postgres_port: int
    redis_port: int
    exchange_url: str
    bot_control_url: str


class DemoStack:
    """The whole demo. `open` starts it in order, `close` stops it in order and keeps the data."""

    def __init__(self, settings: DemoSettings, registry: Registry, root: Path, model: DemoModel | None = None) -> None:
        """`model`: what `demo.model` prepared; `registry` is then its own."""
        self._settings = settings
        self.model = model
        self._bots_file = root / "bots.toml" if model is None else model.bots_file
        self.registry = registry
        self._root = root
        # Each market has its own exchange, account and history: they must not mix.
        self.folder = settings.demo_state.absolute() / _market_name(settings)
        self.secrets = secrets_of(self.folder, ROLES, registry)
        self.postgres = EmbeddedPostgres(
            self.folder / "postgres", self.secrets.postgres, _port(settings.demo_postgres_port, "DEMO_POSTGRES_PORT")
        )
        self.redis = EmbeddedRedis(
            self.folder / "redis",
            self.secrets.redis,
            _port(settings.demo_redis_port, "DEMO_REDIS_PORT"),
            registry.databases,
        )
        self.exchange_port = _port(settings.demo_exchange_port, "DEMO_EXCHANGE_PORT")
        self.exchange_url = f"http://127.0.0.1:{self.exchange_port}"
        self._dashboard_port = _port(settings.demo_dashboard_port, "DEMO_DASHBOARD_PORT")
        self._model_port = free_port()
        self._dashboard_token = secrets.token_urlsafe(16)
        self.supervisor = Supervisor(self.folder / "logs", root)
        self._lock: DemoLock | None = None
        self._socket = _socket_path(self.folder)
        self._api = SupervisorApi(self.supervisor, self._socket)

    @property
    def dashboard_url(self) -> str:
        """URL of the dashboard, including its token."""
        return f"http://127.0.0.1:{self._dashboard_port}/?token={self._dashboard_token}"

    async def open(self) -> None:
        """Start everything. Raises Misconfigured or Fatal with one sentence when a part cannot start."""
        check_folders(self.registry, self._root)
        self._lock = lock = DemoLock(self.folder.parent)
        self.supervisor.inherited = (lock.children,)
        await asyncio.to_thread(self._end_the_former, lock)
        # The exchange needs no database: it generates its market while PostgreSQL creates its data folder.
        self.supervisor.add(self._exchange())
        await asyncio.gather(asyncio.to_thread(self.postgres.start), asyncio.to_thread(self.redis.start))
        await migrate(
            load(
                MigrateSettings,
                env_file=None,
                **{name.lower(): value for name, value in self._owner_environment().items()},
            )
        )
        if self.model is not None:
            await put_on_record(self.postgres.settings(), self.model)
        chosen = {
            TICK_RECORDER: self._settings.demo_ticks,
            ANALYSIS: self._settings.demo_analysis,
            MODEL_SERVER: self.model is not None,
        }
        without = {name for name, wanted in chosen.items() if not wanted}
        for service in SERVICES:
            if service.demo is DemoStart.NEVER or service.name in without:
                continue
            if (self._root / service.name / "__main__.py").exists():
                self.supervisor.add(self._service(service), wanted=service.demo is DemoStart.BEFORE_BOTS)
        for container, bots in self.registry.containers.items():
            if (self._root / bots[0].folder / bots[0].entry).exists():
                self.supervisor.add(self._bots(container, bots))
        await self._api.open()
        addresses = Addresses(self.postgres.port, self.redis.port, self.exchange_url, f"supervisor://{self._socket}")
        note = self.folder.parent / "running.json"
        note.touch(mode=0o600)
        note.write_bytes(msgspec.json.encode({"folder": str(self.folder), **msgspec.to_builtins(addresses)}))
        # Lets `alpha --env-file` query and control this demo from another terminal.
        operator = self.environment_of("alpha_c2")
        wanted = [
            name for name in operator if name.startswith(("POSTGRES_", "REDIS_", "BOT_CONTROL", "BYBIT_", "ALPHA_BOTS"))
        ]
        settings = self.folder.parent / "alpha.env"
        settings.touch(mode=0o600)
        settings.write_text("".join(f"{name}={quoted(operator[name])}\n" for name in wanted), encoding="utf-8")

    def _end_the_former(self, lock: DemoLock) -> None:
        """End leftovers of a demo whose supervisor got SIGKILL: servers keep running, services end after a moment."""
        self.postgres.take_over()
        self.redis.take_over()
        lock.wait_for_the_former()

    async def start_late(self) -> None:
        """Start the services that wait for the bots."""
        for service in SERVICES:
            if service.demo is DemoStart.AFTER_BOTS and service.name in self.supervisor.processes:
                await self.supervisor.start(service.name)

    async def close(self) -> None:
        """Stop everything that was started: bots first, exchange and servers last. The data is kept."""
        if self._lock is None:
            return  # belongs to another demo
        (self.folder.parent / "running.json").unlink(missing_ok=True)
        await self._api.close()
        if self._socket.parent != self.folder:
            shutil.rmtree(self._socket.parent, ignore_errors=True)
        bots = list(self.registry.containers)
        await self.supervisor.close([*bots, *reversed(RESIDENT), EXCHANGE])
        await asyncio.gather(asyncio.to_thread(self.postgres.stop), asyncio.to_thread(self.redis.stop))
        self._lock.release()
        self._lock = None

    def environment_of(self, role: str) -> dict[str, str]:
        """Environment of a process that uses database role `role`."""
        return {
            **base_environment(),
            **self.postgres.environment(),
            **self.redis.environment(),
            "POSTGRES_USER": role,
            "POSTGRES_PASSWORD": self.secrets.roles[role] if role else "",
            "BYBIT_REST_URL": self.exchange_url,
            "BYBIT_WS_URL": self.exchange_url.replace("http://", "ws://"),
            "BOT_CONTROL_URL": f"supervisor://{self._socket}",
            "ALPHA_BOTS_FILE": str(self._bots_file),
            # ignore a .env with real keys in the checkout
            "ALPHA_ENV_FILE": os.devnull,
            "LOG_FORMAT": "json",
            "PYTHONPATH": str(self._root),
            "PYTHONUNBUFFERED": "1",
        }

    def _owner_environment(self) -> dict[str, str]:
        passwords = {f"{role}_db_password": password for role, password in self.secrets.roles.items()}
        return {**self.postgres.environment(), **passwords, "alpha_bots_file": str(self._bots_file)}

    def _exchange(self) -> Spec:
        deposit = self._settings.demo_deposit_usdt
        keys, reading = self.secrets.keys, self.secrets.reading
        accounts = [f"{key}:{secret}:{deposit}" for key, secret in keys.values()]
        accounts += [f"{key}:{secret}:0:of={keys[bot][0]},read-only" for bot, (key, secret) in reading.items()]
        arguments = ["--port", str(self.exchange_port), "--speed", str(min(SLOWEST, self._settings.demo_speed))]
        if self.model is not None:
            arguments += ["--replay", str(self.model.market), "--warmup", str(TRAINED_BARS), "--taker-fee", TAKER_FEE]
        elif self._settings.demo_replay is not None:
            folder = self._settings.demo_replay.absolute()
            # the tick recorder's folder has one of its own for each kind of rows; a folder of candles has files alone
            if (folder / "trades").is_dir():
                history = self._settings.demo_history
                before = (
                    ["--history", str(history.absolute())] if history else ["--warmup", str(warmup_minutes(folder))]
                )
                arguments += ["--ticks", str(folder), *before]
            else:
                arguments += ["--replay", str(folder)]
        else:
            arguments += ["--seed", str(self._settings.demo_seed), "--symbols", ",".join(SYMBOLS)]
        arguments += ["--data", str(self.folder / "exchange.db")]
        return Spec(
            EXCHANGE,
            "service",
            [sys.executable, "-m", EXCHANGE, *arguments],
            {
                **base_environment(),
                "PYTHONPATH": str(self._root),
                "SIM_ACCOUNTS": " ".join(accounts),
                "PYTHONUNBUFFERED": "1",
            },
        )

    def _service(self, service: Service) -> Spec:
        port, name = free_port(), service.name
        environment = {**self.environment_of(service.role), "HEALTH_PORT": str(port), **self._keys(service.keys)}
        if name == MODEL_SERVER and self.model is not None:
            environment |= {"MODELS_DIR": str(self.model.models), "MODELS_PORT": str(self._model_port)}
        if name == "telegram_manager":
            environment |= {key: value for key, value in os.environ.items() if key.startswith(TELEGRAM_VARIABLES)}
            for bot in self.registry.bots:
                prefix = f"{bot.prefix}_TELEGRAM_"
                environment |= {key: value for key, value in os.environ.items() if key.startswith(prefix)}
        if name == "trade_sync_service":
            # One wall-clock hour is many days of this market.
            environment |= {"SYNC_INTERVAL_S": "20", "SYNC_HISTORY_DAYS": "30"}
        if name == "websocket_listener":
            # The account is as old as the demo: no history to backfill before the first start counts as synced.
            environment |= {"LISTENER_HISTORY_DAYS": "1"}
        if name == ANALYSIS:
            # The market runs thousands of times faster than real time: longer candles only.
            environment |= {"ANALYSIS_FILE": str(self._root / "demo" / "analysis.toml")}
            environment |= {key: value for key, value in os.environ.items() if key.startswith("ANALYSIS_")}
        if name == TICK_RECORDER:
            environment |= {"TICKS_DIR": str(self.folder / "ticks")}
            environment |= {key: value for key, value in os.environ.items() if key.startswith(("TICKS_", "INFLUX_"))}
        if name == "dashboard":
            environment |= {"DASHBOARD_PORT": str(self._dashboard_port), "DASHBOARD_TOKEN": self._dashboard_token}
            environment |= {"DASHBOARD_LOGS_DIR": str(self.folder / "logs")}
            environment |= {"ALPHA_DASHBOARD_DB_PASSWORD": self.secrets.roles["alpha_dashboard"]}
        if name in ("dashboard", "telegram_manager"):
            environment |= {key: value for key, value in os.environ.items() if key in STEERING_VARIABLES}
        return Spec(name, "service", [sys.executable, "-m", name], environment, port)

    def _bots(self, container: str, bots: Sequence[Bot]) -> Spec:
        port = free_port()
        environment = {**self.environment_of("alpha_strategy"), "HEALTH_PORT": str(port)}
        if len(bots) > 1:
            environment["ALPHA_CONTAINER"] = container
        for bot in bots:
            environment[bot.key_variable], environment[bot.secret_variable] = self.secrets.keys[bot.id]
            if self.model is not None:
                environment["MODEL_SERVER_URL"] = f"http://127.0.0.1:{self._model_port}"
                environment[f"{bot.prefix}_THRESHOLD"] = repr(self.model.manifest.threshold)
            if bot.prefix == "MOMENTUM" and self._settings.demo_replay is None:
                environment["MOMENTUM_SYMBOLS"] = json.dumps(SYMBOLS)
        entry = [str(self._root / bots[0].folder / bots[0].entry)] if len(bots) == 1 else ["-m", "bot_runner"]
        return Spec(container, "bot", [sys.executable, *entry], environment, port)

    def _keys(self, seen: Keys) -> Mapping[str, str]:
        """The bots' exchange keys given to a service: trading keys, read-only keys, or none."""
        held: dict[str, str] = {}
        for bot in self.registry.bots:
            if Keys.TRADING in seen:
                held[bot.key_variable], held[bot.secret_variable] = self.secrets.keys[bot.id]
            if Keys.READING in seen:
                held[bot.read_key_variable], held[bot.read_secret_variable] = self.secrets.reading[bot.id]
        return held


def _socket_path(folder: Path) -> Path:
    """Socket path of the supervisor: in the demo's folder, or in a temporary folder where that path is too long."""
    path = folder / "supervisor.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    return Path(tempfile.mkdtemp(prefix="alpha-demo-")) / path.name


def warmup_minutes(folder: Path) -> int:
    """The part of recorded ticks that is history for the bots, so that they trade: a half of its whole hours, 50 hours at most."""
    hours = {(path.parent.name, path.name[:2]) for path in folder.glob("trades/symbol=*/date=*/*.parquet")}
    return min(50 * 60, max(0, len(hours) - 2) * 60 // 2)


def _market_name(settings: DemoSettings) -> str:
    if settings.demo_model:
        return f"model-{settings.demo_model}"
    if settings.demo_replay is None:
        return f"generated-{settings.demo_seed}"
    folder = settings.demo_replay.absolute()
    if not folder.is_dir():
        raise Misconfigured(
            f"DEMO_REPLAY names {settings.demo_replay}, which is not a folder of candle files or recorded ticks."
        )
    return f"replay-{folder.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:6]}"


def _port(wanted: int | None, setting: str) -> int:
    if wanted is None:
        return free_port()
    require_free(wanted, setting)
    return wanted

"""The dependencies of all operations: registry, live state, history, bot control and clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
from pydantic import Field, field_validator

from alpha import clock
from alpha.config.loader import Settings
from alpha.config.services import DatabaseSettings, RedisSettings, RegistrySettings
from alpha.errors import Rejected, Retry
from alpha.live_state.connect import REDIS_UNAVAILABLE, RedisClients
from alpha.model.timestamp import at
from alpha.postgres.database import POSTGRES_ERRORS, Connection, Pool, create_pool, explained
from alpha.registry import Bot, Registry, load_registry
from bot_control import BotControl, BotControlSettings, open_control

#: A history query that takes longer than this is cancelled.
QUERY_LIMIT_S = 20.0


class OperationsSettings(DatabaseSettings, RedisSettings, BotControlSettings, RegistrySettings):
    """The settings of the operator's tools."""

    alpha_timezone: str = Field("UTC", description="the operator's time zone, for example Europe/Berlin")

    @field_validator("alpha_timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{name} is not a known time zone (examples: UTC, Europe/Berlin)") from None
        return name


class History:
    """PostgreSQL access for reading and for the command centre's own rows; connects on the first query."""

    def __init__(self, settings: DatabaseSettings, application: str, connections: int = 4) -> None:
        self._settings = settings
        self._application = application
        self._connections = connections
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Yield a connection. Retry or Misconfigured if PostgreSQL is unavailable or refuses; Rejected for a value."""
        try:
            async with (await self._open()).acquire(timeout=QUERY_LIMIT_S) as connection:
                yield connection
        except asyncpg.UndefinedTableError as fault:
            raise Retry(f"The database is not up to date ({fault}). Run: python -m alpha.postgres.migrate.") from None
        except asyncpg.DataError as fault:
            # the value cannot be stored or compared; retrying would not help
            raise Rejected(f"PostgreSQL refuses a value: {str(fault).splitlines()[0][:200]}.") from None
        except POSTGRES_ERRORS as fault:
            raise explained(fault, self._settings) from None

    async def _open(self) -> Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await create_pool(
                    self._settings,
                    self._application,
                    min_size=0,
                    max_size=self._connections,
                    command_timeout_s=QUERY_LIMIT_S,
                    planned_anew=True,
                )
            return self._pool

    async def rows(self, sql: str, *arguments: object) -> list[Any]:
        """Return the rows of a query."""
        async with self.connection() as connection:
            found: list[Any] = await connection.fetch(sql, *arguments)
            return found

    async def value(self, sql: str, *arguments: object) -> Any:
        """The first column of the first row, or None."""
        async with self.connection() as connection:
            return await connection.fetchval(sql, *arguments)

    async def close(self) -> None:
        """Close the connections."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None


@dataclass(frozen=True, slots=True)
class Operations:
    """The dependencies passed to every operation. `wall_ms` is the clock for liveness and expiry."""

    registry: Registry
    live: RedisClients
    history: History
    control: BotControl
    zone: tzinfo = UTC
    wall_ms: Callable[[], int] = clock.wall_ms
    #: The settings of this process, for /config.
    settings: Settings | None = None

    def wall_now(self) -> datetime:
        """Wall-clock time, aware UTC."""
        return at(self.wall_ms())

    def bots(self, bot: Bot | None) -> tuple[Bot, ...]:
        """This bot alone, or all bots if None."""
        return self.registry.bots if bot is None else (bot,)


@asynccontextmanager
async def open_operations(settings: OperationsSettings, application: str) -> AsyncIterator[Operations]:
    """Open the real Redis, PostgreSQL and bot control of `settings`; closed on exit."""
    registry = load_registry(settings.alpha_bots_file)
    live = RedisClients(settings)
    history = History(settings, application)
    control = open_control(settings, registry)
    try:
        yield Operations(registry, live, history, control, ZoneInfo(settings.alpha_timezone), settings=settings)
    finally:
        await live.close()
        await history.close()
        await control.close()


@asynccontextmanager
async def redis_faults(live: RedisClients) -> AsyncIterator[None]:
    """Turn an unavailable Redis into Retry with one sentence."""
    try:
        yield
    except REDIS_UNAVAILABLE:
        raise Retry(f"Redis does not answer at {live.address}: start it, or check REDIS_HOST and REDIS_PORT.") from None

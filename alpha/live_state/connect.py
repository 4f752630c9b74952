"""Connections to Redis: one client per database, created once, shared by a process."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any, cast

from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry as RedisRetry
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from alpha.config.services import RedisSettings
from alpha.errors import Misconfigured, Retry
from alpha.live_state.client import TextRedis
from alpha.registry import SHARED_DB, Bot

#: The errors raised while Redis is unavailable; all of them are transient.
REDIS_UNAVAILABLE = (RedisConnectionError, RedisTimeoutError, OSError)


#: A command to a leader that Sentinels watch must be answered within this time; no reader blocks for longer.
_LEADER_ANSWERS_S = 3.0
#: After so many seconds a connection under Sentinel asks who leads before it is used.
_ASK_AGAIN_S = 5.0


class _TimeoutSend:
    """Sends as redis-py does, but within `asyncio.timeout`.

    redis-py uses `asyncio.wait_for`, which before Python 3.12 swallows a cancellation when the bytes have just been sent:
    the task that was to end went on.
    """

    async def send_packed_command(self: Any, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send one command, reconnecting first where needed; a connection whose send failed is closed."""
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        if check_health:
            await self.check_health()
        try:
            async with asyncio.timeout(self.socket_timeout):
                if isinstance(command, str):
                    command = command.encode()
                await self._send_packed_command([command] if isinstance(command, bytes) else command)
        except TimeoutError:
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout writing to socket") from None
        except OSError as fault:
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"Error while writing to socket. {fault}.") from fault
        except BaseException:
            await self.disconnect(nowait=True)  # part of the command may have been sent
            raise


class _Connection(_TimeoutSend, Connection):
    pass


class _LeaderConnection(_TimeoutSend, SentinelManagedConnection):
    """A connection that stays with whoever leads, also where the former leader goes on answering.

    A Redis that is cut off from its replicas and from the Sentinels refuses writes after a while, and answers reads for ever.
    """

    _asked_s = 0.0

    async def check_health(self) -> None:
        """Before a command: ask the Sentinels again now and then, and go over to another leader."""
        await cast(Any, super()).check_health()
        if time.monotonic() - self._asked_s < _ASK_AGAIN_S:
            return
        self._asked_s = time.monotonic()
        try:
            leader = await self.connection_pool.get_master_address()
        except REDIS_UNAVAILABLE:
            return  # nobody knows better than this connection
        if leader != (self.host, self.port):
            await self.disconnect()
            await cast(Any, self).connect()

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Its answer. Raises RedisConnectionError instead of a refusal to write without replicas."""
        try:
            return await super().read_response(*args, **options)
        except ResponseError as fault:
            if "NOREPLICAS" not in str(fault):
                raise
            await self.disconnect()
            raise RedisConnectionError("The Redis that led has no replicas and takes no writes.") from None


class RedisClients:
    """The Redis clients of one process, by database. Strings are decoded to `str`."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._clients: dict[int, TextRedis] = {}
        self._writers: list[TextRedis] = []
        # Each connection asks the Sentinels which Redis leads, so a failover needs no restart.
        self._sentinel = (
            cast(Any, Sentinel)(settings.sentinels, socket_connect_timeout=1.0, socket_timeout=1.0)
            if settings.sentinels
            else None
        )

    @property
    def address(self) -> str:
        """Host and port, or the Sentinels, for messages."""
        if self._sentinel is not None:
            return f"{self._settings.redis_sentinels} ({self._settings.redis_sentinel_name})"
        return f"{self._settings.redis_host}:{self._settings.redis_port}"

    def database(self, number: int) -> TextRedis:
        """The client of database `number`."""
        client = self._clients.get(number)
        if client is None:
            client = self._clients[number] = self._client(number, socket_timeout=10.0, health_check_interval=15)
        return client

    def writer(self, number: int) -> TextRedis:
        """A new client of database `number` for one writer, with its own connection and one call at a time.

        It sets no timeout itself, because that costs every call several event-loop iterations before anything is sent:
        the caller must use `asyncio.timeout`; a cancelled call closes the connection, and the next one reopens it.
        """
        client = self._client(number, socket_timeout=None, single_connection_client=True)
        self._writers.append(client)
        return client

    def _client(self, number: int, *, single_connection_client: bool = False, **options: Any) -> TextRedis:
        common: dict[str, Any] = {
            "db": number,
            "username": self._settings.redis_username,
            "password": self._settings.redis_password.get_secret_value(),
            "decode_responses": True,
            "socket_connect_timeout": 2.0,
            "retry": RedisRetry(ExponentialBackoff(cap=0.2, base=0.02), 2),
            # the response types that TextRedis declares
            "protocol": 2,
            **options,
        }
        if self._sentinel is not None:
            # A leader that is paused closes nothing: each of its connections costs one timeout. Retries and pings on the same
            # connection would multiply it; the next command asks the Sentinels again.
            common |= {
                "retry": RedisRetry(NoBackoff(), 0),
                "health_check_interval": 0,
                "connection_class": _LeaderConnection,
            }
            if options.get("socket_timeout"):
                common["socket_timeout"] = _LEADER_ANSWERS_S
            return cast(TextRedis, self._sentinel.master_for(self._settings.redis_sentinel_name, **common))
        host, port = self._settings.redis_host, self._settings.redis_port
        client = Redis(host=host, port=port, single_connection_client=single_connection_client, **common)
        client.connection_pool.connection_class = _Connection
        return cast(TextRedis, client)

    def of(self, bot: Bot) -> TextRedis:
        """The client of the bot's own database."""
        return self.database(bot.redis_db)

    @property
    def shared(self) -> TextRedis:
        """The client of the shared database 15."""
        return self.database(SHARED_DB)

    async def check(self) -> None:
        """Raise Misconfigured or Retry, naming address and setting, unless Redis answers and accepts our login."""
        try:
            await self.shared.ping()
        except AuthenticationError:
            raise Misconfigured(
                f"Redis at {self.address} refused user {self._settings.redis_username!r}: "
                "check REDIS_USERNAME and REDIS_PASSWORD."
            ) from None
        except REDIS_UNAVAILABLE:
            raise Retry(
                f"Redis does not answer at {self.address}: start it, or check REDIS_HOST and REDIS_PORT."
            ) from None
        except ResponseError as fault:
            raise Misconfigured(f"Redis at {self.address} refused: {fault}.") from None

    async def close(self) -> None:
        """Close all clients."""
        clients = (*self._clients.values(), *self._writers)
        await asyncio.gather(*(client.aclose() for client in clients), return_exceptions=True)
        if self._sentinel is not None:
            await asyncio.gather(*(each.aclose() for each in self._sentinel.sentinels), return_exceptions=True)
        self._clients.clear()
        self._writers.clear()

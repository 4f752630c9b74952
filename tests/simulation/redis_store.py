"""A Redis in memory behind redis-py's interface, as far as listener, bot and guard use it. Any call can fail."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from tests.simulation.faults import Outages

Entry = tuple[str, dict[str, str]]


class Stream:
    """Entries with increasing ids, and one consumer group."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.last = (0, 0)
        self.delivered: tuple[int, int] | None = None
        self.pending: dict[str, dict[str, str]] = {}

    def add(self, now_ms: int, fields: Mapping[str, str], most: int | None) -> str:
        """Append; returns the id."""
        self.last = (now_ms, 0) if now_ms > self.last[0] else (self.last[0], self.last[1] + 1)
        entry_id = f"{self.last[0]}-{self.last[1]}"
        self.entries.append((entry_id, dict(fields)))
        if most is not None and len(self.entries) > most:
            del self.entries[: len(self.entries) - most]
        return entry_id

    def after(self, entry_id: str, count: int | None) -> list[Entry]:
        """The entries after this id."""
        since = _order(entry_id)
        at = len(self.entries)
        while at and _order(self.entries[at - 1][0]) > since:
            at -= 1
        return self.entries[at:][:count]


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


class RedisServer:
    """The data of all databases, and who waits for news."""

    def __init__(self, outages: Outages, wall_ms: Callable[[], int]) -> None:
        self.outages = outages
        self.wall_ms = wall_ms
        self.databases: dict[int, dict[str, Any]] = {}
        self.run_id = 1
        self._news: dict[tuple[int, str], list[asyncio.Future[None]]] = {}

    def flush(self) -> None:
        """Everything is lost, as after a restart without its data."""
        self.databases.clear()
        self.run_id += 1

    def tell(self, number: int, key: str) -> None:
        """Wake who waits for this stream."""
        for waiting in self._news.pop((number, key), []):
            if not waiting.done():
                waiting.set_result(None)

    async def news(self, number: int, key: str, wait_s: float) -> None:
        """Wait until something is added to the stream, at most so long."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news.setdefault((number, key), []).append(waiting)
        await asyncio.wait({waiting}, timeout=wait_s)


class RedisClient:
    """One client of one database."""

    def __init__(self, server: RedisServer, number: int) -> None:
        self._server = server
        self._number = number

    @property
    def _data(self) -> dict[str, Any]:
        return self._server.databases.setdefault(self._number, {})

    async def _call(self, command: Callable[[], Any]) -> Any:
        before, after = await self._server.outages.meet(RedisConnectionError)
        if before is not None:
            raise before
        found = command()
        if after is not None:
            raise after
        return found

    async def execute(self, name: str, *args: Any, **more: Any) -> Any:
        """One command."""
        return await self._call(lambda: getattr(self, f"_{name}")(*args, **more))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(type(self), f"_{name}"):
            raise AttributeError(name)

        async def call(*args: Any, **more: Any) -> Any:
            return await self.execute(name, *args, **more)

        return call

    def pipeline(self, transaction: bool = True) -> "Pipeline":
        """Commands that are sent together."""
        return Pipeline(self)

    async def aclose(self) -> None:
        """Nothing is held."""

    # --- commands --------------------------------------------------------------------------------------------------

    def _ping(self) -> bool:
        return True

    def _info(self, section: str | None = None) -> dict[str, Any]:
        return {"run_id": str(self._server.run_id)}

    def _get(self, name: str) -> str | None:
        found: str | None = self._data.get(name)
        return found

    def _set(self, name: str, value: str, px: int | None = None, nx: bool = False) -> bool | None:
        if nx and name in self._data:
            return None
        self._data[name] = value
        return True

    def _delete(self, *names: str) -> int:
        return sum(self._data.pop(name, None) is not None for name in names)

    def _exists(self, *names: str) -> int:
        return sum(name in self._data for name in names)

    def _hget(self, name: str, key: str) -> str | None:
        found: str | None = self._data.get(name, {}).get(key)
        return found

    def _hgetall(self, name: str) -> dict[str, str]:
        return dict(self._data.get(name, {}))

    def _hset(
        self, name: str, key: str | None = None, value: str | None = None, mapping: Mapping[str, str] | None = None
    ) -> int:
        fields = self._data.setdefault(name, {})
        fields.update({**({} if key is None else {key: value}), **(mapping or {})})
        return 1

    def _sadd(self, name: str, *values: str) -> int:
        self._data.setdefault(name, set()).update(values)
        return len(values)

    def _srem(self, name: str, *values: str) -> int:
        self._data.get(name, set()).difference_update(values)
        return len(values)

    def _smembers(self, name: str) -> set[str]:
        return set(self._data.get(name, ()))

    def _rpush(self, name: str, *values: str) -> int:
        self._data.setdefault(name, []).extend(values)
        return len(self._data[name])

    def _lrange(self, name: str, start: int, end: int) -> list[str]:
        rows = self._data.get(name, [])
        return list(rows[start : None if end == -1 else end + 1])

    def _ltrim(self, name: str, start: int, end: int) -> bool:
        if name in self._data:
            self._data[name] = self._lrange(name, start, end)
        return True

    def _expire(self, name: str, seconds: int) -> bool:
        """Runs are shorter than anything lasts that expires in this way."""
        return name in self._data

    def _publish(self, channel: str, message: str) -> int:
        return 0

    def _stream(self, name: str) -> Stream:
        found: Stream = self._data.setdefault(name, Stream())
        return found

    def _xadd(self, name: str, fields: Mapping[str, str], maxlen: int | None = None, approximate: bool = True) -> str:
        entry_id = self._stream(name).add(self._server.wall_ms(), fields, maxlen)
        self._server.tell(self._number, name)
        return entry_id

    def _xlen(self, name: str) -> int:
        return len(self._stream(name).entries) if name in self._data else 0

    def _xrange(self, name: str, min: str = "-", max: str = "+", count: int | None = None) -> list[Entry]:  # noqa: A002
        return self._stream(name).entries[:count] if name in self._data else []

    def _xrevrange(self, name: str, max: str = "+", min: str = "-", count: int | None = None) -> list[Entry]:  # noqa: A002
        return self._stream(name).entries[::-1][:count] if name in self._data else []

    def _xinfo_stream(self, name: str) -> dict[str, Any]:
        if name not in self._data:
            raise ResponseError("no such key")
        stream = self._stream(name)
        first = stream.entries[0] if stream.entries else None
        return {"last-generated-id": f"{stream.last[0]}-{stream.last[1]}", "first-entry": first}

    def _xgroup_create(self, name: str, groupname: str, id: str = "$", mkstream: bool = False) -> bool:  # noqa: A002
        stream = self._stream(name)
        stream.delivered = (0, 0) if id == "0" else stream.last
        return True

    def _xack(self, name: str, groupname: str, *ids: str) -> int:
        return sum(self._stream(name).pending.pop(entry_id, None) is not None for entry_id in ids)

    async def xread(
        self, streams: Mapping[str, str], count: int | None = None, block: int | None = None
    ) -> list[tuple[str, list[Entry]]]:
        """News of one stream, waiting for it."""
        ((name, after),) = streams.items()
        found = await self._call(lambda: self._stream(name).after(after, count) if name in self._data else [])
        if not found and block is not None:
            await self._server.news(self._number, name, block / 1000)
            found = await self._call(lambda: self._stream(name).after(after, count) if name in self._data else [])
        return [(name, found)] if found else []

    async def xreadgroup(
        self,
        groupname: str,
        consumername: str,
        streams: Mapping[str, str],
        count: int | None = None,
        block: int | None = None,
    ) -> list[tuple[str, list[Entry]]]:
        """News for the group, or what was delivered and not acknowledged."""
        ((name, after),) = streams.items()

        def read() -> list[Entry]:
            if name not in self._data or self._stream(name).delivered is None:
                raise ResponseError("NOGROUP No such consumer group")
            stream = self._stream(name)
            if after != ">":
                return [(entry_id, row) for entry_id, row in stream.pending.items() if _order(entry_id) > _order(after)]
            assert stream.delivered is not None
            new = stream.after(f"{stream.delivered[0]}-{stream.delivered[1]}", count)
            if new:
                stream.delivered = _order(new[-1][0])
                stream.pending |= dict(new)
            return new

        found = await self._call(read)
        if not found and block is not None:
            await self._server.news(self._number, name, block / 1000)
            found = await self._call(read)
        return [(name, found)] if found else []

    # --- scripts ---------------------------------------------------------------------------------------------------

    def _script_load(self, script: str) -> str:
        for word, sha in (("apply.TAKE", "apply"), ("banned_until", "limit")):
            if word in script:
                return sha
        raise ResponseError(f"this Redis does not know the script {script[:80]!r}")

    def _eval(self, script: str, numkeys: int, *args: Any) -> Any:
        return self._evalsha(self._script_load(script), numkeys, *args)

    def _evalsha(self, sha: str, numkeys: int, *args: Any) -> Any:
        if sha == "limit":
            return [0, 0]
        if sha != "apply":
            raise NoScriptError("NOSCRIPT No matching script")
        now_ms = self._server.wall_ms()
        late_ms = max(0, now_ms - int(args[5] or now_ms))
        apply = Apply(self, str(args[0]), str(args[1]), int(args[2]), late_ms)
        return [now_ms, apply.run(msgspec.msgpack.decode(args[3]), proved=args[4] == "1")]


class Pipeline:
    """Commands sent together: all of them, or none."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._commands: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def command(*args: Any, **more: Any) -> "Pipeline":
            self._commands.append((name, args, more))
            return self

        return command

    async def execute(self) -> list[Any]:
        """Run them; the answers in order."""
        commands, self._commands = self._commands, []
        found: list[Any] = await self._client._call(
            lambda: [getattr(self._client, f"_{name}")(*args, **more) for name, args, more in commands]
        )
        return found


class Apply:
    """`websocket_listener/apply.lua` in Python; both are tested against the same expectations elsewhere."""

    def __init__(self, client: RedisClient, bot: str, token: str, kept: int, late_ms: int) -> None:
        self._redis = client
        self._bot = bot
        self._token = token
        self._kept = kept
        self._late_ms = late_ms
        self._ignored = 0

    def run(self, changes: list[list[str]], *, proved: bool) -> int:
        """Apply them in order; how many were ignored, or why none was taken."""
        status = f"status:{self._bot}"
        if changes[0][0] != "TAKE":
            writer = self._redis._hget(status, "writer")
            if writer != self._token:
                return -2 if writer else -1
        else:
            newest = self._redis._hget(status, "token")
            if not newest and not proved:
                return -3
            if newest and int(newest) > int(self._token):
                return -2
        for change in changes:
            getattr(self, change[0].lower())(*change[1:])
        return self._ignored

    def take(self) -> None:
        self._redis._hset(f"status:{self._bot}", mapping={"writer": self._token, "token": self._token})

    def event(self, kind: str, ts: str, data: str) -> None:
        self._redis._xadd(f"events:{self._bot}", {"type": kind, "ts_ms": ts, "data": data}, self._kept)

    def position(self, symbol: str, seq: str, updated: str, opened: str, data: str, *fields: str) -> None:
        known = self._redis._hgetall(f"position:{self._bot}:{symbol}")
        if known.get("seq"):
            before, now = (_number(known["seq"]), _number(known.get("updated_at"))), (_number(seq), _number(updated))
            if before > now:
                self._ignored += 1
                return
        self.force(symbol, seq, updated, opened, data, *fields)

    def force(self, symbol: str, seq: str, updated: str, opened: str, data: str, *fields: str) -> None:
        self._redis._hset(f"position:{self._bot}:{symbol}", mapping=_pairs(fields))
        change = self._redis._sadd if opened == "1" else self._redis._srem
        change(f"positions:{self._bot}", symbol)
        if data:
            self.event("position", updated or "0", data)

    def flatten(self, *symbols: str) -> None:
        for symbol in self._redis._smembers(f"positions:{self._bot}") - set(symbols):
            self._redis._hset(
                f"position:{self._bot}:{symbol}", mapping={"side": "", "size": "0", "unrealised_pnl": "0"}
            )
            self._redis._srem(f"positions:{self._bot}", symbol)

    def mark(self, key: str, *fields: str) -> None:
        if self._redis._exists(key):
            self._redis._hset(key, mapping=_pairs(fields))

    def order(self, order_id: str, updated: str, ts: str, row: str) -> None:
        known = self._redis._hget(f"orders:{self._bot}", order_id)
        if known is not None and _number(json.loads(known).get("updatedTime")) > _number(updated):
            self._ignored += 1
            return
        self._redis._hset(f"orders:{self._bot}", order_id, row)
        if ts:
            self.event("order", ts, row)

    def closed(self, order_id: str, updated: str, ts: str, row: str) -> None:
        self._redis._data.get(f"orders:{self._bot}", {}).pop(order_id, None)
        if ts:
            self.event("order", ts, row)

    def forget(self) -> None:
        self._redis._delete(f"orders:{self._bot}", f"wallet:{self._bot}", f"wallet:{self._bot}:USDC")

    def wallet(self, key: str, updated: str, data: str, *fields: str) -> None:
        if _number(self._redis._hget(key, "updated_at")) > _number(updated):
            self._ignored += 1
            return
        self._redis._hset(key, mapping=_pairs(fields))
        if data:
            self.event("wallet", updated, data)

    def status(self, *fields: str) -> None:
        self._redis._hset(f"status:{self._bot}", mapping={"late_ms": str(self._late_ms)} | _pairs(fields))


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return -1.0


def _pairs(fields: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(fields[::2], fields[1::2], strict=True))

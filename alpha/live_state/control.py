"""Commands to a bot or to the guard: a stream with ids, issuers, an expiry of 60 s and an answer to each command.

A consumer group delivers each command once; it is acknowledged with its answer. A command that was delivered but
not answered when its consumer died is redelivered first. An expired command is answered, never run.
"""

import uuid
from dataclasses import dataclass

import msgspec
from redis.exceptions import ResponseError

from alpha.live_state import keys
from alpha.live_state.client import TextRedis

EXPIRY_MS = 60_000
_GROUP = "taker"
_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Command:
    """One operator's command: name, arguments, issuer and expiry (wall clock)."""

    entry_id: str
    id: str
    name: str
    args: dict[str, str]
    issuer: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a command. `outcome` is "done", "refused", "expired" or "progress" (more to come)."""

    command_id: str
    outcome: str
    text: str


async def send_command(redis: TextRedis, target: str, name: str, args: dict[str, str], issuer: str, now_ms: int) -> str:
    """Append a command to `control:<target>`; returns its id, which identifies the answer."""
    command_id = uuid.uuid4().hex
    await redis.xadd(
        keys.control(target),
        {
            "id": command_id,
            "command": name,
            "args": msgspec.json.encode(args).decode(),
            "issuer": issuer,
            "expires_ms": str(now_ms + EXPIRY_MS),
        },
        maxlen=_KEPT,
        approximate=True,
    )
    return command_id


async def read_replies(redis: TextRedis, target: str, after: str, block_ms: int) -> tuple[list[Reply], str]:
    """The answers after entry `after` ("0-0" for all kept), and the entry to continue from."""
    answer = await redis.xread({keys.control_replies(target): after}, block=block_ms)
    rows = answer[0][1] if answer else []
    replies = [Reply(fields["id"], fields["outcome"], fields["text"]) for _, fields in rows]
    return replies, str(rows[-1][0]) if rows else after


class PendingCommand:
    """A command that was sent, and its answers. Redis may be away between two reads: nothing is missed."""

    def __init__(self, redis: TextRedis, target: str, command_id: str, after: str) -> None:
        self._redis = redis
        self._target = target
        self._after = after
        self.id = command_id

    @classmethod
    async def send(
        cls, redis: TextRedis, target: str, name: str, args: dict[str, str], issuer: str, now_ms: int
    ) -> "PendingCommand":
        """Append a command to `control:<target>`; answers are read from the newest there was before."""
        newest = await redis.xrevrange(keys.control_replies(target), count=1)
        after = str(newest[0][0]) if newest else "0-0"
        return cls(redis, target, await send_command(redis, target, name, args, issuer, now_ms), after)

    async def replies(self, block_ms: int) -> list[Reply]:
        """The answers to this command since the last call; waits at most `block_ms` for the next."""
        found, self._after = await read_replies(self._redis, self._target, self._after, block_ms)
        return [reply for reply in found if reply.command_id == self.id]


class CommandConsumer:
    """The only consumer of the commands for `target`."""

    def __init__(self, redis: TextRedis, target: str, consumer: str = "one") -> None:
        self._redis = redis
        self._target = target
        self._consumer = consumer
        #: Cursor over commands a previous process took but did not answer; then ">", new commands.
        self._after = "0"

    async def take(self, now_ms: int, block_ms: int = 1_000, begun: frozenset[str] = frozenset()) -> list[Command]:
        """The next commands not expired at `now_ms` (wall clock); expired ones are answered here.

        `begun` are the ids of commands that an earlier consumer started but did not finish: they do not expire.
        """
        key = keys.control(self._target)
        new = self._after == ">"
        try:
            answer = await self._redis.xreadgroup(
                _GROUP, self._consumer, {key: self._after}, count=50, block=block_ms if new else None
            )
        except ResponseError as fault:
            if "NOGROUP" not in str(fault):
                raise
            await self._redis.xgroup_create(key, _GROUP, id="0", mkstream=True)
            return []
        rows = answer[0][1] if answer else []
        if not new:
            # Each is delivered once here: it stays pending until answered, which may take a while.
            self._after = str(rows[-1][0]) if rows else ">"
        taken = []
        for entry_id, fields in rows:
            command = parse_command(str(entry_id), fields)
            if command is None:
                await self._redis.xack(key, _GROUP, entry_id)
            elif now_ms >= command.expires_ms and command.id not in begun:
                await self.answer(command, "expired", "The command is older than a minute and was not run.")
            else:
                taken.append(command)
        return taken

    async def answer(self, command: Command, outcome: str, text: str) -> None:
        """Answer a command. Any outcome but "progress" acknowledges it: it is not redelivered."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(
                keys.control_replies(self._target),
                {"id": command.id, "outcome": outcome, "text": text},
                maxlen=_KEPT,
                approximate=True,
            )
            if outcome != "progress":
                pipe.xack(keys.control(self._target), _GROUP, command.entry_id)
            await pipe.execute()


def parse_command(entry_id: str, fields: dict[str, str]) -> Command | None:
    """The command in a stream entry, or None when it is not one."""
    try:
        args = msgspec.json.decode(fields["args"], type=dict[str, str])
        return Command(entry_id, fields["id"], fields["command"], args, fields["issuer"], int(fields["expires_ms"]))
    except (KeyError, ValueError, msgspec.DecodeError):
        return None

"""A stream against a server that misbehaves in the ways the exchange does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.connection import Handlers, Timing
from alpha.bybit.stream import Connecting, Stream, StreamAccount, Watch
from alpha.clock import Backoff, Clock
from tests.support.world import until

QUICK = Timing(connect_s=2, answer_s=1, ping_s=0.1, silence_s=0.5)


@dataclass
class Seen:
    """What the stream said, and what the server counted."""

    ups: int = 0
    downs: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    frames: list[str | bytes] = field(default_factory=list)
    malformed: list[str | bytes] = field(default_factory=list)
    connections: int = 0


Answer = Callable[[ServerConnection, dict[str, object], Seen], Awaitable[None]]


async def obliging(socket: ServerConnection, message: dict[str, object], seen: Seen) -> None:
    """Agree to everything."""
    reply = {"op": "pong"} if message["op"] == "ping" else {"op": message["op"], "success": True, "ret_msg": ""}
    await socket.send(msgspec.json.encode({**reply, "req_id": message["req_id"]}).decode())


@asynccontextmanager
async def streaming(
    answer: Answer, timing: Timing = QUICK, *, needed: bool = True, raw: Callable[[str | bytes], bool] | None = None
) -> AsyncIterator[tuple[Stream, Seen]]:
    """A stream with login and two topics, kept live against a server that answers like this."""
    seen = Seen()

    async def handle(socket: ServerConnection) -> None:
        seen.connections += 1
        async for text in socket:
            await answer(socket, msgspec.json.decode(text), seen)

    server: Server
    async with serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]

        def up() -> None:
            seen.ups += 1

        stream = Stream(
            "test",
            f"ws://127.0.0.1:{port}",
            Handlers(lambda _, frame: seen.frames.append(frame), lambda frame, _: seen.malformed.append(frame), raw),
            Watch(up, seen.downs.append, seen.refusals.append),
            topics=("execution", "order"),
            all_topics_needed=needed,
            connecting=Connecting(
                timing=timing, budget=ConnectBudget(), backoff=Backoff(first_s=0.02, most_s=0.2), refused_pause_s=0.02
            ),
            account=StreamAccount(login=lambda: ["key", 1, "signature"]),
        )
        running = asyncio.create_task(stream.run())
        try:
            yield stream, seen
        finally:
            running.cancel()
            await asyncio.wait({running}, timeout=3)


def at_least(seen: Seen, **counts: int) -> Callable[[], Awaitable[bool]]:
    """A condition: these counters have come so far."""

    async def reached() -> bool:
        values = {name: getattr(seen, name) for name in counts}
        return all((value if isinstance(value, int) else len(value)) >= counts[name] for name, value in values.items())

    return reached


async def test_it_counts_as_live_only_after_login_and_every_subscription_are_confirmed() -> None:
    confirm = asyncio.Event()

    async def slow(socket: ServerConnection, message: dict[str, object], seen: Seen) -> None:
        if message["op"] == "subscribe" and message["args"] == ["order"]:
            await confirm.wait()
        await obliging(socket, message, seen)

    async with streaming(slow) as (stream, seen):
        await until(at_least(seen, connections=1), 5, "a connection")
        assert not stream.live
        assert seen.ups == 0
        confirm.set()
        await until(at_least(seen, ups=1), 5, "the stream to be live")
        assert stream.live


async def test_a_rejected_login_is_reported_and_tried_again() -> None:
    async def refusing(socket: ServerConnection, message: dict[str, object], seen: Seen) -> None:
        if message["op"] == "auth" and seen.connections < 3:
            await socket.send('{"success":false,"ret_msg":"API key is invalid.","op":"auth"}')
        else:
            await obliging(socket, message, seen)

    async with streaming(refusing) as (_, seen):
        await until(at_least(seen, ups=1), 10, "the restored key to be taken up")
        assert len(seen.refusals) == 2
        assert "API key is invalid" in seen.refusals[0]


@pytest.mark.parametrize("needed", [True, False])
async def test_a_rejected_subscription_ends_a_private_connection_and_not_a_public_one(needed: bool) -> None:
    async def picky(socket: ServerConnection, message: dict[str, object], seen: Seen) -> None:
        if message["args"] == ["order"] if "args" in message else False:
            await socket.send(
                msgspec.json.encode(
                    {"success": False, "ret_msg": "error:handler not found,topic:order", "op": "subscribe", "req_id": message["req_id"]}
                ).decode()
            )  # fmt: skip
        else:
            await obliging(socket, message, seen)

    async with streaming(picky, needed=needed) as (_, seen):
        if needed:
            await until(at_least(seen, refusals=2), 5, "the refusal to be reported")
            assert seen.ups == 0
        else:
            await until(at_least(seen, ups=1), 5, "the stream to be live with the other topic")


async def test_silence_is_noticed_and_the_connection_replaced() -> None:
    async def mute(socket: ServerConnection, message: dict[str, object], seen: Seen) -> None:
        if message["op"] != "ping":
            await obliging(socket, message, seen)

    async with streaming(mute) as (_, seen):
        await until(at_least(seen, ups=2), 10, "the silent connection to be replaced")
        assert "silent" in seen.downs[0]


async def test_a_login_without_an_answer_is_given_up_although_pongs_come() -> None:
    async def silent_at_first(socket: ServerConnection, message: dict[str, object], seen: Seen) -> None:
        if message["op"] != "auth" or seen.connections > 1:
            await obliging(socket, message, seen)

    async with streaming(silent_at_first) as (_, seen):
        await until(at_least(seen, ups=1), 10, "another try")
        assert seen.connections == 2


async def test_connections_are_opened_within_their_budget() -> None:
    now_s, slept = 1_000.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        slept.append(seconds)
        now_s += seconds

    budget = ConnectBudget(3, 300.0, clock=Clock(monotonic_ms=lambda: int(now_s * 1000), sleep=sleep))
    for _ in range(3):
        await budget.take()
        now_s += 10
    assert slept == []
    await budget.take()
    assert slept == [270.0], "the first of the three is as old as the window then"
    await budget.take()
    assert slept == [270.0, 10.0]


async def test_pongs_alone_keep_a_quiet_connection() -> None:
    pings = 0

    async def counting(socket: ServerConnection, message: dict[str, object], seen: Seen) -> None:
        nonlocal pings
        pings += message["op"] == "ping"
        await obliging(socket, message, seen)

    async def many() -> bool:
        return pings >= 15

    async with streaming(counting) as (stream, seen):
        await until(many, 10, "fifteen pings")
        assert seen.connections == 1
        assert stream.live


async def test_a_cut_connection_is_replaced_and_a_malformed_frame_ends_nothing() -> None:
    async def rude(socket: ServerConnection, message: dict[str, object], seen: Seen) -> None:
        await obliging(socket, message, seen)
        if message["op"] == "subscribe" and message["args"] == ["order"]:
            await socket.send("no json at all")
            await socket.send('{"topic":"execution","data":[{"a":1}]}')
            if seen.connections == 1:
                socket.transport.abort()

    async with streaming(rude) as (_, seen):
        await until(at_least(seen, connections=2, malformed=1, frames=1), 10, "frames on the second connection")
        await until(at_least(seen, ups=1), 10, "the second connection to be live")


def _fails_on_data(frame: str | bytes) -> bool:
    if '"topic"' in str(frame):
        raise KeyError("odd")
    return False


@pytest.mark.parametrize("raw", [None, _fails_on_data])
async def test_a_message_that_we_cannot_cope_with_is_kept_and_ends_no_connection(
    raw: Callable[[str | bytes], bool] | None,
) -> None:
    class Faulty(list[str | bytes]):
        def append(self, frame: str | bytes) -> None:
            raise KeyError("odd")

    async def sends(socket: ServerConnection, message: dict[str, object], seen: Seen) -> None:
        seen.frames = Faulty()
        await obliging(socket, message, seen)
        if message["op"] == "ping":
            await socket.send('{"topic":"execution","data":[]}')

    # telling of a fault at length takes a moment
    async with streaming(sends, Timing(ping_s=0.1, silence_s=20), raw=raw) as (_, seen):
        await until(at_least(seen, malformed=3), 10, "three messages to be kept")
        assert (seen.connections, seen.downs) == (1, [])

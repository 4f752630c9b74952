"""The faults. Each breaks something while bots trade and repairs it; the ledgers are compared afterwards."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

import httpx

from alpha.model.order_link import GUARD_TAG, parse_order_link_id
from alpha.postgres import database
from alpha.postgres.database import POSTGRES_ERRORS
from tests.faults.fault_env import BUFFER_ROWS, KINDS, SILENCE_S, FaultEnv
from tests.faults.memory import children
from tests.support.tcp_proxy import RestRules
from tests.support.world import BOTS, PLAIN, Trader, until

Break = Callable[[FaultEnv], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its name and its action, from break to repair. `weight` is its relative frequency."""

    name: str
    run: Break
    weight: int = 1


async def _wait(arena: FaultEnv, low_s: float, high_s: float) -> None:
    await asyncio.sleep(arena.draw.uniform(low_s, high_s))


async def kill_listener(arena: FaultEnv) -> None:
    """SIGKILL at a random instant, sometimes several times in a row."""
    if arena.listener is None:
        return
    for _ in range(arena.draw.choice((1, 1, 2, 3))):
        arena.listener.kill()
        await _wait(arena, 0.0, 0.5)
        arena.listener.start()
        await _wait(arena, 0.2, 2.0)


async def stop_listener(arena: FaultEnv) -> None:
    """SIGTERM: an orderly shutdown within ten seconds."""
    if arena.listener is None:
        return
    code = await asyncio.to_thread(arena.listener.stop, 10.0)
    if code not in {0, -signal.SIGTERM}:  # -SIGTERM: before the interpreter has loaded the listener
        raise AssertionError(f"the listener ended with {code} on SIGTERM")
    await _wait(arena, 0.0, 0.5)
    arena.listener.start()


async def freeze_listener(arena: FaultEnv) -> None:
    """The whole process is frozen for a moment, as under a debugger or on a suspended machine."""
    if arena.listener is not None:
        arena.listener.signal(signal.SIGSTOP)
        await _wait(arena, 0.3, SILENCE_S + 1)
        arena.listener.signal(signal.SIGCONT)


#: A hung listener is replaced within this time.
TAKEOVER_S = 15.0


async def two_listeners(arena: FaultEnv) -> None:
    """A second listener waits; the first is frozen or killed, and goes on or is started again when the second works."""
    first, spare = arena.listener, arena.spare
    if first is None or spare is None:
        return
    spare.start()
    said = spare.said().count("another_listener")

    async def waits() -> bool:
        return spare.said().count("another_listener") > said

    await until(waits, 300, "the second listener to wait")  # it begins slowly on a crowded machine
    frozen = arena.draw.random() < 0.7
    struck_ms = arena.now_ms()
    if frozen:
        first.signal(signal.SIGSTOP)
    else:
        first.kill()
    try:
        # A crowded machine is no fault of the listener's.
        took_s = await arena.synced_since(struck_ms, 4 * TAKEOVER_S)
        if took_s > TAKEOVER_S:
            arena.late.append(f"the second listener took {took_s:.1f} s")
    finally:
        if frozen:
            first.signal(signal.SIGCONT)
            await _wait(arena, 0.5, 3.0)
    await asyncio.to_thread(first.stop, 10.0)
    arena.listener, arena.spare = spare, first


def _kill(role: str) -> Break:
    async def fault(arena: FaultEnv) -> None:
        service = arena.stack.services[role]
        for _ in range(arena.draw.choice((1, 1, 2))):
            service.working.kill()
            await _wait(arena, 0.0, 0.5)
            service.working.start()
            await _wait(arena, 0.5, 4.0)

    return fault


def _freeze_role(role: str) -> Break:
    async def fault(arena: FaultEnv) -> None:
        working = arena.stack.services[role].working
        working.signal(signal.SIGSTOP)
        await _wait(arena, 0.3, 12.0)
        working.signal(signal.SIGCONT)

    return fault


#: What an instance says once it waits for the lease of another one.
_WAITS = {"sync": '"standby"', "guard": '"started"', "bot": '"lease_held"'}


def _of_bot(link_id: str) -> bool:
    link = parse_order_link_id(link_id)
    return link is not None and link.tag != GUARD_TAG


def _two(role: str, promised_s: float) -> Break:
    async def fault(arena: FaultEnv) -> None:
        """A second instance; the first is frozen or killed, and thaws when the second holds the lease."""
        service = arena.stack.services[role]
        first, spare = service.working, service.spare
        said = len(spare.said())
        spare.start()

        async def holds() -> bool:
            try:
                holder = await (await arena.database(f"two of {role}")).fetchval(service.holder)
            except POSTGRES_ERRORS:  # the other fault of this round may be PostgreSQL's
                return False
            return holder is not None and f":{spare.pid}:" in str(holder)

        async def waits() -> bool:
            return _WAITS[role] in spare.said()[said:] or await holds()

        await until(waits, 300, f"the second {role} to wait")
        await _wait(arena, 0.0, 0.5)
        frozen = arena.draw.random() < 0.7
        began_s = time.monotonic()
        if frozen:
            first.signal(signal.SIGSTOP)
        else:
            first.kill()

        try:
            await until(holds, 300, f"the second {role} to take over; it said {spare.said()[-800:]}")
            taken_s = time.monotonic()
            if (took_s := taken_s - began_s) > promised_s:
                arena.late.append(f"the second {role} took {took_s:.1f} s")
        finally:
            if frozen:
                first.signal(signal.SIGCONT)
                await _wait(arena, 0.5, 3.0)
        await asyncio.to_thread(first.stop, 10.0)
        fenced, _ = service.hosts
        arena.fenced += [
            f"{one.link_id} of the first {role}, {one.at_s - taken_s:.3f} s after the second had its lease"
            for one in arena.proxy.opened
            # the guard knows the proxy by the same name as the bot, which goes on meanwhile
            if one.host.startswith(fenced) and one.at_s > taken_s and (role == "bot" or not _of_bot(one.link_id))
        ]
        service.working, service.spare = spare, first

    return fault


async def freeze_anything_long(arena: FaultEnv) -> None:
    """One process of the stack, of ours or a server, stands still for up to a minute and a half."""
    what = arena.draw.choice((*arena.stack.services, "listener", "redis", "postgres"))
    seconds = arena.draw.uniform(9.0, 90.0)
    if what == "redis":
        pids = [arena.redis.pid]
    elif what == "postgres":
        assert arena.postgres.pid is not None
        pids = [arena.postgres.pid, *children(arena.postgres.pid)]
    elif what == "listener":
        pids = [None if arena.listener is None else arena.listener.pid]
    else:
        pids = [arena.stack.services[what].working.pid]
    arena.pace = 10.0  # the length is what is tested, not the volume
    try:
        await _freeze(arena, [pid for pid in pids if pid is not None], seconds, seconds)
    finally:
        arena.pace = 1.0


async def step_clock(arena: FaultEnv) -> None:
    """The wall clock of every process of ours is set ahead or back, once or twice, and right again."""
    for _ in range(arena.draw.choice((1, 2))):
        arena.step_clock(arena.draw.choice((-600.0, -3_600.0, -30.0, -3.0, 3.0, 30.0, 600.0, 3_600.0)))
        await _wait(arena, 1.0, 5.0)
    arena.step_clock(0.0)


async def deliver_symbol(arena: FaultEnv) -> None:
    """A symbol that is held is delivered; sometimes the listener, or what is streamed, misses it."""
    if not arena.mortal:
        return
    symbol = arena.mortal.pop()
    asked = {"category": "linear", "symbol": symbol}
    async with httpx.AsyncClient(verify=PLAIN, base_url=arena.simulator.url, timeout=60) as client:
        row = (await client.get("/v5/market/instruments-info", params=asked)).json()["result"]["list"][0]
        price = (await client.get("/v5/market/tickers", params=asked)).json()["result"]["list"][0]["lastPrice"]
        step = Decimal(row["lotSizeFilter"]["qtyStep"])
        qty = (Decimal(200) / Decimal(price) // step + 1) * step
        for bot in BOTS[1:]:
            trader = Trader(arena.simulator.url, bot)
            leg = 1 if KINDS[bot.bot] == "hedge" else 0
            answer = await trader.order(symbol, "Buy", f"{qty:f}", positionIdx=leg)
            await trader.close()
            assert answer["retCode"] == 0, answer
        await _wait(arena, 0.0, 1.0)
        missed = arena.draw.random()
        if missed < 0.3 and arena.listener is not None:
            arena.listener.kill()
        elif missed < 0.6:
            arena.proxy.stalled = True
        now_ms = (await client.get("/_sim/state")).json()["now_ms"]
        ends = {"symbol": symbol, "delivery_ms": now_ms + 60_000}
        (await client.post("/_sim/instrument", json=ends)).raise_for_status()
    await _wait(arena, 2.5, 4.0)
    if missed < 0.3 and arena.listener is not None:
        arena.listener.start()


async def freeze_redis(arena: FaultEnv) -> None:
    """Redis stands still: connections stay open and nothing is answered."""
    if arena.redis.pid is not None:
        await _freeze(arena, [arena.redis.pid], 0.5, 8.0)


async def freeze_postgres(arena: FaultEnv) -> None:
    """PostgreSQL and all its backends stand still."""
    if arena.postgres.pid is not None:
        await _freeze(arena, [arena.postgres.pid, *children(arena.postgres.pid)], 0.5, 12.0)


async def _freeze(arena: FaultEnv, pids: list[int], least_s: float, most_s: float) -> None:
    def send(number: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    send(signal.SIGSTOP)
    try:
        await _wait(arena, least_s, most_s)
    finally:
        send(signal.SIGCONT)


async def restart_postgres(arena: FaultEnv) -> None:
    """Stop and start, orderly or as a crash."""
    await asyncio.to_thread(arena.postgres.stop, arena.draw.choice(("fast", "immediate")))
    await _wait(arena, 0.2, 2.0)
    await asyncio.to_thread(arena.postgres.start)


async def overflow_buffer(arena: FaultEnv) -> None:
    """PostgreSQL is down until the buffer is full and for a while after."""
    before = arena.sent.orders
    await asyncio.to_thread(arena.postgres.stop, "fast")
    # an order produces at least two rows
    while arena.sent.orders - before < BUFFER_ROWS // 2:
        await asyncio.sleep(0.2)
        arena.watch_memory()
    # a long outage tests duration, not trading volume
    arena.pace = max(1.0, arena.outage_s / 30)
    await asyncio.sleep(arena.outage_s)
    arena.pace = 1.0
    await asyncio.to_thread(arena.postgres.start)


async def disk_full(arena: FaultEnv) -> None:
    """PostgreSQL's disk is full: first tables cannot grow; sometimes the WAL cannot either, and the server stops."""
    if arena.disk is None:
        await _refuse_as_if_full(arena)
        return
    arena.disk.fill()
    try:
        if arena.draw.random() < 0.5:
            await _fill_the_log(arena)
        await _wait(arena, 1.0, 3.0)
    finally:
        arena.disk.clear()
    await arena.postgres_back()


async def _fill_the_log(arena: FaultEnv) -> None:
    """Write WAL until the disk is full; PostgreSQL keeps some segments in reserve, so it takes several."""
    with suppress(*database.POSTGRES_ERRORS):
        connection = await arena.database("faults")
        for _ in range(100):
            await connection.execute("SELECT pg_logical_emit_message(true, 'full', repeat('x', 4 * 1024 * 1024))")
    arena.forget_database("faults")


async def _refuse_as_if_full(arena: FaultEnv) -> None:
    """Fallback where no disk can be filled: every fill is refused with the disk-full error."""
    connection = await arena.database("faults")
    await connection.execute(
        "CREATE OR REPLACE FUNCTION public.disk_full() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$; "
        "CREATE TRIGGER disk_full BEFORE INSERT ON trading.fills EXECUTE FUNCTION public.disk_full()"
    )
    await _wait(arena, 1.0, 2.5)
    await connection.execute("DROP TRIGGER disk_full ON trading.fills")


async def hold_lock(arena: FaultEnv) -> None:
    """Another session holds a lock on the table: PostgreSQL appears to hang."""
    connection = await arena.database("faults")
    async with connection.transaction():
        await connection.execute("LOCK TABLE trading.fills IN ACCESS EXCLUSIVE MODE")
        await _wait(arena, 0.5, 2.0)


async def kill_backends(arena: FaultEnv) -> None:
    """The server terminates every connection of the listener, repeatedly."""
    connection = await arena.database("faults")
    for _ in range(arena.draw.randrange(2, 8)):
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'websocket_listener%'"
        )
        await _wait(arena, 0.05, 0.4)


async def restart_redis(arena: FaultEnv) -> None:
    """Stop or crash, then start with the data on disk."""
    if arena.draw.random() < 0.5:
        await asyncio.to_thread(arena.redis.stop)
    else:
        await asyncio.to_thread(arena.redis.kill)
    await _wait(arena, 0.0, 1.5)
    await asyncio.to_thread(arena.redis.start)


async def flush_redis(arena: FaultEnv) -> None:
    """Everything in Redis is lost except what the strategies say they follow."""
    await arena.links.shared.eval("return redis.call('FLUSHALL')", 0)
    await arena.follow()
    await _wait(arena, 0.2, 1.0)


async def cut_streams(arena: FaultEnv) -> None:
    """Connections are reset, one bot's or all, several times."""
    for _ in range(arena.draw.randrange(1, 6)):
        arena.proxy.cut(arena.draw.choice((None, *(bot.key for bot in BOTS))))
        await _wait(arena, 0.05, 0.6)


async def stall_streams(arena: FaultEnv) -> None:
    """Connections stay open but deliver nothing, not even pongs."""
    arena.proxy.stalled = True
    await _wait(arena, SILENCE_S * 0.5, SILENCE_S * 2.5)


async def refuse_connections(arena: FaultEnv) -> None:
    """Connections are reset, and the exchange accepts no new ones for a while."""
    arena.proxy.refusing = True
    arena.proxy.cut()
    await _wait(arena, 0.5, 3.0)


def _push(**rules: object) -> Break:
    async def fault(arena: FaultEnv) -> None:
        for name, value in rules.items():
            setattr(arena.proxy.push, name, value)
        await _wait(arena, 1.5, 3.0)

    return fault


def _rest(share: float, *kinds: str, cut: bool = False) -> Break:
    async def fault(arena: FaultEnv) -> None:
        arena.proxy.rest = RestRules(share, kinds)
        if cut:
            arena.proxy.cut()
        await _wait(arena, 1.5, 3.0)

    return fault


async def clock_off(arena: FaultEnv) -> None:
    """The exchange's clock runs ahead of this machine's by more than the signature window."""
    arena.proxy.rest = RestRules(clock_ahead_ms=arena.draw.choice((7_000, -3_000, 5_500)))
    arena.proxy.cut()
    await _wait(arena, 1.5, 3.0)


async def revoke_key(arena: FaultEnv) -> None:
    """The exchange rejects one bot's key for a while."""
    bot = arena.draw.choice(BOTS)
    arena.proxy.revoked.add(bot.key)
    arena.proxy.cut(bot.key)
    await _wait(arena, 1.0, 2.0)


GARBLED = ("truncated", "garbage", "unknown topic", "unknown field", "missing field", "absurd number")

FAULTS = (
    Fault("listener killed", kill_listener, 4),
    Fault("listener stopped", stop_listener),
    Fault("listener frozen", freeze_listener),
    Fault("two listeners", two_listeners),
    *(Fault(f"{role} killed", _kill(role)) for role in ("sync", "guard")),
    *(Fault(f"{role} frozen", _freeze_role(role)) for role in ("sync", "guard")),
    Fault("bot killed", _kill("bot"), 3),
    Fault("bot frozen", _freeze_role("bot"), 2),
    Fault("syncs are two", _two("sync", 8.0)),
    Fault("guards are two", _two("guard", 6.0)),
    Fault("bots are two", _two("bot", 8.0), 2),
    Fault("wall clock steps", step_clock, 2),
    Fault("symbol delivered", deliver_symbol),
    Fault("postgres frozen", freeze_postgres),
    Fault("redis frozen", freeze_redis),
    Fault("postgres restarted", restart_postgres, 2),
    Fault("postgres disk full", disk_full),
    Fault("postgres locked", hold_lock),
    Fault("postgres connections ended", kill_backends),
    Fault("redis restarted", restart_redis, 2),
    Fault("redis flushed", flush_redis),
    Fault("streams cut", cut_streams, 2),
    Fault("streams stalled", stall_streams, 2),
    Fault("streams refused", refuse_connections),
    Fault("every tenth push lost", _push(drop_every=10), 2),
    Fault("every execution lost", _push(drop_every=1, topics=("execution",))),
    Fault("every push lost", _push(drop_every=1)),
    Fault("pushes duplicated", _push(duplicate=0.5)),
    Fault("pushes delayed", _push(delay_s=0.8)),
    Fault("pushes reordered", _push(reorder=0.4), 2),
    Fault("pushes garbled", _push(garble=0.1, kinds=GARBLED), 3),
    Fault("pushes far ahead", _push(garble=0.5, kinds=("far ahead",), topics=("order", "position", "wallet"))),
    Fault("10006 storm", _rest(0.7, "10006")),
    Fault("5xx storm", _rest(0.7, "5xx", "10016", "cut", cut=True)),
    Fault("garbage over REST", _rest(0.5, "garbage", "5xx", cut=True)),
    Fault("clock off", clock_off),
    Fault("key revoked", revoke_key),
)
RARE = (
    Fault("buffer overflowed", overflow_buffer),
    *(Fault("anything frozen for long", freeze_anything_long),) * 3,
)

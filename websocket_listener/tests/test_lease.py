"""Two listeners: one listens, the other takes over when it is killed or hangs, and what hung can write nothing any more."""

import asyncio
import signal
from collections import Counter
from typing import Any

import msgspec
import pytest

from alpha.clock import boottime_ms, wall_ms
from alpha.lease import LeaseLost, LeaseNotHeld
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.model.timestamp import at
from tests.support.world import Process, Simulator, patience, until
from websocket_listener import redis_writer
from websocket_listener.lease import AccountLease, Leases
from websocket_listener.redis_writer import Change, RedisWriter
from websocket_listener.store import move_watermark
from websocket_listener.tests.conftest import ListenerMaker, Stores
from websocket_listener.tests.rows import START_MS, Held
from websocket_listener.tests.test_process import BOT, buy, ended, fills_of, health, synced

#: A listener that hangs or dies is replaced within this time.
REPLACED_S = 15.0


async def told(links: RedisClients) -> Counter[str]:
    """How often each fill was announced."""
    rows = [fields for _, fields in await links.database(0).xrange(keys.events(BOT))]
    return Counter(msgspec.json.decode(row["data"])["exec_id"] for row in rows if row["type"] == "fill")


async def token(links: RedisClients) -> str | None:
    """The fencing token under which the bot's live state was written last."""
    return await links.database(0).hget(keys.status(BOT), "token")


async def waits(process: Process) -> None:
    """Until this listener is a spare."""

    async def says() -> bool:
        return '"another_listener"' in process.said()

    await until(says, 60, "a second listener to wait")


async def taken_over(links: RedisClients, before: str | None) -> None:
    """Until another listener writes the bot's live state, in the time that is promised."""

    async def other() -> bool:
        return await token(links) not in {before, None}

    await until(other, REPLACED_S, "the spare to take over")


@pytest.mark.parametrize("how", ["frozen", "killed"])
async def test_a_listener_that_hangs_or_dies_is_replaced_and_can_write_nothing_afterwards(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any, how: str
) -> None:
    number = 20 if how == "frozen" else 21
    first = listener({"SHORTSELLER": f"key-{number}"})
    await synced(links)
    second = listener({"SHORTSELLER": f"key-{number}"})
    await waits(second)
    status, answer, _ = await health(second)
    assert (status, "takes over" in answer["details"]["waiting"]) == (200, True)
    await buy(exchange, number, "0.1", "-0.1", "0.2")
    await synced(links, since_ms=wall_ms())
    before = await token(links)
    first.signal(signal.SIGSTOP if how == "frozen" else signal.SIGKILL)
    await taken_over(links, before)
    await buy(exchange, number, "-0.2", "0.3")
    await synced(links, since_ms=wall_ms())
    after = await token(links)
    if how == "frozen":
        await buy(exchange, number, "0.1")
        first.signal(signal.SIGCONT)
        assert await ended(first) == 70
        await buy(exchange, number, "-0.3")
        await synced(links, since_ms=wall_ms())
    assert await token(links) == after, "only the newest one writes"
    ledger = await exchange.ledger(f"key-{number}")
    assert await told(links) == {row["execId"]: 1 for row in ledger}
    assert len(await fills_of(database, BOT, exchange, number)) == len(ledger)


async def test_a_listener_that_ends_in_order_hands_over_at_once(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    first = listener({"SHORTSELLER": "key-14"})
    await synced(links)
    second = listener({"SHORTSELLER": "key-14"})
    await waits(second)
    before = await token(links)
    assert await asyncio.to_thread(first.stop) == 0
    released = await database.fetch("SELECT released_token = token AS given FROM trading.listener_leases WHERE holder LIKE '%:' || $1 || ':%'", str(first.pid))  # fmt: skip
    assert all(row["given"] for row in released)
    await taken_over(links, before)
    await synced(links, since_ms=wall_ms())


def writer(links: RedisClients, fence: Held, changes: list[Change]) -> RedisWriter:
    """A writer whose whole state are these changes."""
    return RedisWriter(links.writer(5), BOT, fence, rebuild=lambda: list(changes), restored=lambda: None)


async def test_a_status_that_was_long_on_its_way_says_so(links: RedisClients, monkeypatch: pytest.MonkeyPatch) -> None:
    redis, key = links.database(5), keys.status(BOT)
    live = writer(links, Held(3_000), [("STATUS", "why", "first")])
    running = asyncio.create_task(live.run())

    async def says(why: str) -> bool:
        return await redis.hget(key, "why") == why

    await until(lambda: says("first"), 10, "the whole state")
    live.put(("STATUS", "why", "at once"))
    await until(lambda: says("at once"), 10, "a status")
    assert int(str(await redis.hget(key, "late_ms"))) < 4_000
    # sent seven seconds ago, and delivered now
    monkeypatch.setattr(redis_writer, "boottime_ms", lambda: boottime_ms() - 7_000)
    live.put(("STATUS", "why", "late"))
    await until(lambda: says("late"), 10, "the late one")
    assert 7_000 <= int(str(await redis.hget(key, "late_ms"))) < 11_000
    running.cancel()
    await asyncio.wait([running])


async def test_redis_refuses_a_token_that_is_not_the_newest_and_an_unproved_one(links: RedisClients) -> None:
    redis, key = links.database(5), keys.status(BOT)
    old, new = Held(1_000), Held(2_000)
    first = writer(links, old, [("STATUS", "why", "first")])
    second = writer(links, new, [("STATUS", "why", "second")])

    async def says(why: str) -> bool:
        return await redis.hget(key, "why") == why

    running = [asyncio.create_task(first.run())]
    await until(lambda: says("first"), 10, "the first one's state, proved because no token stood there")
    running.append(asyncio.create_task(second.run()))
    await until(lambda: says("second"), 10, "the second one's state")
    old.ours = False
    first.put(("STATUS", "why", "late"))
    with pytest.raises(LeaseLost):
        await running[0]
    assert (await redis.hget(key, "why"), await redis.hget(key, "token")) == ("second", "2000")
    # an emptied Redis knows no token: whose lease it is must be proved
    late = writer(links, old, [("STATUS", "why", "late")])
    await redis.flushdb()
    with pytest.raises(LeaseLost):
        await late.run()
    second.put(("STATUS", "why", "more"))
    await until(lambda: says("second"), 10, "the holder's state to be written anew")
    running[1].cancel()
    await asyncio.wait(running)


@pytest.mark.parametrize("ours", [True, False], ids=["PostgreSQL says ours", "PostgreSQL says another's"])
async def test_live_state_is_not_taken_with_a_smaller_token_whatever_postgresql_says(
    links: RedisClients, ours: bool
) -> None:
    redis, key = links.database(5), keys.status(BOT)
    await redis.flushdb()
    held = Held(1_999)
    held.ours = ours
    newest = writer(links, Held(2_000), [("STATUS", "why", "newest")])
    smaller = writer(links, held, [("STATUS", "why", "smaller")])
    running = asyncio.create_task(newest.run())

    async def says(why: str) -> bool:
        return await redis.hget(key, "why") == why

    await until(lambda: says("newest"), 10, "the newest one's state")
    async with asyncio.timeout(10 * patience()):
        with pytest.raises(LeaseLost):
            await smaller.run()
    found = await redis.hgetall(key)
    assert (found["why"], found["token"], found["writer"]) == ("newest", "2000", "2000")
    newest.put(("STATUS", "why", "goes on"))
    await until(lambda: says("goes on"), 10, "the newest one to go on")
    assert not newest.away
    running.cancel()
    await asyncio.wait([running])


async def test_a_listener_that_finds_a_newer_token_than_its_own_takes_its_lease_anew(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients
) -> None:
    """PostgreSQL was restored: the lease is its again, and the token of whoever held it in between is in Redis."""
    process = listener({"SHORTSELLER": "key-23"})
    await synced(links)
    lost = str(wall_ms())
    assert int(lost) > int(await token(links) or 0)
    await links.database(0).hset(keys.status(BOT), mapping={"token": lost, "writer": lost})

    async def newer() -> bool:
        return int(await token(links) or 0) > int(lost)

    await until(newer, 30, "a token that is newer than the one in Redis")
    await synced(links, since_ms=wall_ms())
    assert process.running


async def expire(database: Any, lease: AccountLease) -> None:
    """Its deadline has passed in PostgreSQL."""
    await database.execute("UPDATE trading.listener_leases SET expires_at = now() - interval '1 s' WHERE name = $1", lease.name)  # fmt: skip


async def test_a_watermark_is_moved_by_nobody_but_the_holder(stores: Stores, database: Any, pool: Any) -> None:
    user = str(await pool.fetchval("SELECT 600000 + count(*) FROM trading.accounts"))
    number = await pool.fetchval("SELECT trading.register_account('simulated', $1, $2)", user, BOT)
    ours, others = (Leases(stores.postgres.settings()) for _ in range(2))
    held, taken = (leases.of_account(number, "an account") for leases in (ours, others))

    async def move(lease: AccountLease, ms: int) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await move_watermark(connection, number, "linear", at(ms), lease.only_holder)

    with pytest.raises(LeaseNotHeld):
        await move(held, START_MS)
    assert await held.try_take()
    assert not await taken.try_take()
    await move(held, START_MS)
    await expire(database, held)
    assert await taken.try_take()
    assert taken.token > held.token
    with pytest.raises(LeaseLost):
        await move(held, START_MS + 1)
    await move(taken, START_MS + 2)
    marks = await database.fetch("SELECT read_to FROM trading.watermarks WHERE account_id = $1", number)
    assert [row["read_to"] for row in marks] == [at(START_MS + 2)]
    with pytest.raises(LeaseLost):
        await held.prove()
    await ours.close()
    await others.close()


async def test_a_lease_is_asked_for_until_the_end_is_wanted(stores: Stores, database: Any) -> None:
    ours, others = (Leases(stores.postgres.settings()) for _ in range(2))
    stop = asyncio.Event()
    await expire(database, ours.public)
    assert await ours.take_public(stop)
    waiting = asyncio.create_task(others.take_public(stop))

    async def noted() -> bool:
        return others.waiting_since_s is not None

    await until(noted, 20, "the other to wait")
    stop.set()
    assert not await waiting
    await ours.public.give_back()
    assert await others.take_public(asyncio.Event())
    await others.public.give_back()
    await ours.close()
    await others.close()

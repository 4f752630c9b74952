"""Two listeners: one listens, the other waits and takes over."""

import asyncio
import re
from collections import Counter
from typing import Any

import msgspec
import pytest

from alpha.clock import wall_ms
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from tests.support.world import Simulator, until
from websocket_listener.lease import Lease, LeaseLost
from websocket_listener.tests.conftest import ListenerMaker, Stores
from websocket_listener.tests.test_process import BOT, buy, ended, fills_of, health, synced


async def told(links: RedisClients) -> Counter[str]:
    """How often each fill was announced, and how often readers had to read everything again."""
    rows = [fields for _, fields in await links.database(0).xrange(keys.events(BOT))]
    counts = Counter(msgspec.json.decode(row["data"])["exec_id"] for row in rows if row["type"] == "fill")
    counts["resync"] = sum(row["type"] == "resync" for row in rows)
    return counts


async def test_a_second_listener_waits_and_takes_over_when_the_first_is_gone(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    first = listener({"SHORTSELLER": "key-7"})
    await synced(links)
    second = listener({"SHORTSELLER": "key-7"})

    async def waits() -> bool:
        return '"another_listener"' in second.said()

    await until(waits, 60, "the second listener to wait")
    status, answer, _ = await health(second)
    assert (status, "takes over" in answer["details"]["waiting"]) == (200, True)
    before = (await told(links))["resync"]
    await buy(exchange, 7, "0.1", "-0.1", "0.2")
    await synced(links, since_ms=wall_ms())
    counts = await told(links)
    assert counts.pop("resync") == before
    assert set(counts.values()) == {1}
    first.kill()
    await buy(exchange, 7, "-0.2", "0.3")
    await synced(links, since_ms=wall_ms())

    # the connection that holds the lease is lost while a third one waits: one of the two listens, the other does not
    third = listener({"SHORTSELLER": "key-7"})

    async def third_waits() -> bool:
        return '"another_listener"' in third.said()

    await until(third_waits, 60, "the third listener to wait")
    await database.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory'"
    )
    assert await ended(second) == 70
    assert re.search(rf"Another listener \(\S+:{third.pid}\) has taken over", second.said())
    await buy(exchange, 7, "-0.3")
    await synced(links, since_ms=wall_ms())
    counts = await told(links)
    counts.pop("resync")
    ledger = await exchange.ledger("key-7")
    assert {exec_id: counts[exec_id] for exec_id in counts} == {row["execId"]: 1 for row in ledger}
    assert len(await fills_of(database, BOT, exchange, 7)) == len(ledger)


async def test_what_a_broken_connection_of_our_own_still_holds_is_taken_back(stores: Stores) -> None:
    ours, others = (Lease(stores.postgres.settings()) for _ in range(2))
    stop = asyncio.Event()
    assert await ours.take(stop)
    left_behind: Any = ours._connection
    ours._connection = None
    await ours.confirm()
    await until(_true_when(left_behind.is_closed), 20, "the old session to be ended")
    waiting = asyncio.create_task(others.take(stop))
    await until(_true_when(lambda: others.waiting_since_s is not None), 20, "the other to wait")
    await ours.give_back()
    assert await waiting
    with pytest.raises(LeaseLost):
        await ours._look()
    await others.give_back()


async def test_a_lease_is_asked_for_until_the_end_is_wanted(stores: Stores) -> None:
    ours, others = (Lease(stores.postgres.settings()) for _ in range(2))
    stop = asyncio.Event()
    assert await ours.take(stop)
    waiting = asyncio.create_task(others.take(stop))
    await until(_true_when(lambda: others.waiting_since_s is not None), 20, "the other to wait")
    stop.set()
    assert not await waiting
    await ours.give_back()
    await others.give_back()


def _true_when(what: Any) -> Any:
    async def look() -> bool:
        return bool(what())

    return look

"""Redis under Sentinel: clients follow a leader that was paused, killed or cut off; each connection costs one timeout."""

import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alpha.live_state.connect import REDIS_UNAVAILABLE, RedisClients
from tests.ha.sentinels import SentinelRedis
from tests.support.world import patience, until

pytestmark = [pytest.mark.timeout(200), pytest.mark.long]


@pytest.fixture
async def sentinels(tmp_path: Path) -> AsyncIterator[SentinelRedis]:
    """Three Redis and three Sentinels that know each other."""
    made = SentinelRedis(tmp_path, "secret")
    made.start()
    try:
        await made.whole()
        yield made
    finally:
        made.kill()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL, None], ids=["paused", "killed", "cut off"])
async def test_clients_follow_the_leader(sentinels: SentinelRedis, number: signal.Signals | None) -> None:
    links = RedisClients(sentinels.settings())
    clients = {number: links.database(number) for number in (0, 7, 15)}
    reader = RedisClients(sentinels.settings())
    for client in clients.values():
        await client.set("name", "value")
    assert await reader.shared.get("name") == "value"
    leader = sentinels.leader
    assert leader is not None
    if number is None:
        leader.cut_off()
    else:
        leader.signal(number)
    began_s = time.monotonic()

    async def all_write() -> bool:
        for client in clients.values():
            try:
                await client.set("name", "again")
            except REDIS_UNAVAILABLE:
                return False
        now = sentinels.leader
        return now not in {None, leader} and all(now.read(database, "name") == "again" for database in clients)

    await until(all_write, 60, "every client to write to the new leader")
    assert time.monotonic() - began_s < 30 * patience()

    async def read_anew() -> bool:
        try:
            return await reader.shared.get("name") == "again"
        except REDIS_UNAVAILABLE:
            return False

    await until(read_anew, 20, "a client that only reads to follow")
    await reader.close()
    await links.close()

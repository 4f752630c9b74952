"""Redis under Sentinel: clients follow a leader that was paused, and a writer too; each connection costs one timeout."""

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


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
async def test_clients_follow_the_leader(sentinels: SentinelRedis, number: signal.Signals) -> None:
    links = RedisClients(sentinels.settings())
    clients = [links.database(0), links.database(7), links.shared]
    for client in clients:
        await client.set("name", "value")
    leader = sentinels.leader
    assert leader is not None
    leader.signal(number)
    began_s = time.monotonic()

    async def all_write() -> bool:
        for client in clients:
            try:
                await client.set("name", "again")
            except REDIS_UNAVAILABLE:
                return False
        return True

    await until(all_write, 60, "every client to write to the new leader")
    assert time.monotonic() - began_s < 30 * patience()
    assert sentinels.leader not in {None, leader}
    await links.close()

"""Two listeners share the accounts: each records its part, and what one leaves the other takes, whole and once."""

import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alpha.clock import wall_ms
from tests.faults.books import settle
from tests.faults.fault_env import FaultEnv
from tests.support.world import Process, patience, until

pytestmark = [pytest.mark.timeout(400), pytest.mark.long]
SHARE = {"LISTENER_SHARE": "true"}
#: The lease ends 4.5 to 6 s after the last renewal, half a second later it is taken; then the successor connects, reads and compares,
#: which takes about a second on a quiet machine and was seen to take 8 s on a busy one.
HEARD_AGAIN_S = 15.0


@pytest.fixture
async def env() -> AsyncIterator[FaultEnv]:
    """Exchange, stores and the first listener."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-sharing-"))
    found = FaultEnv(folder, random.Random(7))
    try:
        await found.open(**SHARE)
        yield found
    finally:
        await found.close()
        shutil.rmtree(folder, ignore_errors=True)


async def parts(env: FaultEnv) -> Counter[str]:
    """How many accounts each holder has."""
    rows = await (await env.database("parts")).fetch(
        "SELECT holder FROM trading.listener_leases WHERE name <> 'public' AND expires_at > now()"
    )
    return Counter(row["holder"] for row in rows)


async def shared(env: FaultEnv, listeners: int) -> None:
    """Wait until so many listeners have their parts of the three accounts."""
    wanted = {1: [3], 2: [1, 2]}[listeners]

    async def even() -> bool:
        return sorted((await parts(env)).values()) == wanted

    await until(even, 40, f"{listeners} listeners to have their parts")


async def test_parts_follow_the_listeners_that_come_go_die_and_freeze(env: FaultEnv) -> None:
    first, second = env.listener, env.make_listener("second", HEALTH_PORT="0", **SHARE)
    assert isinstance(first, Process)
    try:
        second.start()
        await shared(env, 2)
        env.trade()
        await env.synced_since(wall_ms(), 60)

        killed_ms = wall_ms()
        first.kill()
        heard_s = await env.synced_since(killed_ms + 1_000, 60)
        assert heard_s <= HEARD_AGAIN_S * patience(), f"heard again after {heard_s:.1f} s"
        await shared(env, 1)

        first.start()
        await shared(env, 2)
        await env.synced_since(wall_ms(), 60)

        second.signal(signal.SIGSTOP)
        frozen_s, frozen_ms = time.monotonic(), wall_ms()
        await env.synced_since(frozen_ms + 1_000, 60)
        assert time.monotonic() - frozen_s <= HEARD_AGAIN_S * patience()
        second.signal(signal.SIGCONT)
        await shared(env, 2)
        await env.synced_since(wall_ms(), 60)

        # the one that thawed takes its turn: nothing of its former account is left standing in it
        first.signal(signal.SIGSTOP)
        again_s, again_ms = time.monotonic(), wall_ms()
        await env.synced_since(again_ms + 1_000, 60)
        assert time.monotonic() - again_s <= HEARD_AGAIN_S * patience()
        first.signal(signal.SIGCONT)
        await shared(env, 2)

        assert second.stop() == 0
        await shared(env, 1)
        env.rest()
        await env.synced_since(wall_ms(), 60)
        assert await settle(env, 60) == []
    finally:
        second.kill()
    print(f"\nheard again {heard_s:.1f} s after a kill")

"""When live state may be called synced, whatever the wall clock does."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from alpha.clock import Clock, wall_ms
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.freshness import Beats
from alpha.live_state.read import DataState, read_status
from tests.support.world import ROOT, Simulator, until
from websocket_listener.status import BotStatus
from websocket_listener.tests.conftest import ListenerMaker
from websocket_listener.tests.test_process import BOT, synced

#: A wall clock that a test can step: what is in the file is added to it, in seconds.
_STEPPED = """
import pathlib, time
_file, _real = pathlib.Path(__file__).with_name("step"), time.time_ns
time.time_ns = lambda: _real() + int(_file.read_text()) * 10**9
time.time = lambda: time.time_ns() / 10**9
"""


class Clocks:
    """A wall clock and one that never steps, in milliseconds."""

    def __init__(self) -> None:
        self.steady, self.wall = 50_000, 1_735_689_600_000

    def passes(self, ms: int, *, stepped_ms: int = 0) -> None:
        """So much time passes; the wall clock is stepped besides."""
        self.steady, self.wall = self.steady + ms, self.wall + ms + stepped_ms


def judged(clocks: Clocks) -> BotStatus:
    """A status by these clocks."""
    return BotStatus(lambda change: None, Clock(wall_ms=lambda: clocks.wall, boottime_ms=lambda: clocks.steady))


def test_a_gap_is_closed_only_by_an_audit_that_began_after_it() -> None:
    clocks = Clocks()
    status = judged(clocks)
    status.up()
    assert status.state() == "stale"
    clocks.passes(1)
    status.audited(status.now())
    assert status.state() == "synced"
    began = status.now()
    clocks.passes(100, stepped_ms=-600_000)
    status.gap("message", "a message could not be read")
    status.audited(began)
    assert status.state() == "stale", "the wall clock stepped back: the gap only looks older than the audit"
    clocks.passes(1)
    status.audited(status.now())
    assert status.state() == "synced"
    status.down()
    assert status.state() == "down"


def test_an_audit_grows_old_although_the_wall_clock_steps_back() -> None:
    clocks = Clocks()
    status = judged(clocks)
    status.up()
    clocks.passes(1)
    status.audited(status.now())
    clocks.passes(30_000, stepped_ms=-600_000)
    assert (status.state(), status.fields()["audit_age_ms"]) == ("synced", "30000")
    clocks.passes(1)
    assert status.state() == "stale"
    clocks.passes(1, stepped_ms=3_600_000)
    status.audited(status.now())
    assert status.state() == "synced"


def test_a_counter_proves_only_from_the_read_before_it_moved() -> None:
    beats = Beats()
    beats.saw("w", 7, 1_000)
    assert beats.age_s(1_000) is None, "read once it may be of any age"
    beats.saw("w", 7, 4_000)
    assert (beats.age_s(4_000), beats.watched_s(4_000)) == (None, 3.0)
    beats.saw("w", 8, 5_000)
    assert (beats.age_s(5_500), beats.watched_s(5_500)) == (1.5, 0.5)
    beats.saw("w", 8, 9_000)
    assert beats.age_s(9_000) == 5.0, "it stands and grows old"
    beats.saw("w", 6, 10_000)
    assert beats.age_s(10_000) is None, "a Redis that was set back proves nothing"
    beats.saw("x", 1, 11_000)
    assert beats.age_s(11_000) == 1.0, "another listener counts anew"


async def test_a_reader_believes_a_counter_that_moves_and_none_that_stands(links: RedisClients) -> None:
    redis, key = links.database(0), keys.status(BOT)
    said = {"state": "synced", "synced_at": "1", "writer": "w", "audit_age_ms": "2000"}
    await redis.hset(key, mapping={**said, "beat": "1"})
    first = await read_status(redis, BOT)
    assert first is not None
    assert (first.state, first.age_s) == (DataState.STALE, None), "it was waited for a beat, and none came"
    reading = asyncio.create_task(read_status(links.database(0), BOT))
    again = await asyncio.wait_for(reading, 1)
    assert again is not None
    assert again.state == "stale", "who knows that it stands does not wait again"
    await redis.hset(key, "beat", "2")
    moved = await read_status(redis, BOT)
    assert moved is not None
    assert moved.state == "synced"
    assert moved.age_s is not None
    assert 2.0 <= moved.age_s < 5.0
    await redis.hset(key, mapping={"beat": "3", "audit_age_ms": "29900"})
    old = await read_status(redis, BOT, patience_s=0.0)
    assert old is not None
    assert old.state == "synced"

    await redis.hset(key, mapping={"beat": "4", "late_ms": "3000"})
    late = await read_status(redis, BOT, patience_s=0.0)
    assert late is not None
    assert late.state == "stale", "it was long on its way"
    await redis.hset(key, mapping={"beat": "5", "late_ms": "0"})

    async def stale() -> bool:
        found = await read_status(redis, BOT)
        return found is not None and found.state == "stale"

    await until(stale, 5, "the counter that stands to be stale")


async def test_a_status_without_a_counter_is_judged_by_the_wall_clock(links: RedisClients) -> None:
    redis, key = links.database(0), keys.status(BOT)
    for age_ms, state in ((1_000, "synced"), (31_000, "stale")):
        await redis.hset(key, mapping={"state": "synced", "synced_at": str(wall_ms() - age_ms)})
        found = await read_status(redis, BOT)
        assert found is not None
        assert found.state == state


async def test_a_listener_whose_wall_clock_steps_back_is_not_synced_for_longer(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_STEPPED)
    (tmp_path / "step").write_text("0")
    listener({"SHORTSELLER": "key-12"}, pythonpath=f"{tmp_path}:{ROOT}")
    await synced(links)
    async with httpx.AsyncClient(base_url=exchange.url) as client:
        fault: dict[str, Any] = {"kind": "answer", "key": "key-12", "path": "/v5/", "status": 503}
        made = (await client.post("/_sim/faults", json=fault)).json()
        (tmp_path / "step").write_text("-600")

        async def stale() -> bool:
            found = await read_status(links.database(0), BOT)
            return found is not None and found.state == "stale"

        await until(stale, 40, "the status to be stale: nothing could be audited since")
        await client.delete("/_sim/faults", params={"id": made["id"]})
    # the simulated exchange is signed for by the wall clock, so it serves nobody whose clock is off
    (tmp_path / "step").write_text("0")
    await until(_synced_now(links), 40, "the status to be synced again")


def _synced_now(links: RedisClients) -> Any:
    async def look() -> bool:
        found = await read_status(links.database(0), BOT)
        return found is not None and found.state == "synced"

    return look

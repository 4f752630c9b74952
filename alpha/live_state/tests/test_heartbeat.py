"""A heartbeat is judged by its counter: wall clocks of writer and reader may step."""

from datetime import timedelta
from typing import Any, cast

import pytest

from alpha.live_state import read
from alpha.live_state.client import TextRedis
from alpha.live_state.read import read_heartbeat
from alpha.model.timestamp import at

NOW_MS = 1_740_787_200_000
HOUR_MS = 3_600_000


class OneHash:
    """A Redis with one hash."""

    def __init__(self) -> None:
        self.fields = {"alive_at": str(NOW_MS), "state": "running", "waits_for": "", "writer": "a", "beat": "1"}

    async def hgetall(self, _name: str) -> dict[str, str]:
        """The hash."""
        return dict(self.fields)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The reader's steady clock, in milliseconds."""
    now = [1_000]
    monkeypatch.setattr(read, "boottime_ms", lambda: now[0])
    return now


async def test_a_beating_bot_is_alive_whatever_the_wall_clocks_say(steady: list[int]) -> None:
    redis: Any = OneHash()
    for beat in range(1, 4):
        redis.fields["beat"] = str(beat)
        found = await read_heartbeat(cast(TextRedis, redis), "bot")
        steady[0] += 1_000
    assert found is not None
    for step_ms in (-HOUR_MS, 0, HOUR_MS):
        assert found.age(at(NOW_MS + step_ms)) < timedelta(seconds=2)


async def test_a_counter_that_stands_ages_although_the_wall_clock_steps_back(steady: list[int]) -> None:
    redis: Any = OneHash()
    await read_heartbeat(cast(TextRedis, redis), "bot")
    redis.fields["beat"] = "2"
    await read_heartbeat(cast(TextRedis, redis), "bot")
    steady[0] += 90_000
    found = await read_heartbeat(cast(TextRedis, redis), "bot")
    assert found is not None
    assert found.age(at(NOW_MS - HOUR_MS)) == timedelta(seconds=90)


async def test_before_the_counter_was_seen_to_move_the_wall_clock_counts_too(steady: list[int]) -> None:
    redis: Any = OneHash()
    found = await read_heartbeat(cast(TextRedis, redis), "bot")
    assert found is not None
    assert found.age(at(NOW_MS + HOUR_MS)) == timedelta(hours=1), "a bot that is long gone"
    assert found.age(at(NOW_MS - HOUR_MS)) == timedelta()


async def test_a_new_process_counts_from_one_again_and_is_alive(steady: list[int]) -> None:
    redis: Any = OneHash()
    redis.fields["beat"] = "900"
    await read_heartbeat(cast(TextRedis, redis), "bot")
    steady[0] += 50_000
    redis.fields |= {"writer": "b", "beat": "1"}
    found = await read_heartbeat(cast(TextRedis, redis), "bot")
    assert found is not None
    assert found.age(at(NOW_MS - HOUR_MS)) == timedelta()

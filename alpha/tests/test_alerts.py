"""Alerts: the one limiter of repeats, and each sent once."""

import asyncio
from typing import Any, cast
from unittest.mock import AsyncMock

from alpha.alerts import Alert, Alerts, Level
from alpha.live_state.client import TextRedis


async def test_the_same_key_is_raised_again_only_after_its_time_and_after_a_clock_was_set_back() -> None:
    redis = AsyncMock()
    alerts = Alerts(cast(TextRedis, redis), "test")

    async def raised(key: str, now_ms: int) -> bool:
        before = redis.xadd.await_count
        await alerts.raise_alert(Alert(Level.WARNING, key, "text"), now_ms, again_after_ms=60_000)
        return bool(redis.xadd.await_count > before)

    assert await raised("a", 1_000_000)
    assert not await raised("a", 1_059_999)
    assert await raised("b", 1_059_999)
    assert await raised("a", 1_060_000)
    assert await raised("a", 500_000), "a clock that was set back by minutes must not silence anything"


async def test_without_a_limit_every_alert_is_raised() -> None:
    redis = AsyncMock()
    alerts = Alerts(cast(TextRedis, redis), "test")
    for _ in range(3):
        await alerts.raise_alert(Alert(Level.WARNING, "a", "text"), 0)
    assert redis.xadd.await_count == 3


async def test_alerts_that_are_raised_at_once_are_each_sent_once() -> None:
    sent: list[str] = []

    async def xadd(_stream: str, fields: dict[str, Any], **_: Any) -> None:
        await asyncio.sleep(0)  # the other task goes on while Redis is asked
        sent.append(fields["key"])

    redis = AsyncMock()
    redis.xadd = xadd
    alerts = Alerts(cast(TextRedis, redis), "test")
    await asyncio.gather(*(alerts.raise_alert(Alert(Level.WARNING, key, "text"), 0) for key in "abc"))
    assert sent == ["a", "b", "c"]
    assert alerts.unsent == []


async def test_the_end_of_trouble_is_told_once_until_it_comes_back() -> None:
    redis = AsyncMock()
    alerts = Alerts(cast(TextRedis, redis), "test")
    for now_ms in (0, 1, 2):
        await alerts.resolve("a", now_ms)
    assert [call.args[1]["level"] for call in redis.xadd.await_args_list] == ["over"], "also of the process before"
    await alerts.raise_alert(Alert(Level.WARNING, "a", "text"), 3, again_after_ms=60_000)
    await alerts.resolve("a", 4)
    await alerts.raise_alert(Alert(Level.WARNING, "a", "text"), 5, again_after_ms=60_000)
    levels = [call.args[1]["level"] for call in redis.xadd.await_args_list]
    assert levels == ["over", "warning", "over", "warning"], "what came back after its end is no repeat"


async def test_an_alert_says_whether_it_lasts_until_its_end_is_told() -> None:
    redis = AsyncMock()
    alerts = Alerts(cast(TextRedis, redis), "test")
    await alerts.raise_alert(Alert(Level.WARNING, "a", "text", lasting=True), 0)
    await alerts.raise_alert(Alert(Level.WARNING, "b", "text"), 0)
    assert [call.args[1]["lasting"] for call in redis.xadd.await_args_list] == ["1", "0"]

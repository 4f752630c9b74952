"""The one limiter of repeated alerts."""

from typing import cast
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

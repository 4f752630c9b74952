"""What Prometheus's rules fire becomes alerts of ours, and what the watch sees becomes metrics."""

import httpx
import pytest
from prometheus_client import REGISTRY

from alpha.alerts import Alerts
from alpha.live_state import keys
from operations.context import Operations
from telegram_manager.health_watch import HealthWatch
from telegram_manager.metric_alerts import AWAY_MS, MetricAlerts

FIRING = {
    "state": "firing",
    "labels": {"alertname": "LossLimit", "severity": "critical", "bot": "x", "limit": "day_loss"},
    "annotations": {"summary": "x has met its limit.", "remedy": "Look.", "key": "guard:day_loss:x"},
    "activeAt": "2026-11-30T12:00:00Z",
    "value": "1.1e+00",
}
PENDING = {**FIRING, "state": "pending", "annotations": {"key": "other"}}
BARE = {"state": "firing", "labels": {"alertname": "MyOwn"}, "annotations": {}}


async def raised(platform: Operations) -> list[dict[str, str]]:
    return [fields for _, fields in await platform.live.shared.xrange(keys.ALERTS)]


async def look(platform: Operations, answer: httpx.Response, *moments: int) -> list[dict[str, str]]:
    transport = httpx.MockTransport(
        lambda request: answer if request.url.path == "/api/v1/alerts" else httpx.Response(404)
    )
    async with httpx.AsyncClient(transport=transport) as client:
        asked = MetricAlerts("http://prometheus:9090/", client, Alerts(platform.live.shared, "telegram_manager"))
        for moment in moments:
            await asked.look(moment)
    return await raised(platform)


async def test_what_fires_is_raised_once_with_its_key_and_what_pends_is_not(platform: Operations) -> None:
    answer = httpx.Response(200, json={"status": "success", "data": {"alerts": [FIRING, PENDING, BARE]}})
    first, second = await look(platform, answer, 0, 15_000)
    assert (first["key"], first["level"], first["text"], first["bot"]) == (
        "guard:day_loss:x", "critical", "x has met its limit.", "x",
    )  # fmt: skip
    assert (second["key"], second["level"], second["text"]) == ("metrics:MyOwn", "warning", "MyOwn")


@pytest.mark.parametrize(
    "answer", [httpx.Response(503), httpx.Response(200, text="<html>"), httpx.Response(200, json={})]
)
async def test_a_prometheus_that_does_not_answer_is_an_alert_after_three_minutes(
    platform: Operations, answer: httpx.Response
) -> None:
    assert await look(platform, answer, 0, AWAY_MS - 1) == []
    (alert,) = await look(platform, answer, 0, AWAY_MS)
    assert alert["key"] == "metrics:away"


async def test_the_watch_leaves_its_figures(platform: Operations) -> None:
    watch = HealthWatch(platform, Alerts(platform.live.shared, "telegram_manager"), 10)
    await watch.look()
    await watch.look_around()
    assert REGISTRY.get_sample_value("watch_bot_well", {"bot": "momentum_001"}) == 0, "its process does not run"
    assert 0 < (REGISTRY.get_sample_value("watch_disk_free_ratio") or 0) <= 1
    assert (REGISTRY.get_sample_value("watch_backup_age_seconds") or 0) > 0
    assert REGISTRY.get_sample_value("watch_recoverable_age_seconds") == -1
    assert REGISTRY.get_sample_value("watch_request_budget_ratio") == 0

"""Announced maintenance, carried out by the simulated exchange: alerts before and after, shown to all, no storm within."""

from typing import Any

import httpx

from alpha.alerts import Alert, Alerts
from alpha.bybit.client import Gateway
from alpha.bybit.connect_budget import ConnectBudget
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.models import SystemStatus
from alpha.bybit.rate_limiter import RateLimiter
from alpha.config.loader import load
from alpha.errors import Retry
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.maintenance import MaintenanceState, MaintenanceWindow, read_maintenance
from tests.support.world import Simulator, until
from websocket_listener.maintenance import MaintenanceWatch
from websocket_listener.settings import ListenerSettings
from websocket_listener.tests.conftest import ListenerMaker
from websocket_listener.tests.test_process import synced

MINUTE_MS = 60_000
NOW_MS = 1_800_000_000_000


class Kept(Alerts):
    """Alerts that are only kept."""

    def __init__(self) -> None:
        self.raised: list[Alert] = []

    async def raise_alert(self, alert: Alert, now_ms: int, *, again_after_ms: int = 0) -> None:
        """Keep it."""
        self.raised.append(alert)


def watch_of(links: RedisClients, *, away: bool = False) -> tuple[MaintenanceWatch, Kept, Gateway]:
    """A watch whose exchange says nothing by itself: the test tells it rows and times."""
    hosts = simulated_hosts("http://127.0.0.1:9", "ws://127.0.0.1:9")
    gateway, kept = Gateway(hosts, None, RateLimiter(None), account="market"), Kept()
    settings = load(ListenerSettings, env_file=None, postgres_password="x", redis_password="x")

    async def may_write() -> None:
        if away:
            raise Retry("Another listener writes prices and candles.")

    watch = MaintenanceWatch(hosts, settings, ConnectBudget(), links.shared, gateway, kept, may_write)
    return watch, kept, gateway


def row(state: str = "scheduled", begin_min: int = 90, end_min: int | None = 120) -> SystemStatus:
    """An announcement, in minutes from now."""
    end = None if end_min is None else NOW_MS + end_min * MINUTE_MS
    return SystemStatus(id="m-1", title="upgrade", state=state, begin_ms=NOW_MS + begin_min * MINUTE_MS, end_ms=end)


async def test_it_is_told_60_and_10_minutes_before_at_its_begin_and_its_end(links: RedisClients) -> None:
    watch, kept, gateway = watch_of(links)
    watch.take([row()])
    told = []
    for minute in (0, 29, 31, 45, 81, 85, 90, 95, 119, 121):
        gateway.business.saw(NOW_MS + minute * MINUTE_MS)
        await watch.look()
        told.append([alert.key.rpartition(":")[2] for alert in kept.raised])
        kept.raised.clear()
    assert told == [[], [], ["60"], [], ["10"], [], ["begun"], [], [], ["over"]]
    assert await read_maintenance(links.shared) == MaintenanceState()
    await gateway.close()


async def test_a_window_that_is_announced_late_or_taken_back(links: RedisClients) -> None:
    watch, kept, gateway = watch_of(links)
    gateway.business.saw(NOW_MS)
    watch.take([row(begin_min=5)])
    await watch.look()
    # one alert, not one for each threshold that has passed
    assert [alert.key for alert in kept.raised] == ["maintenance:m-1:10"]
    assert "in 5 minutes" in kept.raised[0].text
    state = await read_maintenance(links.shared)
    assert state.windows == [MaintenanceWindow("m-1", "upgrade", NOW_MS + 5 * MINUTE_MS, NOW_MS + 120 * MINUTE_MS)]
    watch.take([row("canceled", begin_min=5)])
    gateway.business.saw(NOW_MS + 10 * MINUTE_MS)
    await watch.look()
    assert len(kept.raised) == 1
    assert await read_maintenance(links.shared) == MaintenanceState()
    await gateway.close()


async def test_a_listener_that_does_not_keep_what_is_public_tells_nothing(links: RedisClients) -> None:
    watch, kept, gateway = watch_of(links, away=True)
    gateway.business.saw(NOW_MS)
    watch.take([row(begin_min=5)])
    await watch.look()
    assert kept.raised == []
    await gateway.close()


async def test_what_stands_in_redis_and_cannot_be_read_is_nothing(links: RedisClients) -> None:
    await links.shared.set(keys.MAINTENANCE, "{broken")
    assert await read_maintenance(links.shared) == MaintenanceState()


async def test_the_listener_goes_through_a_maintenance_of_the_exchange(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients
) -> None:
    listener({"SHORTSELLER": "key-13"})
    await synced(links)
    async with httpx.AsyncClient(base_url=exchange.url) as client:
        now_ms = int((await client.get("/v5/market/time")).json()["time"])
        # at speed 120 a minute takes half a second
        begin_ms, end_ms = now_ms + 14 * MINUTE_MS, now_ms + 20 * MINUTE_MS
        body = {"title": "upgrade", "begin_ms": begin_ms, "end_ms": end_ms, "carry_out": True}
        assert (await client.post("/_sim/maintenance", json=body)).status_code == 200

        async def told() -> list[str]:
            entries: Any = await links.shared.xrange(keys.ALERTS)
            return [fields["key"].rpartition(":")[2] for _, fields in entries if "maintenance:" in fields["key"]]

        async def announced() -> bool:
            return "60" in await told()

        await until(announced, 20, "the announcement")

        async def shown() -> bool:
            return [window.title for window in (await read_maintenance(links.shared)).windows] == ["upgrade"]

        await until(shown, 10, "the window in Redis")

        async def begun() -> bool:
            return (await read_maintenance(links.shared)).ongoing

        await until(begun, 30, "its begin")

        async def over() -> bool:
            return "over" in await told()

        await until(over, 30, "its end")
        assert await told() == ["60", "10", "begun", "over"]
    await synced(links)

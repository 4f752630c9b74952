"""Every alert of the stream is a row of audit.alerts, once, whatever happens in between."""

import asyncio

from alpha.alerts import Alert, Alerts, Level
from alpha.config.services import DatabaseSettings
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.postgres.database import Connection, fetch_one
from trade_sync_service.alert_archive import AlertArchive

NOW_MS = 1_735_689_600_000


async def _raise(links: RedisClients, *numbers: int) -> None:
    alerts = Alerts(links.shared, "tests")
    for number in numbers:
        alert = Alert(Level.WARNING, f"t:{number}", f"Trouble {number}.", "Look.", "momentum_001")
        await alerts.raise_alert(alert, NOW_MS + number)


async def _drain(archive: AlertArchive) -> None:
    while await archive.step(1):
        pass


async def test_every_alert_is_kept_once_over_restarts_and_two_writers(
    redis_links: RedisClients, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    first, second = (AlertArchive(redis_links.shared, sync_settings) for _ in range(2))
    await _raise(redis_links, *range(7))
    await Alerts(redis_links.shared, "tests").resolve("t:3", NOW_MS)
    await asyncio.gather(_drain(first), _drain(second))
    await first.close()
    await _raise(redis_links, 7, 8)
    after = AlertArchive(redis_links.shared, sync_settings)
    await _drain(after)
    rows = await owner.fetch(
        "SELECT code, message, remedy, source, bot_id, raised_at, stream_id FROM audit.alerts ORDER BY 1"
    )
    assert [row["code"] for row in rows] == [f"t:{number}" for number in range(9)]
    stream = await redis_links.shared.xrange(keys.ALERTS)
    assert {row["stream_id"] for row in rows} == {entry for entry, fields in stream if fields["level"] != "over"}
    assert len(stream) == 10, "the end of trouble is no alert of its own"
    assert tuple(rows[3])[1:5] == ("Trouble 3.", "Look.", "tests", "momentum_001")
    assert rows[3]["raised_at"].timestamp() * 1000 == NOW_MS + 3
    for archive in (after, second):
        await archive.close()


async def test_an_alert_nobody_can_read_is_kept_all_the_same(
    redis_links: RedisClients, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    await redis_links.shared.xadd(keys.ALERTS, {"level": "odd", "text": "a\x00b", "raised_ms": "never"})
    archive = AlertArchive(redis_links.shared, sync_settings)
    await _drain(archive)
    row = await fetch_one(owner, "SELECT level, message FROM audit.alerts")
    assert tuple(row) == ("warning", "a\ufffdb")
    await archive.close()


async def test_a_stream_that_began_anew_in_the_past_is_read_whole(
    redis_links: RedisClients, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    archive = AlertArchive(redis_links.shared, sync_settings)
    await _raise(redis_links, 1)
    await _drain(archive)
    await redis_links.shared.delete(keys.ALERTS)
    await redis_links.shared.eval(
        "return redis.call('XADD', KEYS[1], '5-1', 'level', 'info', 'key', 'old')", 1, keys.ALERTS
    )
    await _drain(archive)
    await _drain(archive)
    assert await owner.fetchval("SELECT count(*) FROM audit.alerts WHERE code = 'old'") == 1
    assert await owner.fetchval("SELECT count(*) FROM audit.alerts") == 2
    await archive.close()

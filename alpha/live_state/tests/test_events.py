from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.events import EventReader, EventType

BOT = "shortseller_001"
FIELDS = {"type": "fill", "ts_ms": "1", "data": '{"exec_id":"a"}'}


async def test_a_reader_resumes_after_its_last_id(redis_links: RedisClients) -> None:
    redis = redis_links.database(0)
    first = await redis.xadd(keys.events(BOT), FIELDS)
    second = await redis.xadd(keys.events(BOT), FIELDS)
    assert [event.id for event in await EventReader(redis, BOT, first).read(block_ms=10)] == [second]


async def test_a_trimmed_id_is_answered_with_a_resync(redis_links: RedisClients) -> None:
    redis = redis_links.database(0)
    first = await redis.xadd(keys.events(BOT), FIELDS)
    for _ in range(5):
        await redis.xadd(keys.events(BOT), FIELDS, maxlen=2, approximate=False)
    reader = EventReader(redis, BOT, first)
    assert [event.type for event in await reader.read(block_ms=10)] == [EventType.RESYNC]
    assert await reader.read(block_ms=10) == []


async def test_a_flushed_redis_is_answered_with_a_resync(redis_links: RedisClients) -> None:
    redis = redis_links.database(0)
    last = await redis.xadd(keys.events(BOT), FIELDS)
    await redis.flushdb()
    reader = EventReader(redis, BOT, last)
    assert [event.type for event in await reader.read(block_ms=10)] == [EventType.RESYNC]
    added = await redis.xadd(keys.events(BOT), FIELDS)
    assert [event.id for event in await reader.read(block_ms=10)] == [added]

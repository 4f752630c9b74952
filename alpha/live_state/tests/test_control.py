from alpha.live_state.connect import RedisClients
from alpha.live_state.control import EXPIRY_MS, Command, CommandConsumer, PendingCommand, read_replies, send_command

NOW = 1_700_000_000_000
BOT = "shortseller_001"


async def test_a_command_is_taken_once_and_its_answer_is_found_by_its_id(redis_links: RedisClients) -> None:
    redis = redis_links.database(0)
    sent = await send_command(redis, BOT, "pause", {"why": "test"}, "operator:1", NOW)
    taker = CommandConsumer(redis, BOT)
    taken = [command for _ in range(3) for command in await taker.take(NOW, block_ms=10)]
    assert [(command.id, command.name, command.args) for command in taken] == [(sent, "pause", {"why": "test"})]
    await taker.answer(taken[0], "done", "Paused.")
    assert await taker.take(NOW, block_ms=10) == []
    assert await CommandConsumer(redis, BOT).take(NOW, block_ms=10) == []
    replies, _ = await read_replies(redis, BOT, "0-0", block_ms=10)
    assert [(reply.command_id, reply.outcome) for reply in replies] == [(sent, "done")]


async def test_a_command_taken_by_a_process_that_died_comes_again(redis_links: RedisClients) -> None:
    redis = redis_links.database(0)
    sent = await send_command(redis, BOT, "pause", {}, "operator:1", NOW)
    first = CommandConsumer(redis, BOT)
    assert [c.id for _ in range(3) for c in await first.take(NOW, block_ms=10)] == [sent]
    second = CommandConsumer(redis, BOT)
    assert [c.id for _ in range(3) for c in await second.take(NOW, block_ms=10)] == [sent], (
        "once, though not answered yet"
    )
    later = await send_command(redis, BOT, "resume", {}, "operator:1", NOW)
    assert [c.id for _ in range(3) for c in await second.take(NOW, block_ms=10)] == [later]


async def test_an_expired_command_is_answered_and_never_run(redis_links: RedisClients) -> None:
    redis = redis_links.database(0)
    sent = await send_command(redis, BOT, "resume", {}, "operator:1", NOW)
    taker = CommandConsumer(redis, BOT)
    for _ in range(3):
        assert await taker.take(NOW + EXPIRY_MS, block_ms=10) == []
    replies, _ = await read_replies(redis, BOT, "0-0", block_ms=10)
    assert [(reply.command_id, reply.outcome) for reply in replies] == [(sent, "expired")]


async def test_a_pending_command_has_its_own_answers_alone(redis_links: RedisClients) -> None:
    redis = redis_links.database(0)
    consumer = CommandConsumer(redis, BOT)

    async def taken() -> Command:
        found = [command for _ in range(3) for command in await consumer.take(NOW, block_ms=10)]
        return found[0]

    earlier = await PendingCommand.send(redis, BOT, "pause", {}, "operator:1", NOW)
    await consumer.answer(await taken(), "done", "paused")
    pending = await PendingCommand.send(redis, BOT, "resume", {}, "operator:1", NOW)
    command = await taken()
    await consumer.answer(command, "progress", "soon")
    await consumer.answer(command, "done", "resumed")
    assert [reply.text for reply in await earlier.replies(10)] == ["paused"]
    assert [reply.text for reply in await pending.replies(10)] == ["soon", "resumed"]
    assert await pending.replies(10) == []

"""What a strategy computed at each bar is kept for charts, from its own process and from a worker; trading never depends on it."""

import json
import tomllib

import pytest

from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import BarIndicators, read_indicators
from bot_runner.indicator_log import SYMBOLS_KEPT, IndicatorLog
from tests.support.bot_harness import BotHarness, sim, trades
from tests.support.world import BOTS, ROOT, until

pytestmark = pytest.mark.timeout(400)
BOT, BAR_MS = "shortseller_001", 300_000
MEASURING = "tests.support.toy_bot:MeasuringToy"


async def kept(stage: BotHarness, count: int, bot: str = BOT, database: int = 0) -> list[BarIndicators]:
    """The bot's rows of BTCUSDT, once there are so many."""
    links = RedisClients(stage.servers.redis.settings())
    rows: list[BarIndicators] = []

    async def there() -> bool:
        rows[:] = await read_indicators(links.database(database), bot, "BTCUSDT")
        return len(rows) >= count

    try:
        await until(there, 20, f"{count} rows of indicators")
        assert (
            await links.database(database).eval("return redis.call('TTL', KEYS[1])", 1, keys.indicators(bot, "BTCUSDT"))
            > 0
        )
    finally:
        await links.close()
    return rows


async def test_each_bar_adds_its_values_over_a_restart(stage: BotHarness) -> None:
    bot = stage.toy(strategy=MEASURING)
    await stage.play(bot)
    await stage.bars(2)
    first = await kept(stage, 2)
    assert {row.interval_ms for row in first} == {BAR_MS}
    assert [row.start_ms for row in first] == list(range(first[0].start_ms, first[-1].start_ms + 1, BAR_MS))
    assert set(first[-1].values) == {"mean", "up", "mean 15", "up 15"}, "what is not finite is left out"
    links = RedisClients(stage.servers.redis.settings())
    candle = json.loads((await links.shared.lrange(keys.candles("BTCUSDT", "5"), -1, -1) or ["[]"])[0])
    await links.close()
    if candle:
        assert first[-1].values["mean"] == pytest.approx((float(candle[2]) + float(candle[3])) / 2)
    assert bot.stop() == 0
    await stage.absent()
    await stage.play(bot)
    await stage.bars(2)
    again = await kept(stage, len(first) + 2)
    starts = [row.start_ms for row in again]
    assert starts == sorted(set(starts))
    assert again[: len(first)] == first, "what was computed then stays"
    assert starts[-1] == first[-1].start_ms + 2 * BAR_MS


async def test_a_redis_that_refuses_them_is_logged_once_and_trading_goes_on(stage: BotHarness) -> None:
    links = RedisClients(stage.servers.redis.settings())
    key = keys.indicators(BOT, "BTCUSDT")
    await links.database(0).set(key, "not a list")
    bot = stage.toy(strategy=MEASURING, SHORTSELLER_HOLD_BARS="1")
    await stage.play(bot)
    await stage.bars(4)
    assert [row["reason"] for row in trades(bot)] == ["entry", "time_limit", "entry", "time_limit"]
    assert bot.said().count("indicators_not_kept") == 1
    await links.database(0).delete(key)
    await links.close()
    await stage.bars(1)
    rows = await kept(stage, 5)
    assert [row.start_ms for row in rows] == list(range(rows[0].start_ms, rows[-1].start_ms + 1, BAR_MS)), "no gap"


async def test_a_strategy_in_a_worker_keeps_them_too(stage: BotHarness) -> None:
    rows = tomllib.loads((ROOT / "bots.toml").read_text())["bot"]
    for row in rows:
        row |= {"container": "pack", "folder": "strategies/momentum", "entry": "trading_system.py"}
        row |= {"strategy": MEASURING}
    bots = stage.folder / "bots.toml"
    bots.write_text(
        "".join("[[bot]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in row.items()) for row in rows)
    )
    variables = dict(stage.environment("alpha_strategy"))
    for key in BOTS:
        variables |= key.environment()
    variables |= {"ALPHA_BOTS_FILE": str(bots), "ALPHA_CONTAINER": "pack", "ALPHA_STEP_URL": stage.simulator.url}
    process = stage.process("pack", ["-m", "bot_runner"], {**variables, "ALPHA_LEASE_SECONDS": "2"})
    process.start()

    async def all_there() -> bool:
        assert process.running, process.said()[-3000:]
        clients = (await sim(stage, "POST", "/_sim/clients", client="", remove=True))["clients"]
        return {bot.bot for bot in BOTS} <= set(clients)

    await until(all_there, 120, "the bots to join the step clock")
    await stage.bars(2)
    for row in rows:
        assert set((await kept(stage, 2, row["id"], row["redis_db"]))[-1].values) == {"mean", "up", "mean 15", "up 15"}
    assert "indicators_not_kept" not in process.said()
    assert process.stop() == 0


async def test_of_many_symbols_those_traded_last_are_kept(redis_links: RedisClients) -> None:
    log = IndicatorLog(redis_links.database(0), BOT)
    few = [f"S{number}USDT" for number in range(SYMBOLS_KEPT)]
    assert list(log.due(few, [])) == few
    many = [f"S{number}USDT" for number in range(3 * SYMBOLS_KEPT)]
    assert log.due(many, []) == {}
    assert list(log.due(many, ["S7USDT", "GONEUSDT"])) == ["S7USDT"]
    log.due(many, many[20:])
    assert list(log.due(many, [])) == many[-SYMBOLS_KEPT:]


async def test_the_list_is_bounded_and_an_emptied_redis_gets_the_history_again(redis_links: RedisClients) -> None:
    database = redis_links.database(0)
    log, key = IndicatorLog(database, BOT), keys.indicators(BOT, "BTCUSDT")
    rows = [BarIndicators(number * BAR_MS, BAR_MS, {"up": float(number)}) for number in range(700)]
    log.take({"BTCUSDT": rows[:650]})
    await log.close()
    assert await read_indicators(database, BOT, "BTCUSDT") == rows[150:650]
    await database.delete(key)
    log.take({"BTCUSDT": rows[650:651]})
    await log.close()
    assert log.due(["BTCUSDT"], []) == {"BTCUSDT": -1}, "the next bar hands over all it has"
    log.take({"BTCUSDT": rows[400:652]})
    await log.close()
    assert await read_indicators(database, BOT, "BTCUSDT") == rows[400:652]
    longer = [BarIndicators(0, 3 * BAR_MS, {"up": 1.0})]
    other = IndicatorLog(database, BOT)
    other.take({"BTCUSDT": longer})
    await other.close()
    assert await read_indicators(database, BOT, "BTCUSDT") == longer, "values of another interval are not mixed in"

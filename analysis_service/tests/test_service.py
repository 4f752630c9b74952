"""The process on the simulated exchange: what it publishes is what an offline computation gives, to the bit."""

import asyncio
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from alpha.analysis import Definition, analyse, read_definition
from alpha.bybit.client import market_gateway
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.rate_limiter import RateLimiter
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.model.interval import INTERVAL_MS
from alpha.model.timestamp import ms_of
from alpha.postgres.database import Connection
from alpha.process import end_tasks
from alpha.timeframes import Columns
from analysis_service.feed import CandleFeed
from analysis_service.tests.conftest import Service
from tests.support.world import ROOT, Simulator, until

SYMBOLS = ("BTCUSDT", "ETHUSDT")


async def rows_of(owner: Connection, symbol: str, interval: str) -> list[Any]:
    """What is stored of a series, oldest first."""
    found: list[Any] = await owner.fetch(
        'SELECT closed_at, close, rating, "values" FROM trading.analysis WHERE symbol = $1 AND "interval" = $2 ORDER BY closed_at',
        symbol,
        interval,
    )
    return found


async def exchanges_own(url: str, symbol: str, interval: str, end_ms: int, count: int) -> Columns:
    """The exchange's own candles up to the one that ends at `end_ms`, read over REST by nothing of the service."""
    length, rows = INTERVAL_MS[interval], []
    async with httpx.AsyncClient(base_url=url) as client:
        begin = end_ms - count * length
        while begin < end_ms:
            end = min(begin + 999 * length, end_ms - length)
            params: dict[str, str | int] = {
                "category": "linear",
                "symbol": symbol,
                "interval": interval,
                "limit": 1_000,
            }
            params |= {"start": begin, "end": end}
            answer = await client.get("/v5/market/kline", params=params)
            rows += [row for row in answer.json()["result"]["list"] if int(row[0]) <= end]
            begin = end + length
    rows.sort(key=lambda row: int(row[0]))
    starts = np.array([int(row[0]) for row in rows], dtype=np.int64)
    return Columns(starts, *(np.array([float(row[place]) for row in rows]) for place in range(1, 6)))


async def compare(owner: Connection, url: str, definition: Definition) -> int:
    """Every stored row against an offline computation over the exchange's own candles; returns how many there were."""
    compared = 0
    for symbol in SYMBOLS:
        for interval in definition.intervals:
            stored = await rows_of(owner, symbol, interval)
            if not stored:
                continue
            length = INTERVAL_MS[interval]
            ends = [ms_of(row["closed_at"]) for row in stored]
            assert ends == list(range(ends[0], ends[-1] + 1, length)), (symbol, interval, "has holes")
            count = definition.history(interval) + len(ends) + 5
            candles = await exchanges_own(url, symbol, interval, ends[-1], count)
            offline = analyse(candles, length, definition, len(ends))[-len(ends) :]
            for row, expected in zip(stored[-len(offline) :], offline, strict=True):
                where = (symbol, interval, row["closed_at"])
                assert ms_of(row["closed_at"]) == expected.closed_ms, where
                ours = [None if value is None else float(value).hex() for value in row["values"]]
                assert ours == [None if value is None else value.hex() for value in expected.values], where
                assert row["rating"] == expected.rating, where
                compared += 1
    return compared


# on a busy machine each of its four waits may take minutes, and is to name what it waited for
@pytest.mark.timeout(900)
async def test_published_values_equal_an_offline_computation_whatever_is_killed_cut_lost_late_or_doubled(
    service: Service, simulator: Simulator, owner: Connection, redis_links: RedisClients
) -> None:
    definition = read_definition(service.definition)
    process = service(simulator.environment(), analysis_backfill="20")

    async def has(count: int, interval: str = "5") -> bool:
        return min([len(await rows_of(owner, symbol, interval)) for symbol in SYMBOLS]) >= count

    await until(lambda: has(21), 40, "the backfill")
    draw = random.Random(3)
    async with httpx.AsyncClient(base_url=simulator.url) as client:
        for kind in ("duplicate", "reorder", "delay", "drop"):
            fault = {"kind": kind, "topic": "kline", "stream": "public", "every": draw.choice((2, 3)), "ms": 400}
            assert (await client.post("/_sim/faults", json=fault)).status_code == 200
        before = len(await rows_of(owner, "BTCUSDT", "5"))
        await until(lambda: has(before + 10), 40, "candles over a bad connection")
        process.kill()
        await asyncio.sleep(1.5)
        # Enough for the candles of a start on a busy machine: what is older stays a hole.
        process = service(simulator.environment(), analysis_backfill="400")
        before = len(await rows_of(owner, "BTCUSDT", "5"))
        await until(lambda: has(before + 10), 40, "candles after the kill")
        assert (await client.post("/_sim/faults", json={"kind": "cut"})).status_code == 200
        assert (await client.delete("/_sim/faults")).status_code == 200
        before = len(await rows_of(owner, "BTCUSDT", "5"))
        await until(lambda: has(before + 12), 40, "candles after the cut")
    assert (await service.health())[0] == 200
    assert "analysis_disagreements_total 0.0" in await service.metrics()
    assert process.stop() == 0
    assert await compare(owner, simulator.url, definition) > 300
    # Redis has the newest, and the overall rating is the mean
    newest = (await rows_of(owner, "BTCUSDT", "60"))[-1]
    live = await redis_links.shared.hgetall(keys.analysis("BTCUSDT", "60"))
    assert int(live["closed_ms"]) == ms_of(newest["closed_at"])
    assert list(json.loads(live["values"]).values()) == list(newest["values"])
    overall = await redis_links.shared.hgetall(keys.analysis("BTCUSDT", keys.ALL_INTERVALS))
    known = [rating for rating in json.loads(overall["ratings"]).values() if rating is not None]
    assert float(overall["rating"]) == sum(known) / len(known)
    events = await redis_links.shared.xrange(keys.ANALYSIS_EVENTS)
    assert {fields["interval"] for _, fields in events} >= {"5", "15", "30", "60"}


async def test_rows_wait_for_postgres_and_redis_and_the_alert_is_off_unless_asked_for(
    service: Service, simulator: Simulator, owner: Connection, redis_links: RedisClients
) -> None:
    service.definition.write_text('intervals = ["5", "15"]\n[[indicator]]\nkind = "change"\nperiod = 1\n')
    process = service(simulator.environment(), analysis_alerts="5", analysis_check_s="1")

    async def alerted() -> bool:
        rows = await redis_links.shared.xrange(keys.ALERTS)
        return any("BTCUSDT 5: rating changed from" in fields["text"] for _, fields in rows)

    await until(alerted, 40, "an alert of a changed rating")
    # the grant is taken away: rows wait, nothing else stops
    await owner.execute("REVOKE INSERT ON trading.analysis FROM alpha_analysis")

    async def waits() -> bool:
        return any(
            line.startswith("analysis_waiting_rows") and float(line.split()[1]) > 4
            for line in (await service.metrics()).splitlines()
        )

    await until(waits, 40, "rows that wait")
    live = await redis_links.shared.hgetall(keys.analysis("BTCUSDT", "5"))
    await owner.execute("GRANT INSERT ON trading.analysis TO alpha_analysis")

    async def stored() -> bool:
        rows = await rows_of(owner, "BTCUSDT", "5")
        return bool(rows) and ms_of(rows[-1]["closed_at"]) > int(live["closed_ms"])

    await until(stored, 40, "the rows to be stored")
    assert process.stop() == 0
    await compare(owner, simulator.url, read_definition(service.definition))
    again = service(simulator.environment())
    await until(stored, 20, "the restart")
    await redis_links.shared.delete(keys.ALERTS)

    async def two_more() -> bool:
        return len(await rows_of(owner, "BTCUSDT", "5")) > len(known) + 3

    known = await rows_of(owner, "BTCUSDT", "5")
    await until(two_more, 40, "more candles")
    assert await redis_links.shared.xlen(keys.ALERTS) == 0
    again.kill()


async def test_bad_input_is_one_sentence_at_the_start(service: Service, simulator: Simulator) -> None:
    cases = {
        "kind 'rsj' does not exist": {"definition": 'intervals = ["5"]\n[[indicator]]\nkind = "rsj"\n'},
        "ANALYSIS_FILE: ": {"definition": "intervals = 5"},
        "got 0": {"definition": 'intervals = ["5"]\n[[indicator]]\nkind = "rsi"\nperiod = 0\n'},
        "ANALYSIS_SYMBOLS names NOSUCHUSDT": {"analysis_symbols": "NOSUCHUSDT"},
        "'btc usdt' cannot be a symbol": {"analysis_symbols": "btc usdt"},
        "ANALYSIS_ALERTS names interval 3,": {"analysis_alerts": "3"},
        "ANALYSIS_RETENTION_DAYS": {"analysis_retention_days": "-1"},
    }
    shipped = service.definition.read_text()
    started = {}
    for number, (sentence, settings) in enumerate(cases.items()):
        file = service.folder / f"analysis-{number}.toml"
        file.write_text(settings.pop("definition", shipped))
        started[sentence] = service(simulator.environment(), analysis_file=str(file), health_port="0", **settings)

    async def ended() -> bool:
        return not any(process.running for process in started.values())

    await until(ended, 40, "all to end")
    for sentence, process in started.items():
        said = process.said()
        assert sentence in said, said
        assert process.exit_code() == 2
        assert "Traceback" not in said


async def test_months_are_partitions_and_old_ones_go(owner: Connection) -> None:
    day = datetime(2024, 1, 31, tzinfo=UTC)
    assert await owner.fetchval("SELECT trading.prepare_analysis($1, $2)", day, day.replace(month=3)) == 3
    insert = "INSERT INTO trading.analysis VALUES ('X', '5', $1, 'h', 1, 0, 0, 0, '{}')"
    for month in (1, 2, 3):
        await owner.execute(insert, day.replace(month=month, day=1))
    assert await owner.fetchval("SELECT trading.prune_analysis($1)", datetime(2024, 2, 29, 23, tzinfo=UTC)) == 1
    assert await owner.fetchval("SELECT count(*) FROM trading.analysis WHERE symbol = 'X'") == 2
    assert await owner.fetchval("SELECT trading.prune_analysis($1)", datetime(2024, 4, 1, tzinfo=UTC)) == 2


async def test_a_closed_market_misses_no_candle(tmp_path: Path) -> None:
    exchange = Simulator(
        tmp_path, options=("--symbols", "BTCUSDT,AAPLUSDT", "--start", "2026-11-30T23:00", "--no-rate-limits")
    )
    await exchange.start()
    definition = read_definition(ROOT / "analysis_service" / "analysis.toml")

    async def keep(_symbol: str, _now_ms: int) -> dict[str, int]:
        return dict.fromkeys(definition.intervals, 50)

    async def closed(_symbol: str, _candles: object, _intervals: set[str]) -> None: ...

    gateway = market_gateway(simulated_hosts(exchange.url, exchange.url.replace("http", "ws")), RateLimiter(None))
    feed = CandleFeed(gateway, definition, keep, closed, lambda symbol, why: None)
    running = asyncio.create_task(feed.run())
    try:
        feed.follow({"BTCUSDT", "AAPLUSDT"})

        async def both() -> bool:
            return not feed.unread

        await until(both, 30, "the history of both")
        # the market is said to be hours on: a coin's candles are missing then, a closed stock's are not
        feed.newest_ms = await gateway.server_time_ms() + 6 * 3_600_000
        assert feed.overdue() == ["BTCUSDT"]
    finally:
        await end_tasks([running])
        await gateway.close()
        exchange.process.stop()

"""The sink against a real InfluxDB: its traps, and an outage."""

import asyncio
import time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from aiohttp import web

from alpha.config.loader import load
from alpha.errors import Misconfigured, Retry
from alpha.influx import InfluxClient, InfluxSettings, LinesRefused
from alpha_cli.doctor.finding import CheckOutcome, carried_out
from alpha_cli.doctor.stores import check_influx
from tests.support.influx import PASSWORD, USER, EmbeddedInflux
from tests.support.world import until
from tick_recorder.columns import to_frame
from tick_recorder.frames import Trade
from tick_recorder.influx.lines import to_lines
from tick_recorder.influx.sink import write_lines
from tick_recorder.order_book import Bbo
from tick_recorder.schema import HOUR_MS, Kind
from tick_recorder.store import TickStore
from tick_recorder.tests.compare import stored
from tick_recorder.tests.conftest import RecorderMaker
from tick_recorder.tests.exchange import TickExchange

TS = 1_700_000_000_123


def settings(url: str, **more: str) -> InfluxSettings:
    """How a client reaches the server."""
    return load(
        InfluxSettings, env_file=None, influx_url=url, **{"influx_user": USER, "influx_token": PASSWORD, **more}
    )


async def _write_one(client: InfluxClient) -> None:
    await client.check()
    await client.write(b"trades,symbol=X price=1 1700000000000000000")


def trades(count: int, ts: int = TS) -> pl.DataFrame:
    """Trades of one millisecond."""
    rows = [Trade(ts, "Buy", "0.500", f"{100 + n}.10", f"id-{n}", n, received_us=1, ordinal=n) for n in range(count)]
    return to_frame(Kind.TRADES, rows)[0]


def test_lines_carry_every_decimal_and_a_time_of_their_own() -> None:
    lines = to_lines(Kind.TRADES, "BTCUSDT", trades(2))
    assert lines == [
        "trades,symbol=BTCUSDT,side=Buy price=100.1,size=0.5,seq=0i 1700000000123000000",
        "trades,symbol=BTCUSDT,side=Buy price=101.1,size=0.5,seq=1i 1700000000123000001",
    ]
    quote = to_frame(Kind.BBO, [Bbo(TS, None, None, "5", "1", 7, 1, 1)])[0]
    assert to_lines(Kind.BBO, "BTCUSDT", quote) == [
        "bbo,symbol=BTCUSDT ask=5,ask_size=1,update_id=7i 1700000000123000000"
    ]


async def test_trades_of_one_millisecond_are_points_of_their_own_and_a_repeat_is_none(influx: EmbeddedInflux) -> None:
    client = InfluxClient(settings(influx.url))
    try:
        for _ in range(2):
            assert not await write_lines(client, to_lines(Kind.TRADES, "BTCUSDT", trades(500)))
        ((series,),) = (await client.query('SELECT COUNT("price"), SUM("price") FROM trades'),)
        assert series["values"][0][1] == 500
        assert Decimal(str(round(series["values"][0][2], 6))) == sum((100 + n for n in range(500)), Decimal(0)) + 50
    finally:
        await client.close()


async def test_a_bad_line_is_found_and_its_neighbours_are_stored(influx: EmbeddedInflux) -> None:
    client = InfluxClient(settings(influx.url))
    lines = to_lines(Kind.TRADES, "BTCUSDT", trades(200))
    lines[77] = lines[77].replace("price=", "price=bad")
    lines[150] = lines[150].replace("size=0.5", 'size="text"')
    try:
        bad = (await write_lines(client, lines)).bad
        assert {line for line, _ in bad} == {lines[77], lines[150]}
        assert any("unable to parse" in fault for _, fault in bad)
        assert any("field type conflict" in fault for _, fault in bad)
        (series,) = await client.query('SELECT COUNT("price") FROM trades')
        assert series["values"][0][1] == 198
    finally:
        await client.close()


async def test_a_field_that_was_first_written_with_another_type_is_said(influx: EmbeddedInflux) -> None:
    client = InfluxClient(settings(influx.url))
    try:
        await client.write(b'trades,symbol=X price="text" 1700000000000000000')
        with pytest.raises(Misconfigured, match="drop its measurement"):
            await write_lines(client, to_lines(Kind.TRADES, "BTCUSDT", trades(200)))
    finally:
        await client.close()


async def test_points_older_than_the_retention_policy_are_counted_and_hide_no_bad_line(influx: EmbeddedInflux) -> None:
    influx.query('ALTER RETENTION POLICY "autogen" ON "ticks" DURATION 48h SHARD DURATION 1h')
    client = InfluxClient(settings(influx.url))
    now_ms = time.time_ns() // 1_000_000
    old, new = (to_lines(Kind.TRADES, "BTCUSDT", trades(300, ts)) for ts in (now_ms - 100 * HOUR_MS, now_ms))
    lines = old + new
    # the answer to the whole request speaks of the retention alone
    lines[400] = lines[400].replace("price=", "price=bad")
    seen: list[bytes] = []
    write = client.write

    async def noted(lines: bytes) -> None:
        seen.append(lines)
        await write(lines)

    client.write = noted  # type: ignore[method-assign]
    try:
        refused = await write_lines(client, lines)
        assert refused.beyond_retention == 300
        assert refused.example is not None
        line, fault = refused.example
        assert line == old[0]
        assert "points beyond retention policy" in fault
        assert [line for line, _ in refused.bad] == [lines[400]]
        assert len(seen) < 60
        (series,) = await client.query('SELECT COUNT("price") FROM trades')
        assert series["values"][0][1] == 299
    finally:
        await client.close()


def test_what_version_2_says_of_points_outside_its_retention_is_understood() -> None:
    said = LinesRefused(
        "partial write: dropped 7 points outside retention policy of duration 24h0m0s - oldest point trades,symbol=X at "
        "2023-11-14T22:13:20Z dropped because it violates a Retention Policy Lower Bound at 2026-01-01T00:00:00Z dropped=7"
    )
    assert said.beyond_retention == 7
    assert LinesRefused("partial write: field type conflict dropped=7").beyond_retention == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"influx_db": "other"}, 'CREATE DATABASE "other"'),
        ({"influx_token": "wrong"}, "INFLUX_USER and INFLUX_TOKEN"),
        ({"influx_user": "reader"}, 'GRANT ALL ON "ticks" TO "reader"'),
    ],
)
async def test_what_is_wrong_comes_with_what_mends_it(influx: EmbeddedInflux, more: dict[str, str], says: str) -> None:
    influx.query(f"CREATE USER reader WITH PASSWORD '{PASSWORD}'")
    influx.query('GRANT READ ON "ticks" TO "reader"')
    client = InfluxClient(settings(influx.url, **more))
    try:
        with pytest.raises(Misconfigured) as raised:
            await _write_one(client)
        assert says in str(raised.value)
        assert PASSWORD not in str(raised.value)
    finally:
        await client.close()


async def test_a_missing_measurement_is_empty_and_a_dead_server_passes(influx: EmbeddedInflux) -> None:
    client = InfluxClient(settings(influx.url))
    try:
        assert await client.query('SELECT COUNT("price") FROM never') == []
        influx.kill()
        with pytest.raises(Retry, match="does not answer"):
            await client.check()
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (404, '{"code":"not found","message":"unable to find DBRP"}', "influx v1 dbrp create --db ticks"),
        (401, '{"code":"unauthorized","message":"unauthorized access"}', "the token as INFLUX_TOKEN"),
        (400, '{"error":"not understood"}', "not understood"),
    ],
)
async def test_what_version_2_and_3_answer_by_their_documents(status: int, body: str, says: str) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(status=status, text=body, content_type="application/json")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    client = InfluxClient(settings(f"http://127.0.0.1:{port}", influx_token="token-of-2"))
    try:
        with pytest.raises(Misconfigured) as raised:
            await client.check()
        assert says in str(raised.value)
        assert seen[0].startswith("Basic ")
    finally:
        await client.close()
        await runner.cleanup()


def sink_settings(influx: EmbeddedInflux) -> dict[str, str]:
    """The recorder's variables."""
    return {"influx_url": influx.url, "influx_user": USER, "influx_token": PASSWORD, "influx_db": "ticks"}


def by_hour(influx: EmbeddedInflux, measurement: str, field: str) -> dict[tuple[str, int], int]:
    """Points of each symbol and hour in InfluxDB."""
    found = influx.query(
        f'SELECT COUNT("{field}") FROM {measurement} WHERE time >= 0 GROUP BY time(1h), symbol fill(none)'
    )
    return {
        (str(series["tags"]["symbol"]), row[0] // 1_000_000 // HOUR_MS): row[1]  # type: ignore[index]
        for series in found
        for row in series["values"]  # type: ignore[attr-defined]
    }


def files_by_hour(folder: Path, kind: Kind) -> dict[tuple[str, int], int]:
    """Rows of each symbol and hour in the files."""
    store = TickStore(folder)
    found: dict[tuple[str, int], int] = {}
    for symbol in store.symbols(kind):
        for row in stored(folder, kind, symbol).group_by(pl.col("ts").dt.epoch("ms") // HOUR_MS).len().iter_rows():
            found[(symbol, row[0])] = row[1]
    return found


async def equal(recorder: RecorderMaker, influx: EmbeddedInflux, exchange: TickExchange) -> None:
    """Wait until both hold everything that was sent, hour by hour."""

    async def same() -> bool:
        whole = sum(files_by_hour(recorder.ticks, Kind.TRADES).values()) == sum(
            len(sent.trades) for sent in exchange.sent.values()
        )
        return (
            whole
            and by_hour(influx, "trades", "price") == files_by_hour(recorder.ticks, Kind.TRADES)
            and by_hour(influx, "bbo", "update_id") == files_by_hour(recorder.ticks, Kind.BBO)
        )

    await until(same, 60, "InfluxDB and the files to be equal", 0.5)


async def outage(
    recorder: RecorderMaker, exchange: TickExchange, influx: EmbeddedInflux, hours: int, seconds: float
) -> None:
    """InfluxDB dies while ticks of some hours come; afterwards both are equal, and the files were never late."""
    recorder(exchange, **sink_settings(influx))
    await recorder.listening(exchange, 4)
    begin = (time.time_ns() // 1_000_000 // HOUR_MS - hours - 1) * HOUR_MS
    for number in range(100):
        exchange.trade("BTCUSDT", 3, ts=begin + number)
        exchange.quote("ETHUSDT", ts=begin + number)
    await equal(recorder, influx, exchange)
    influx.kill()
    ends = time.monotonic() + seconds
    step = 0
    while step < hours * 20 or time.monotonic() < ends:
        ts = begin + 200 + step * (HOUR_MS * hours // max(hours * 20, int(seconds * 50)))
        exchange.trade("BTCUSDT", 2, ts=ts)
        exchange.quote("ETHUSDT", ts=ts)
        step += 1
        await asyncio.sleep(0.02)
    sent = len(exchange.of("BTCUSDT").trades)

    async def in_the_files() -> bool:
        return len(stored(recorder.ticks, Kind.TRADES, "BTCUSDT")) == sent

    # nothing is late in the files because of InfluxDB: two parts are time enough
    await until(in_the_files, 3, "the files to have everything")
    status, text = await recorder.health()
    assert status == 200
    assert "does not answer" in text
    influx.start()
    await equal(recorder, influx, exchange)


async def test_after_an_outage_the_counts_are_equal_hour_by_hour(
    recorder: RecorderMaker, exchange: TickExchange, influx: EmbeddedInflux
) -> None:
    await outage(recorder, exchange, influx, 3, 1)


@pytest.mark.long
@pytest.mark.timeout(4800)
@pytest.mark.parametrize("seconds", [120, 3_600])
async def test_after_two_minutes_and_after_an_hour_the_counts_are_equal(
    recorder: RecorderMaker, exchange: TickExchange, influx: EmbeddedInflux, seconds: int
) -> None:
    await outage(recorder, exchange, influx, 3, seconds)


async def test_a_restart_finds_what_a_killed_process_had_not_sent(
    recorder: RecorderMaker, exchange: TickExchange, influx: EmbeddedInflux
) -> None:
    process = recorder(exchange)
    await recorder.listening(exchange, 4)
    for _ in range(30):
        exchange.trade("BTCUSDT", 3)
        exchange.quote("BTCUSDT")

    async def in_the_files() -> bool:
        return len(stored(recorder.ticks, Kind.TRADES, "BTCUSDT")) == 90

    await until(in_the_files, 10, "the files")
    process.kill()
    assert by_hour(influx, "trades", "price") == {}
    recorder(exchange, **sink_settings(influx))
    await equal(recorder, influx, exchange)


async def test_ticks_that_influxdb_no_longer_keeps_are_one_rejected_message_and_do_not_stop_the_others(
    recorder: RecorderMaker, exchange: TickExchange, influx: EmbeddedInflux
) -> None:
    influx.query('ALTER RETENTION POLICY "autogen" ON "ticks" DURATION 48h SHARD DURATION 1h')
    process = recorder(exchange, **sink_settings(influx))
    await recorder.listening(exchange, 4)
    now_ms = time.time_ns() // 1_000_000
    for number in range(100):
        exchange.trade("BTCUSDT", 2, ts=now_ms - 100 * HOUR_MS + number)
    for number in range(100):
        exchange.trade("BTCUSDT", 1, ts=now_ms - HOUR_MS + number)

    async def there() -> bool:
        sent = await recorder.metric("ticks_influx_beyond_retention_total")
        return sent >= 200 and sum(by_hour(influx, "trades", "price").values()) == 100

    await until(there, 30, "the newer ones in InfluxDB and the older ones to be counted")
    assert len(stored(recorder.ticks, Kind.TRADES, "BTCUSDT")) == 300
    said = [line for line in process.said().splitlines() if '"rejected"' in line]
    assert len(said) == 1
    assert "points beyond retention policy" in said[0]

    async def alerted() -> bool:
        return "ticks:influx-retention" in process.said()

    # alerts of one kind are gathered for a moment
    await until(alerted, 30, "the alert")
    assert process.said().count("ticks:influx-retention") == 1
    assert '"fault":""' in (await recorder.health())[1].replace(" ", "")


async def test_the_doctor_says_which_command_makes_what_is_missing(influx: EmbeddedInflux) -> None:
    (fine,) = [one async for one in carried_out("influxdb", lambda: check_influx(settings(influx.url)))]
    assert fine.outcome is CheckOutcome.OK
    missing = settings(influx.url, influx_db="other")
    (finding,) = [one async for one in carried_out("influxdb", lambda: check_influx(missing))]
    assert finding.outcome is CheckOutcome.FAULT
    assert 'CREATE DATABASE "other"' in finding.text + finding.remedy

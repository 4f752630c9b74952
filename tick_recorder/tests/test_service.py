"""The recorder as a service: it starts or says why not, its health can fail, and its alerts reach the operator."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alpha.config.loader import load
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.postgres.rejected import RejectedMessage
from tests.support.world import ROOT, patience, until
from tick_recorder.app import AWAY_S, LAG_S, RecorderProcess
from tick_recorder.columns import Rejection
from tick_recorder.settings import RecorderSettings
from tick_recorder.store import TickStore
from tick_recorder.tests.conftest import RecorderMaker
from tick_recorder.tests.exchange import TickExchange
from tick_recorder.writer import Report


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ticks_retention_days": "-3"}, "TICKS_RETENTION_DAYS is '-3'"),
        ({"influx_url": "influx:8086"}, "INFLUX_URL is 'influx:8086'"),
        ({"ticks_dir": "/proc/ticks"}, "TICKS_DIR names /proc/ticks"),
        ({"ticks_symbols": ""}, "Redis does not answer at 127.0.0.1:1"),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(
    recorder: RecorderMaker, settings: dict[str, str], says: str
) -> None:
    process = recorder(TickExchange.__new__(_Nowhere), ticks_start_wait_s="0", **settings)
    deadline = time.monotonic() + 60 * patience()
    while process.exit_code() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    said = process.said()
    assert process.exit_code() in (1, 2)
    assert says in said
    assert "Traceback" not in said


class _Nowhere(TickExchange):
    """An exchange that is not there."""

    def environment(self) -> dict[str, str]:
        return {"BYBIT_REST_URL": "http://127.0.0.1:1", "BYBIT_WS_URL": "ws://127.0.0.1:1"}


@pytest.fixture
def service(tmp_path: Path, redis_links: RedisClients) -> Iterator[RecorderProcess]:
    """The wired process, not running."""
    settings = load(
        RecorderSettings,
        env_file=None,
        redis_password="none",
        postgres_password="none",
        bybit_rest_url="http://127.0.0.1:1",
        bybit_ws_url="ws://127.0.0.1:1",
        ticks_dir=str(tmp_path / "ticks"),
        alpha_bots_file=str(ROOT / "bots.toml"),
    )
    store = TickStore(tmp_path / "ticks")
    store.open()
    yield RecorderProcess(settings, redis_links, store)
    store.close()


async def test_each_check_fails_when_what_it_checks_is_away(service: RecorderProcess) -> None:
    checks = (service.stream_fault, service.disk_fault, service.lag_fault, service.redis_fault)
    assert [check() for check in checks] == [None] * 4
    long_ago = time.monotonic() - AWAY_S - service._settings.ticks_journal_s - 1
    service.stream_seen_s = service.stored_s = service.redis_seen_s = long_ago
    service.caught_up_s = time.monotonic() - LAG_S - 1
    service.recorder.received(b'{"topic":"publicTrade.A"}')
    faults = [check() for check in checks]
    assert all(fault is not None and fault.endswith(".") for fault in faults)
    assert "Nothing has been stored" in str(faults[1])


async def test_alerts_reach_the_operator(service: RecorderProcess, redis_links: RedisClients) -> None:
    service._down("connection lost: closed")
    service._disk_fault(OSError(28, "No space left on device"))
    service._tell(Report(full=[480_000], faults=["x.parquet cannot be read."]))
    await service.grouped.tell()
    raised = [fields for _, fields in await redis_links.shared.xrange(keys.ALERTS)]
    assert {row["key"] for row in raised} == {"ticks:stream", "ticks:disk", "ticks:full", "ticks:file"}
    assert {row["service"] for row in raised} == {"tick_recorder"}
    assert "No space left on device" in next(row["text"] for row in raised if row["key"] == "ticks:disk")


class _Stream:
    """A connection that is there; counts its replacements."""

    live = True

    def __init__(self, confirmed: set[str]) -> None:
        self.confirmed = confirmed
        self.replaced: list[str] = []

    def replace(self, why: str) -> None:
        self.replaced.append(why)


async def test_a_stream_that_stays_silent_is_replaced_ever_more_rarely_and_told_once(
    service: RecorderProcess, redis_links: RedisClients
) -> None:
    service.recorder.follow({"BTCUSDT"})
    stream = _Stream(service.recorder.topics)
    service.stream = stream  # type: ignore[assignment]
    now_s = time.monotonic()

    async def minutes(count: int, *, data: bool = False) -> list[tuple[str, str]]:
        """Time passes; the alerts that were raised meanwhile."""
        nonlocal now_s
        before = len(await redis_links.shared.xrange(keys.ALERTS))
        for _ in range(count * 60):
            now_s += 1.0
            if data:
                service._data_s = now_s
            known = len(stream.replaced)
            await service._watch_silence(now_s)
            if len(stream.replaced) > known:
                service._down(stream.replaced[-1])
                service._silence.connected(now_s)
                # a first snapshot, though nothing follows
                service._data_s = now_s
                await service.grouped.tell(all_of_it=True)
        raised = await redis_links.shared.xrange(keys.ALERTS)
        return [(fields["level"], fields["key"]) for _, fields in raised[before:]]

    silent, over = ("warning", "ticks:silent"), ("over", "ticks:silent")
    assert await minutes(1, data=True) == [over], "the one before may have raised it"
    assert await minutes(60) == [silent]
    # after 31, 61, 121, 241 and 481 s, then each 601
    assert len(stream.replaced) == 9
    assert await minutes(1, data=True) == [over]
    assert await minutes(1) == [silent]
    assert len(stream.replaced) == 10
    # a connection that is lost for another reason while there was data is told as ever
    await minutes(1, data=True)
    service._down("connection lost: closed")
    await service.grouped.tell(all_of_it=True)
    raised = await redis_links.shared.xrange(keys.ALERTS)
    assert raised[-1][1]["key"] == "ticks:stream"


async def test_what_cannot_be_read_waits_for_postgresql(service: RecorderProcess) -> None:
    service._reject(Rejection("It is not a number.", "row"))
    service._reject_line("trades price=x", "unable to parse")
    assert service._unsaid == [
        RejectedMessage("tick stream", "row", "It is not a number."),
        RejectedMessage("InfluxDB", "trades price=x", "unable to parse"),
    ]


async def test_a_symbol_that_the_exchange_does_not_know_is_said_and_the_others_are_recorded(
    recorder: RecorderMaker, exchange: TickExchange
) -> None:
    exchange.unknown.add("ETHUSDT")
    process = recorder(exchange)
    await recorder.listening(exchange, 2)

    async def said() -> bool:
        exchange.quote("BTCUSDT")
        return "The exchange does not stream ETHUSDT." in process.said()

    await until(said, 30, "the symbol to be named")
    assert (await recorder.health())[0] == 200

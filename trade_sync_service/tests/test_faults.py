"""Whatever fails during a run, no unread range counts as read, and in the end every trade is there once."""

import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from alpha.bybit.client import Gateway
from alpha.bybit.errors import KeyRefused
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.session import CallPolicy, Credentials
from alpha.clock import Backoff
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured, Retry
from alpha.model.timestamp import at
from alpha.postgres.database import Connection
from alpha.registry import Registry
from demo.postgres import EmbeddedPostgres
from exchange_simulator.exchange import Exchange
from exchange_simulator.rest.server import wall_ms
from tests.support.sync_world import DAY_MS, World, as_sync, at_rest, make_exchange, open_store, owner_of, world
from trade_sync_service.domain.coverage import WINDOW_MS, Interval, missing
from trade_sync_service.io.store import CLOSED_PNL
from trade_sync_service.tests.conftest import PASSWORD, prepare
from trade_sync_service.tests.meddling import Handler, Meddler, answered, body_of, code, of_closed_pnl

BOT = "shortseller_001"
DAYS = 30


@pytest.fixture(scope="module")
def history() -> Iterator[Exchange]:
    """An exchange whose bot has enough closed trades for windows of several pages. Tests only read it."""
    exchange = make_exchange()
    made = at_rest(exchange)
    made.trade(21, days=9, per_day=100, bots=[BOT])
    assert len(made.closed(BOT)) > 400
    yield exchange
    exchange.close()


@pytest.fixture
async def busy(history: Exchange) -> AsyncIterator[World]:
    """That exchange, listening."""
    async with world(history) as running:
        yield running
    history.keys["key0"].revoked = False


@pytest.fixture
async def meddler(busy: World) -> AsyncIterator[Meddler]:
    meddler = Meddler(busy.app)
    yield meddler
    meddler.meddle = None


def _gateway(world: World) -> Gateway:
    """A gateway that gives up quickly: these faults are permanent."""
    key = world.keys[BOT]
    return Gateway(
        simulated_hosts(world.url, world.url.replace("http", "ws")),
        Credentials(key.api_key, key.secret),
        world.throttle,
        account=BOT,
        policy=CallPolicy(backoff=Backoff(tries=3, first_s=0.01, most_s=0.02), timeout_s=2.0),
    )


async def _run(world: World, settings: DatabaseSettings, *, windows_at_once: int = 3) -> None:
    store = await open_store(settings, world, BOT)
    try:
        async with _gateway(world) as gateway:
            await world.sync(gateway, store, windows_at_once=windows_at_once).run(history_days=DAYS)
    finally:
        await store.close()


async def _table(owner: Connection) -> Counter[tuple[object, ...]]:
    rows = await owner.fetch(
        "SELECT order_id, updated_at, closed_size, exit_value, closed_pnl FROM trading.completed_trades"
    )
    return Counter(tuple(row) for row in rows)


def _ledger(world: World) -> Counter[tuple[object, ...]]:
    return Counter(
        (row.order_id, at(row.updated_ms), row.closed_size, row.exit_value, row.closed_pnl) for row in world.closed(BOT)
    )


async def _unread(world: World, settings: DatabaseSettings) -> int:
    """How many milliseconds of the history count as unread."""
    store = await open_store(settings, world, BOT)
    covered = await store.coverage(CLOSED_PNL)
    await store.close()

    now = world.exchange.now_ms + 1
    return sum(gap.length_ms for gap in missing(Interval(now - DAYS * DAY_MS, now), covered))


async def _complete(world: World, settings: DatabaseSettings, owner: Connection) -> None:
    assert await _table(owner) == _ledger(world)
    assert await _unread(world, settings) == 0


async def test_a_page_that_comes_again_under_another_cursor_counts_once(
    busy: World, meddler: Meddler, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    real: dict[str, str] = {}
    numbers = itertools.count(1)

    async def repeat(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        answer = await true(request)
        body = await body_of(answer)
        following = body["result"].get("nextPageCursor", "")
        if following and "cursor" not in request.query:
            again = f"again{next(numbers)}"
            real[again] = following
            pages[again] = body
            body = {**body, "result": {**body["result"], "nextPageCursor": again}}
        return answered(body)

    pages: dict[str, dict[str, object]] = {}

    async def meddle(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        cursor = request.query.get("cursor", "")
        if cursor in pages:
            body = pages[cursor]
            result = body["result"]
            assert isinstance(result, dict)
            return answered({**body, "result": {**result, "nextPageCursor": real[cursor]}})
        return await repeat(request, true)

    meddler.meddle = of_closed_pnl(meddle)
    await _run(busy, sync_settings)
    assert real
    await _complete(busy, sync_settings, owner)


async def test_a_cursor_that_loops_leaves_its_window_unread_and_the_others_read(
    busy: World, meddler: Meddler, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    async def loop(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        answer = await true(request)
        body = await body_of(answer)
        if "cursor" in request.query:
            body["result"]["nextPageCursor"] = request.query["cursor"].replace(":", "%3A").replace(",", "%2C")
        return answered(body)

    meddler.meddle = of_closed_pnl(loop)
    with pytest.raises(Retry):
        await _run(busy, sync_settings)
    assert 0 < await _unread(busy, sync_settings) < DAYS * DAY_MS
    meddler.meddle = None
    await _run(busy, sync_settings)
    await _complete(busy, sync_settings, owner)


async def test_an_empty_page_with_a_cursor_ends_nothing(
    busy: World, meddler: Meddler, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    async def empty(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        answer = await true(request)
        if "cursor" in request.query or request.query.get("endTime") in first:
            return answer
        first.add(request.query.get("endTime", ""))
        body = await body_of(answer)
        body["result"] = {**body["result"], "list": [], "nextPageCursor": "hole"}
        holes["hole"] = answer
        return answered(body)

    first: set[str] = set()
    holes: dict[str, web.StreamResponse] = {}

    async def meddle(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        if request.query.get("cursor") == "hole":
            return answered(await body_of(holes["hole"]))
        return await empty(request, true)

    meddler.meddle = of_closed_pnl(meddle)
    await _run(busy, sync_settings, windows_at_once=1)
    assert len(first) > 2
    await _complete(busy, sync_settings, owner)


async def test_rows_that_move_to_the_next_page_while_it_is_read_count_once(
    busy: World, meddler: Meddler, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    shifted: set[str] = set()
    last: dict[str, object] = {}

    async def shift(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        answer = await true(request)
        body = await body_of(answer)
        window = request.query["endTime"]
        if "cursor" in request.query and window in last and window not in shifted:
            shifted.add(window)
            body["result"]["list"].insert(0, last[window])
        elif body["result"]["list"]:
            last[window] = body["result"]["list"][-1]
        return answered(body)

    meddler.meddle = of_closed_pnl(shift)
    await _run(busy, sync_settings)
    assert shifted
    await _complete(busy, sync_settings, owner)


async def test_equal_rows_on_two_pages_are_several_trades_once_two_readings_agree(
    busy: World, meddler: Meddler, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    last: dict[str, object] = {}
    doubled: list[object] = []

    async def double(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        body = await body_of(await true(request))
        window = request.query["endTime"]
        if "cursor" in request.query and window in last:
            body["result"]["list"].insert(0, last[window])
            doubled.append(last[window])
        elif body["result"]["list"]:
            last[window] = body["result"]["list"][-1]
        return answered(body)

    meddler.meddle = of_closed_pnl(double)
    await _run(busy, sync_settings)
    table = await _table(owner)
    assert (sum(table.values()) - sum(_ledger(busy).values())) * 2 == len(doubled) > 0
    assert set(table) == set(_ledger(busy))


@pytest.mark.parametrize("fault", ["10006", "10006 reset", "10016", "502", "garbage", "dropped", "10002"])
async def test_a_storm_of_passing_faults_costs_time_and_nothing_else(
    busy: World, meddler: Meddler, sync_settings: DatabaseSettings, owner: Connection, fault: str
) -> None:
    rng = random.Random(fault)

    async def storm(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        if rng.random() > 0.3:
            return await true(request)
        match fault:
            case "10006":
                return code(10006)
            case "10006 reset":
                return code(10006, **{"X-Bapi-Limit-Reset-Timestamp": str(wall_ms() + 50)})
            case "502":
                return web.Response(status=502, text="<html>")
            case "garbage":
                return web.Response(text='{"retCode": 0, "result": {"list": [', content_type="application/json")
            case "dropped":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            case _:
                return code(int(fault))

    meddler.meddle = of_closed_pnl(storm)
    for _ in range(20):
        try:
            await _run(busy, sync_settings)
        except Retry:
            continue
        break
    await _complete(busy, sync_settings, owner)


async def test_a_window_that_cannot_be_read_stays_unread_and_is_all_that_the_next_run_reads(
    busy: World, meddler: Meddler, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    bad_end = str(busy.exchange.now_ms - WINDOW_MS)

    async def broken(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        return web.Response(status=500) if request.query["endTime"] == bad_end else await true(request)

    meddler.meddle = of_closed_pnl(broken)
    with pytest.raises(Retry):
        await _run(busy, sync_settings)
    assert await _unread(busy, sync_settings) == WINDOW_MS
    assert await owner.fetchval("SELECT outcome FROM trading.sync_runs ORDER BY run_id DESC LIMIT 1") == "failed"
    meddler.meddle = None
    windows_before = meddler.calls["/v5/position/closed-pnl"]
    await _run(busy, sync_settings)
    assert meddler.calls["/v5/position/closed-pnl"] - windows_before <= 8
    await _complete(busy, sync_settings, owner)


async def test_a_row_that_cannot_be_read_is_kept_and_its_window_stays_unread(
    busy: World, meddler: Meddler, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    damaged = busy.closed(BOT)[0].order_id

    async def damage(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        body = await body_of(await true(request))
        for row in body["result"]["list"]:
            if row["orderId"] == damaged:
                row["closedPnl"] = "a lot"
        return answered(body)

    meddler.meddle = of_closed_pnl(damage)
    with pytest.raises(Retry):
        await _run(busy, sync_settings)
    assert 0 < await _unread(busy, sync_settings) <= WINDOW_MS
    rejected = await owner.fetch("SELECT message FROM audit.rejected_messages")
    assert any(damaged in row["message"] for row in rejected)
    assert f"sync-unreadable:{BOT}" in {alert.key for alert in busy.alerts}
    meddler.meddle = None
    await _run(busy, sync_settings)
    await _complete(busy, sync_settings, owner)


async def test_a_clock_that_is_off_by_seconds_is_measured_and_the_run_goes_on(
    busy: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    busy.app.rest.clocks._wall = lambda: wall_ms() - 7_000
    await _run(busy, sync_settings)
    await _complete(busy, sync_settings, owner)


async def test_a_key_that_is_revoked_in_mid_run_leaves_what_was_read_and_nothing_else(
    busy: World, meddler: Meddler, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    async def revoke(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
        if meddler.calls[request.path] == 6:
            busy.keys[BOT].revoked = True
        return await true(request)

    meddler.meddle = of_closed_pnl(revoke)
    with pytest.raises(KeyRefused) as caught:
        await _run(busy, sync_settings, windows_at_once=1)
    assert isinstance(caught.value, Misconfigured)
    assert 0 < await _unread(busy, sync_settings) < DAYS * DAY_MS
    busy.keys[BOT].revoked = False
    await _run(busy, sync_settings)
    await _complete(busy, sync_settings, owner)


async def test_a_database_that_restarts_in_mid_run_loses_and_doubles_nothing(
    busy: World, meddler: Meddler, registry: Registry, tmp_path: Path
) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", "a-password", durable=False)
    server.start()
    try:
        await prepare(server.settings(), registry)
        settings = as_sync(server.settings(), PASSWORD)
        restarts = {4, 9}

        async def restart(request: web.BaseRequest, true: Handler) -> web.StreamResponse:
            if meddler.calls[request.path] in restarts:
                restarts.discard(meddler.calls[request.path])
                server.stop("immediate")
                server.start()
            return await true(request)

        meddler.meddle = of_closed_pnl(restart)
        for _ in range(6):
            try:
                await _run(busy, settings)
            except Retry:
                continue
            break
        assert restarts == set()
        owner = await owner_of(server.settings())
        await _complete(busy, settings, owner)
        outcomes = [row[0] for row in await owner.fetch("SELECT outcome FROM trading.sync_runs ORDER BY run_id")]
        assert outcomes[-1] == "done"
        assert set(outcomes[:-1]) <= {"failed", "interrupted"}
        assert len(outcomes) > 1
        await owner.close()
    finally:
        server.stop("immediate")

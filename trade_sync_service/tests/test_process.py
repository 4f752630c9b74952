"""The service as a process: killed at random points it neither loses nor duplicates; one bot's fault stays its own."""

import asyncio
import logging
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from alpha.config.services import DatabaseSettings
from alpha.live_state.connect import RedisClients
from alpha.model.timestamp import at
from alpha.postgres.database import Connection
from demo.ports import free_port
from demo.redis import EmbeddedRedis
from exchange_simulator.exchange import Exchange
from tests.support import forkserver
from tests.support.alerts import ended_alerts, raised_alerts
from tests.support.sync_world import BOTS, KEYS, World, at_rest, make_exchange, world
from trade_sync_service.cli import main
from trade_sync_service.tests.meddling import CLOSED_PNL, Handler, Meddler

ROOT = Path(__file__).resolve().parents[2]
PREFIXES = {"shortseller_001": "SHORTSELLER", "lxalgo_001": "LXALGO", "momentum_001": "MOMENTUM"}


@pytest.fixture(scope="module")
def history() -> Iterator[Exchange]:
    """An exchange with a history for every bot."""
    exchange = make_exchange()
    at_rest(exchange).trade(31, days=6, per_day=60)
    yield exchange
    exchange.close()


@pytest.fixture
async def busy(history: Exchange) -> AsyncIterator[World]:
    """That exchange, listening; every key is valid again afterwards."""
    async with world(history) as running:
        yield running
    for key in history.keys.values():
        key.revoked = False


def _environment(world: World, settings: DatabaseSettings, redis: EmbeddedRedis) -> dict[str, str]:
    keys: dict[str, str] = {}
    for bot, text in KEYS.items():
        key, secret, _ = text.split(":")
        keys |= {f"{PREFIXES[bot]}_BYBIT_API_KEY": key, f"{PREFIXES[bot]}_BYBIT_API_SECRET": secret}
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        **keys,
        **redis.environment(),
        "POSTGRES_HOST": settings.postgres_host,
        "POSTGRES_PORT": str(settings.postgres_port),
        "POSTGRES_DB": settings.postgres_db,
        "POSTGRES_USER": settings.postgres_user,
        "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
        "BYBIT_REST_URL": world.url,
        "BYBIT_WS_URL": world.url.replace("http", "ws"),
        "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"),
        "SYNC_HISTORY_DAYS": "60",
        "SYNC_GRACE_S": "0",
        "LOG_FORMAT": "json",
    }


def _start(*, alpha: bool) -> tuple[str, ...]:
    return ("-m", "alpha", "sync") if alpha else (str(ROOT / "trade_sync_service" / "main.py"),)


@asynccontextmanager
async def _running(environment: dict[str, str], *words: str, alpha: bool = False) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *_start(alpha=alpha), *words),
        env=environment,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _ended(environment: dict[str, str], *words: str, alpha: bool = False) -> tuple[int, str, str]:
    done = await asyncio.to_thread(forkserver.run, [*_start(alpha=alpha), *words], environment=environment)
    return done.returncode, done.stdout, done.stderr


async def _table(owner: Connection) -> Counter[tuple[object, ...]]:
    rows = await owner.fetch(
        "SELECT bot_id, order_id, updated_at, closed_size, exit_value, closed_pnl FROM trading.completed_trades"
    )
    return Counter(tuple(row) for row in rows)


def _ledger(world: World, *bots: str) -> Counter[tuple[object, ...]]:
    return Counter(
        (bot, row.order_id, at(row.updated_ms), row.closed_size, row.exit_value, row.closed_pnl)
        for bot in bots or BOTS
        for row in world.closed(bot)
    )


async def test_a_back_fill_that_is_killed_at_random_points_goes_on_and_every_trade_is_there_once(
    busy: World, sync_settings: DatabaseSettings, redis_server: EmbeddedRedis, owner: Connection
) -> None:
    environment = _environment(busy, sync_settings, redis_server)
    rng = random.Random(41)
    meddler = Meddler(busy.app)
    for _ in range(5):
        deadline = asyncio.Event()
        last = meddler.calls.get(CLOSED_PNL, 0) + rng.randrange(1, 16)

        async def count(request: object, true: Handler, last: int = last, reached: asyncio.Event = deadline) -> object:
            if meddler.calls.get(CLOSED_PNL, 0) >= last:
                reached.set()
            return await true(request)  # type: ignore[arg-type]

        meddler.meddle = count  # type: ignore[assignment]
        async with _running(environment, "backfill", "--from", "2024-12-01") as process:
            reached = asyncio.create_task(deadline.wait())
            ended = asyncio.create_task(process.wait())
            await asyncio.wait({reached, ended}, return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            if not ended.done():
                process.send_signal(signal.SIGKILL)
            await ended
    code, out, _ = await _ended(environment, "backfill", "--from", "2024-12-01")
    assert code == 0, out
    assert await _table(owner) == _ledger(busy)
    outcomes = Counter(row[0] for row in await owner.fetch("SELECT outcome FROM trading.sync_runs"))
    assert outcomes["done"] >= 3
    assert None not in outcomes


async def test_one_bot_with_a_revoked_key_stops_no_other_and_the_service_stays_healthy(
    busy: World,
    sync_settings: DatabaseSettings,
    redis_server: EmbeddedRedis,
    redis_links: RedisClients,
    owner: Connection,
) -> None:
    busy.keys["lxalgo_001"].revoked = True
    environment = _environment(busy, sync_settings, redis_server)
    port = free_port()
    environment["HEALTH_PORT"] = str(port)
    async with _running(environment, "run") as process, httpx.AsyncClient() as client:
        health = f"http://127.0.0.1:{port}/healthz"
        while True:
            try:
                answer = (await client.get(health)).json()
            except httpx.TransportError:
                await asyncio.sleep(0.05)
                continue
            if len(answer["details"]["faults"]) == 3 and len(answer["details"]["last_success"]) == 2:
                break
            await asyncio.sleep(0.05)
        assert answer["healthy"]
        assert "10003" in answer["details"]["faults"]["lxalgo_001"]
        metrics = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        assert 'sync_runs_total{bot="momentum_001",outcome="done"} 1.0' in metrics
        assert await _table(owner) == _ledger(busy, "shortseller_001", "momentum_001")
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    alerts = {fields["key"]: fields["lasting"] for fields in await raised_alerts(redis_links.shared)}
    assert alerts["sync-failed:lxalgo_001"] == "1"
    well = {f"sync-failed:{bot}" for bot in ("momentum_001", "shortseller_001")}
    assert set(await ended_alerts(redis_links.shared)) == well, "another process may have raised it before"
    # no listener has stored a fill here: reported once per bot, and the bad key once
    assert sorted(alerts) == [
        "reconciliation:momentum_001",
        "reconciliation:shortseller_001",
        "sync-failed:lxalgo_001",
    ]


async def test_the_commands_tell_what_they_did_in_a_line_a_bot_and_a_true_exit_code(
    busy: World, sync_settings: DatabaseSettings, redis_server: EmbeddedRedis
) -> None:
    environment = _environment(busy, sync_settings, redis_server)
    code, out, _ = await _ended(environment, "--bot", "shortseller", alpha=True)
    assert (code, out.count("\n"), out.partition(":")[0]) == (0, 1, "shortseller_001")
    assert "new" in out
    code, out, _ = await _ended(environment, "status")
    assert code == 0
    assert out.count("\n") == 3
    assert out.count("nothing read yet") == 2
    assert "no gap" in out
    assert "(done)" in out
    for as_alpha in (False, True):
        code, out, _ = await _ended(environment, "reconcile", "--bot", "shortseller_001", alpha=as_alpha)
        assert code == 1, "no listener has stored the fills: that is a difference"
        assert "differences" in out
    busy.keys["shortseller_001"].revoked = True
    code, _, err = await _ended(environment, "backfill", "--months", "1", "--bot", "shortseller_001", alpha=True)
    assert (code, "10003" in err) == (2, True), err


@pytest.fixture
def own_logs() -> Iterator[None]:
    """Undo a command's changes to logging after the test."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.usefixtures("own_logs")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sync", "--bot", "nobody"], "There is no bot called 'nobody'. The bots are: shortseller, lxalgo, momentum."),
        (["backfill", "--months", "40"], "--months is 40; Bybit keeps two years, so give 1 to 24."),
        (["backfill", "--from", "yesterday"], "--from is 'yesterday'; write a date such as 2025-01-31."),
        (["backfill"], "Give --months N, or --from DATE and perhaps --to DATE."),
        (
            ["backfill", "--from", "2025-02-01", "--to", "2025-01-01"],
            "--from 2025-02-01 is not before --to 2025-01-01; nothing lies between them.",
        ),
    ],
)
def test_a_bad_word_is_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "none")
    monkeypatch.setenv("REDIS_PASSWORD", "none")
    monkeypatch.setenv("ALPHA_BOTS_FILE", str(ROOT / "bots.toml"))
    assert main(words) == 2
    assert capsys.readouterr().err == f"{sentence}\n"


async def test_a_missing_key_is_one_sentence_and_the_other_bots_are_read(
    busy: World, sync_settings: DatabaseSettings, redis_server: EmbeddedRedis, owner: Connection
) -> None:
    environment = _environment(busy, sync_settings, redis_server)
    del environment["MOMENTUM_BYBIT_API_SECRET"]
    code, out, err = await _ended(environment, "sync")
    assert code == 2
    assert out.count("\n") == 2
    assert "MOMENTUM_BYBIT_API_SECRET is not set" in err
    assert await _table(owner) == _ledger(busy, "shortseller_001", "lxalgo_001")

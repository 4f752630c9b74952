"""Containers crash and stores restart while the stack trades: everything recovers, and the ledgers agree."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator

import pytest

from demo.ledger_check import Ledger, check_books
from operations.context import Operations
from tests.containers.compose import Compose, measured, wait_for
from tests.containers.exchange import SETTLE_S
from tests.containers.test_demo_stack import KEYS, fills, open_demo_platform

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]
VICTIMS = (
    "demo-websocket_listener",
    "demo-shortseller",
    "demo-lxalgo",
    "demo-momentum",
    "demo-risk_guard",
    "demo-trade_sync_service",
    "demo-telegram_manager",
    "demo-trading_pgbouncer",
    "demo-trading_redis",
    "demo-trading_postgres",
    "demo-docker_socket_proxy",
    "demo-postgres_backup",
)


@pytest.fixture
async def platform(demo_stack: Compose) -> AsyncIterator[Operations]:
    async with open_demo_platform() as opened:
        yield opened


def crash(stack: Compose, container: str) -> None:
    """Kill its main process as a crash would: Docker restarts after a crash, but not after `docker kill`."""
    state = json.loads(stack.run("docker", "inspect", "--format", "{{json .State}}", container))
    os.kill(state["Pid"], signal.SIGKILL)


def crash_and_wait(stack: Compose, container: str) -> None:
    """Kill a container's process and wait until the engine has restarted it."""
    before = started_at(stack, container)
    crash(stack, container)
    wait_for(lambda: started_at(stack, container) != before, lambda: f"{container} to start again", 60)


def started_at(stack: Compose, container: str) -> str:
    return stack.run("docker", "inspect", "--format", "{{.State.StartedAt}}", container).strip()


async def books_agree(stack: Compose, platform: Operations) -> None:
    ledger = Ledger("http://127.0.0.1:8090")
    try:
        await ledger.pause()
        books = await check_books(ledger, platform, KEYS, settle_s=SETTLE_S)
        assert books.agree, books.differences
        measured(books.summary)
    finally:
        await ledger.resume()
        await ledger.close()


async def test_every_container_that_is_killed_comes_back_and_the_books_agree(
    demo_stack: Compose, platform: Operations
) -> None:
    for container in VICTIMS:
        await asyncio.to_thread(crash_and_wait, demo_stack, container)
    await asyncio.to_thread(demo_stack.wait_healthy, 240)
    seen = fills(demo_stack)
    await asyncio.to_thread(wait_for, lambda: fills(demo_stack) > seen, lambda: "trading to go on", 180)
    await books_agree(demo_stack, platform)


async def test_each_store_restarts_under_load_and_the_books_agree(demo_stack: Compose, platform: Operations) -> None:
    for store in ("postgres", "redis", "pgbouncer"):
        await asyncio.to_thread(demo_stack, "restart", store)
        await asyncio.to_thread(demo_stack.wait_healthy, 240)
    seen = fills(demo_stack)
    await asyncio.to_thread(wait_for, lambda: fills(demo_stack) > seen, lambda: "trading to go on", 180)
    await books_agree(demo_stack, platform)


async def test_a_bot_that_was_stopped_stays_stopped_over_up(demo_stack: Compose) -> None:
    def alpha(*words: str) -> str:
        return demo_stack("exec", "-T", "telegram_manager", "python3", "-m", "alpha", *words)

    alpha("stop", "momentum", "--yes")
    await asyncio.to_thread(
        wait_for,
        lambda: demo_stack.states()["momentum"].startswith("exited"),
        lambda: f"momentum to end: {demo_stack.states()}",
        30,
    )
    demo_stack("up", "-d")

    def idle() -> bool:
        if demo_stack.states()["momentum"].startswith("exited"):
            return True
        said = demo_stack.run(
            "docker", "exec", "demo-trading_redis", "redis-cli", "-n", "2", "HGET", "heartbeat:momentum_001", "state"
        )
        return said.strip() == "stopped"

    await asyncio.to_thread(wait_for, idle, lambda: "momentum to be idle or ended", 60)
    alpha("start", "momentum", "--yes")
    await asyncio.to_thread(demo_stack.wait_healthy, 120)

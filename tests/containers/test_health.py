"""Health checks fail when a service does not work: each is broken, seen unhealthy, repaired and seen healthy."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.containers.compose import Compose, wait_for
from tests.containers.test_demo_stack import open_demo_platform
from tests.containers.test_faults import books_agree

pytestmark = [pytest.mark.containers, pytest.mark.long, pytest.mark.timeout(1200)]


@contextmanager
def frozen(stack: Compose, *containers: str) -> Iterator[None]:
    """Freeze their processes: they neither exit nor answer, the hardest kind of outage to detect."""
    pids = [
        int(pid)
        for container in containers
        for pid in stack.run("docker", "top", container, "-o", "pid").split()
        if pid.isdigit()
    ]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def ill(stack: Compose) -> set[str]:
    """The unhealthy services."""
    return {service for service, state in stack.states().items() if state == "running unhealthy"}


def why(stack: Compose, container: str) -> str:
    """Output of a container's last health check."""
    health = json.loads(stack.run("docker", "inspect", "--format", "{{json .State.Health}}", container))
    return str(health["Log"][-1]["Output"])


async def test_what_stands_on_the_stores_is_ill_while_they_are_away_and_well_afterwards(demo_stack: Compose) -> None:
    expected = {
        "postgres", "redis", "pgbouncer", "websocket_listener", "telegram_manager", "dashboard", "docker_socket_proxy",
        "trade_sync_service", "postgres_backup",
    }  # fmt: skip
    shelves = "/backups/daily /backups/weekly /backups/monthly"
    backup = ("docker", "exec", "demo-postgres_backup", "sh", "-c")
    demo_stack.run(*backup, f"mkdir /backups/away && mv {shelves} /backups/away/")
    try:
        with frozen(demo_stack, "demo-trading_postgres", "demo-trading_redis", "demo-docker_socket_proxy"):
            wait_for(lambda: ill(demo_stack) >= expected, lambda: f"{expected - ill(demo_stack)} to be ill", 330)
            assert "PostgreSQL" in why(demo_stack, "demo-websocket_listener")
            assert "Redis" in why(demo_stack, "demo-websocket_listener")
            assert "no backup" in why(demo_stack, "demo-postgres_backup")
    finally:
        demo_stack.run(*backup, "rm -rf /backups/daily && mv /backups/away/* /backups/ && rmdir /backups/away")
    demo_stack.wait_healthy(300)
    async with open_demo_platform() as platform:
        await books_agree(demo_stack, platform)


def test_what_stands_on_the_exchange_is_ill_while_it_is_away_and_well_afterwards(demo_stack: Compose) -> None:
    expected = {"exchange_simulator", "websocket_listener", "trade_sync_service", "risk_guard"}
    with frozen(demo_stack, "demo-exchange_simulator"):
        wait_for(lambda: ill(demo_stack) >= expected, lambda: f"{expected - ill(demo_stack)} to be ill", 420)
        assert "No bot has been connected" in why(demo_stack, "demo-websocket_listener")
        assert "was not patrolled" in why(demo_stack, "demo-risk_guard")
    demo_stack.wait_healthy(300)

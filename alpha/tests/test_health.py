"""/healthz and /livez of a service, as its container's check asks them."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from alpha import health
from alpha.config.loader import load
from alpha.config.services import HealthSettings
from alpha.health import HealthServer
from alpha.process import LoopPulse

CHECK = Path(health.__file__).with_name("healthcheck.py")


@pytest.fixture
def away() -> Iterator[HealthServer]:
    """A service whose loop runs and whose PostgreSQL is away."""
    settings = load(HealthSettings, env_file=None)
    server = HealthServer(settings, LoopPulse(), {"postgres": lambda: "PostgreSQL is away."}, CollectorRegistry())
    yield server
    server.close()


async def check(port: int, path: str | None = None) -> tuple[int, str]:
    environment = {"HEALTH_PORT": str(port), **({"HEALTH_PATH": path} if path else {})}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-IS", str(CHECK)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


async def test_a_store_that_is_away_fails_healthz_and_not_livez(away: HealthServer) -> None:
    code, said = await check(away.port)
    assert code == 1
    assert "PostgreSQL is away." in said
    assert await check(away.port, "/livez") == (0, '{"healthy": true, "faults": {}}\n')


async def test_a_loop_that_stands_still_fails_both(away: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOP_LIMIT_S", -1.0)
    for path in (None, "/livez"):
        code, said = await check(away.port, path)
        assert code == 1
        assert "The event loop has stood still" in said

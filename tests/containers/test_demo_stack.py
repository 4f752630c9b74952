"""The stack trades in hardened containers, and its ledgers agree with the exchange's."""

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alpha.config.loader import load
from demo.ledger_check import Ledger, check_books
from operations.context import Operations, OperationsSettings, open_operations
from tests.containers.compose import ROOT, Compose, measured, wait_for

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]
PASSWORD = "demo-of-alpha"
KEYS = {"shortseller_001": "demo-shortseller", "lxalgo_001": "demo-lxalgo", "momentum_001": "demo-momentum"}


@asynccontextmanager
async def open_demo_platform() -> AsyncIterator[Operations]:
    """Operations over the demo stack's published ports, as the database owner."""
    settings = load(
        OperationsSettings,
        env_file=None,
        postgres_port=16432,
        postgres_user="trading_user",
        postgres_password=PASSWORD,
        redis_password=PASSWORD,
        redis_port=16379,
        alpha_bots_file=ROOT / "bots.toml",
    )
    async with open_operations(settings, "tests") as opened:
        yield opened


@pytest.fixture
async def platform(demo_stack: Compose) -> AsyncIterator[Operations]:
    async with open_demo_platform() as opened:
        yield opened


def fills(stack: Compose) -> int:
    command = "SELECT count(*) FROM trading.fills"
    return int(stack.run("docker", "exec", "demo-trading_postgres", "psql", "-U", "trading_user", "-d", "trading_db", "-Atc", command))  # fmt: skip


async def test_the_stack_trades_and_its_books_agree(demo_stack: Compose, platform: Operations) -> None:
    wait_for(lambda: fills(demo_stack) >= 20, lambda: f"20 fills, there are {fills(demo_stack)}", 420)
    ledger = Ledger("http://127.0.0.1:8090")
    try:
        await ledger.pause()
        books = await check_books(ledger, platform, KEYS)
        assert books.agree, books.differences
        assert books.executions >= 20
        measured(books.summary)
    finally:
        await ledger.resume()
        await ledger.close()


def test_every_container_is_an_ordinary_user_without_rights_on_a_root_that_cannot_be_written(
    demo_stack: Compose,
) -> None:
    for identity in demo_stack("ps", "-q").split():
        state = json.loads(demo_stack.run("docker", "inspect", identity))[0]
        name, host = state["Name"].strip("/"), state["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert not host["Privileged"], name
        bindings = (host["PortBindings"] or {}).values()
        assert all(place["HostIp"] == "127.0.0.1" for places in bindings for place in places), name
        if name not in {"demo-trading_postgres", "demo-docker_socket_proxy"}:
            assert state["Config"]["User"].split(":")[0] not in {"", "0", "root"}, name
        mounts = [mount["Source"] for mount in state["Mounts"]]
        assert ("/var/run/docker.sock" in mounts) == (name == "demo-docker_socket_proxy"), name


def test_logs_are_written_where_the_manual_says(demo_stack: Compose) -> None:
    for service in ("websocket_listener", "shortseller"):
        sizes = demo_stack("exec", "-T", service, "sh", "-c", "wc -c /var/log/alpha/*.log").splitlines()
        assert any(service in line and int(line.split()[0]) for line in sizes), sizes


def test_the_books_are_verified_rebuilt_and_exported_with_one_command_each(demo_stack: Compose, tmp_path: Path) -> None:
    assert ": 0 differences." in demo_stack("run", "--rm", "-T", "db", "verify")
    assert "were recomputed" in demo_stack("run", "--rm", "-T", "db", "rebuild")
    assert ": 0 differences." in demo_stack("run", "--rm", "-T", "db", "verify")
    me = f"{os.getuid()}:{os.getgid()}"
    words = ("--bot", "shortseller_001", "--year", "2025", "--tz", "Europe/Berlin")
    demo_stack("run", "--rm", "-T", "--user", me, "-v", f"{tmp_path}:/export", "export", *words)
    files = sorted(path.name for path in (tmp_path / "shortseller_001-2025").iterdir())
    assert files == ["fills.csv", "funding.csv", "round_trips.csv", "transfers.csv"]


def test_the_whole_stack_trades_within_two_gigabytes(demo_stack: Compose) -> None:
    sizes: dict[str, float] = {}
    for line in demo_stack.run("docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines():
        name, used = line.split()[:2]
        number, unit = re.fullmatch(r"([0-9.]+)([KMG]iB|B)", used).groups()  # type: ignore[union-attr]
        sizes[name] = float(number) * {"B": 2**-20, "KiB": 2**-10, "MiB": 1, "GiB": 2**10}[unit]
    table = ", ".join(f"{name} {size:.0f}" for name, size in sorted(sizes.items(), key=lambda item: -item[1]))
    measured(f"memory in MiB, {sum(sizes.values()):.0f} in all: {table}")
    assert sum(sizes.values()) < 2048


def test_images_are_small_and_hold_no_tools_or_caches(demo_stack: Compose) -> None:
    def size(image: str) -> int:
        return int(demo_stack.run("docker", "image", "inspect", "--format", "{{.Size}}", image))

    base = size("python:3.13-slim")
    services = demo_stack("config", "--images").split()
    over = {image: (size(image) - base) / 1e6 for image in set(services) if image.startswith("alpha.invalid/")}
    over.pop(next(image for image in over if image.startswith("alpha.invalid/demo/pgbouncer")))
    table = ", ".join(f"{image} {mb:.0f}" for image, mb in sorted(over.items(), key=lambda item: -item[1]))
    measured(f"MB over python:3.13-slim: {table}")
    assert next(mb for image, mb in over.items() if "websocket_listener" in image) <= 60
    # The command centre draws charts and writes to some hundred kinds of channels; the others are far below.
    assert next(mb for image, mb in over.items() if "telegram_manager" in image) <= 175
    assert max(mb for image, mb in over.items() if "telegram_manager" not in image) <= 150
    for service in ("telegram_manager", "postgres_backup", "shortseller"):
        words = "which gcc cc make strip git; ls -d /root/.cache/pip /var/lib/apt/lists/*_Packages 2>/dev/null; true"
        assert not demo_stack("exec", "-T", service, "sh", "-c", words), service
        assert not demo_stack("exec", "-T", service, "sh", "-c", "find /app -name tests -o -name demo")

"""The rendered Redis users on a real Redis 8: each can do its work and nothing else."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import NoPermissionError, RedisError

from alpha.alerts import Alert, Alerts, Level
from alpha.config.loader import load
from alpha.config.services import RedisSettings
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.control import CommandConsumer, read_replies, send_command
from alpha.live_state.events import EventReader
from alpha.live_state.read import read_positions
from alpha.registry import Registry
from alpha_cli.rendering.production import redis_users

pytestmark = pytest.mark.containers
IMAGE = "redis:8"


def _docker(*arguments: str) -> str:
    result = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=60)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip())
    return result.stdout.strip()


@pytest.fixture(scope="module")
def port(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Redis 8 whose users have their name as password."""
    try:
        _docker("image", "inspect", "--format", "{{.Id}}", IMAGE)
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as fault:
        pytest.skip(f"no Docker engine with the image {IMAGE}: {fault}")
    folder = tmp_path_factory.mktemp("acl")
    folder.chmod(0o755)
    lines = ["user default on >default ~* &* +@all"]
    for line in redis_users(registry).splitlines():
        if line.startswith("user "):
            name = line.split()[1]
            lines.append(line.replace(f"%PASSWORD:{name}%", f">{name}"))
    (folder / "users.acl").write_text("\n".join(lines) + "\n")
    name = f"alpha-test-acl-{uuid.uuid4().hex[:8]}"
    _docker("run", "-d", "--name", name, "-v", f"{folder}:/acl:ro", "-p", "127.0.0.1:0:6379", IMAGE,
            "redis-server", "--aclfile", "/acl/users.acl", "--databases", "256", "--protected-mode", "no")  # fmt: skip
    try:
        number = int(_docker("port", name, "6379/tcp").splitlines()[0].rpartition(":")[2])
        deadline = time.monotonic() + 30
        while "PONG" not in subprocess.run(
            ["docker", "exec", name, "redis-cli", "--user", "default", "--pass", "default", "ping"],
            capture_output=True, text=True, check=False,
        ).stdout:  # fmt: skip
            if time.monotonic() > deadline:
                raise RuntimeError(_docker("logs", name))
            time.sleep(0.1)
        yield number
    finally:
        _docker("rm", "-f", name)


def _as(user: str, port: int) -> RedisClients:
    settings = load(
        RedisSettings,
        env_file=Path("/nonexistent"),
        redis_host="127.0.0.1",
        redis_port=port,
        redis_username=user,
        redis_password=user,
    )
    return RedisClients(settings)


async def test_each_user_can_do_its_work(port: int, registry: Registry) -> None:
    bot = registry.find("shortseller")
    listener, own, centre, guard = (
        _as(name, port) for name in ("websocket_listener", "shortseller", "telegram_manager", "risk_guard")
    )
    await own.of(bot).sadd(keys.symbols(bot.id), "BTCUSDT")
    assert await listener.of(bot).smembers(keys.symbols(bot.id)) == {"BTCUSDT"}
    await listener.of(bot).sadd(keys.positions(bot.id), "BTCUSDT")
    await listener.of(bot).hset(keys.position(bot.id, "BTCUSDT"), mapping={"side": "Buy", "size": "1"})
    await listener.of(bot).xadd(keys.events(bot.id), {"type": "fill", "ts_ms": "1", "data": "{}"})
    await listener.shared.hset(keys.market("BTCUSDT"), "last", "1")
    await listener.shared.publish(keys.EVENTS_CHANNEL, "x")
    dashboard, doctor = _as("dashboard", port), _as("doctor", port)
    for links in (own, centre, guard, dashboard, doctor):
        assert [row.symbol for row in await read_positions(links.of(bot), bot.id)] == ["BTCUSDT"]
    assert len(await EventReader(own.of(bot), bot.id, "0-0").read(block_ms=1)) == 1
    for sender, taker, target, database in (
        (centre, own, bot.id, bot.redis_db),
        (guard, own, bot.id, bot.redis_db),
        (centre, guard, "guard", 15),
    ):
        command = await send_command(sender.database(database), target, "pause", {}, "test", 0)
        desk = CommandConsumer(taker.database(database), target)
        taken = [row for _ in range(3) for row in await desk.take(1, block_ms=1)]
        assert [row.id for row in taken] == [command]
        await desk.answer(taken[0], "done", "")
        replies, _ = await read_replies(sender.database(database), target, "0-0", 1)
        assert replies[-1].command_id == command
    for name in (
        "websocket_listener",
        "trade_sync_service",
        "risk_guard",
        "telegram_manager",
        "postgres_backup",
        "shortseller",
    ):
        links = _as(name, port)
        await Alerts(links.shared, name).raise_alert(Alert(Level.INFO, name, "x"), 1)
        await links.close()
    assert {fields["key"] for _, fields in await centre.shared.xrange(keys.ALERTS)} >= {
        "postgres_backup",
        "shortseller",
    }
    for links in (listener, own, centre, guard, dashboard, doctor):
        await links.close()


@pytest.mark.parametrize(
    "user",
    ["shortseller", "telegram_manager", "risk_guard", "trade_sync_service", "dashboard", "doctor", "postgres_backup"],
)
async def test_nobody_but_the_listener_writes_live_state(port: int, registry: Registry, user: str) -> None:
    links = _as(user, port)
    bot = registry.find("shortseller")
    writes = (
        links.of(bot).hset(keys.position(bot.id, "BTCUSDT"), "size", "0"),
        links.of(bot).sadd(keys.positions(bot.id), "X"),
        links.of(bot).hset(keys.wallet(bot.id), "equity", "1"),
        links.of(bot).hset(keys.status(bot.id), "state", "synced"),
        links.of(bot).xadd(keys.events(bot.id), {"a": "b"}),
        links.shared.hset(keys.market("BTCUSDT"), "last", "2"),
        links.shared.eval("return redis.call('SET', 'wallet:shortseller_001', 'x')", 0),
    )
    for write in writes:
        with pytest.raises(RedisError, match=r"(?i)perm|access"):
            await write
    await links.close()


async def test_a_bot_reads_and_steers_no_other_bot(port: int, registry: Registry) -> None:
    links, other = _as("lxalgo", port), registry.find("shortseller")
    for ask in (
        links.of(other).hgetall(keys.position(other.id, "BTCUSDT")),
        links.of(other).hset(keys.heartbeat(other.id), "alive_at", "1"),
        send_command(links.of(other), other.id, "pause", {}, "x", 0),
        send_command(links.shared, "guard", "panic", {}, "x", 0),
        links.shared.xrange(keys.ALERTS),
    ):
        with pytest.raises(NoPermissionError):
            await ask
    await links.close()


@pytest.mark.parametrize("user", ["shortseller", "telegram_manager", "risk_guard", "websocket_listener", "dashboard"])
async def test_no_service_may_run_the_servers_dangerous_commands(port: int, user: str) -> None:
    links = _as(user, port)
    for script in (
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "CONFIG GET requirepass",
        "ACL LIST",
        "SHUTDOWN NOSAVE",
        "DEBUG SLEEP 0",
        "MONITOR",
    ):
        call = ", ".join(f"'{word}'" for word in script.split())
        with pytest.raises(RedisError):
            await links.shared.eval(f"return redis.call({call})", 0)
    with pytest.raises(NoPermissionError):
        await links.shared.flushdb()
    await links.close()

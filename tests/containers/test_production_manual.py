"""The production compose file on a fresh host: every command of the manual, exactly as written."""

import json
import re
import subprocess
import sys
import time

import pytest

from tests.containers.compose import ROOT, Compose, measured, wait_for
from tests.containers.exchange import ACCOUNTS, READING, Exchange

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]
PASSWORD = "a-password-of-the-manual"
#: Services whose container names differ.
CONTAINERS = {
    "postgres": "trading_postgres",
    "pgbouncer": "trading_pgbouncer",
    "redis": "trading_redis",
    "ports": "trading_ports",
}
#: Prints a container's environment and every mounted secret.
_ALL_THAT_IT_READS = 'env; for f in /run/secrets/*; do [ -f $f ] && echo "$f:$(cat $f)"; done; true'
COMPOSE = "docker compose -f docker-compose.production.yml"
BOTS = ("SHORTSELLER", "LXALGO", "MOMENTUM")
#: One-shot services that run at every `up`.
ONE_SHOT = {"alpha-prepare-1", "alpha-migrate-1"}


def edit_env(host: Compose, exchange: Exchange, **instead: str) -> None:
    """Write passwords and keys into `.env` as an operator would; `instead` overrides values."""
    text = (host.folder / ".env.example").read_text()
    values = {"POSTGRES_PASSWORD": PASSWORD, "REDIS_PASSWORD": PASSWORD}
    for bot in BOTS:
        values[f"{bot}_BYBIT_API_KEY"] = ACCOUNTS[bot].key
        values[f"{bot}_BYBIT_API_SECRET"] = ACCOUNTS[bot].secret
    for name, value in {**values, **instead}.items():
        assert f"\n{name}=\n" in text, name
        text = text.replace(f"\n{name}=\n", f"\n{name}={value}\n")
    (host.folder / ".env").write_text(text + exchange.settings)


def typed(compose: Compose, command: str, *, follows: bool = False, limit_s: float = 600) -> str:
    """Run a command of the manual as typed. One that follows a log is stopped after a while."""
    words = ["script", "-qec", f"timeout 3 {command} || [ $? = 124 ]" if follows else command, "/dev/null"]
    return compose.run(*words, timeout_s=limit_s)


def started(host: Compose) -> dict[str, str]:
    """Container -> start time, one-shot containers excluded."""
    identities = host("ps", "-aq").split()
    rows = host.run("docker", "inspect", "--format", "{{.Name}} {{.State.StartedAt}}", *identities).split()
    found = dict(zip((name.strip("/") for name in rows[::2]), rows[1::2], strict=True))
    return {name: at for name, at in found.items() if name not in ONE_SHOT}


def test_the_commands_of_the_manual_work_as_written(host: Compose, exchange: Exchange) -> None:
    typed(host, "cp .env.example .env")
    # One bot's key is revoked: the listener must still become healthy, or its dependants would not start.
    edit_env(host, exchange, MOMENTUM_BYBIT_API_KEY="a-revoked-key", MOMENTUM_BYBIT_API_SECRET="of-no-use")
    # A fresh host has no images; here those of another checkout may exist.
    host("build", timeout_s=1200)
    # Integration testing, step by step
    typed(host, f"{COMPOSE} up -d postgres redis pgbouncer")
    typed(host, f"{COMPOSE} up -d websocket_listener")
    typed(host, f"{COMPOSE} up -d shortseller")
    assert host.states()["websocket_listener"] == "running healthy"
    typed(host, f"{COMPOSE} logs -f shortseller websocket_listener", follows=True)
    bots = typed(
        host, 'docker exec -it trading_postgres psql -U trading_user -d trading_db -c "SELECT * FROM trading.bots;"'
    )
    assert "shortseller_001" in bots
    # Individual strategies, one of them now with the correct key
    edit_env(host, exchange)
    typed(host, f"{COMPOSE} up -d momentum")
    typed(host, f"{COMPOSE} up -d lxalgo")
    # Deployment: all of it
    typed(host, f"{COMPOSE} up -d")
    host.wait_healthy(240)
    assert "healthy" in typed(host, f"{COMPOSE} ps")
    # Monitoring and troubleshooting
    for command in (
        f"{COMPOSE} logs -f shortseller",
        f"{COMPOSE} logs -f websocket_listener",
        f"{COMPOSE} logs -f",
        "docker compose logs -f websocket_listener",
    ):
        typed(host, command, follows=True)
    assert "trading_redis" in typed(host, "docker compose ps redis")
    typed(host, "docker network inspect alpha_trading-network")
    assert "PONG" in typed(host, f"docker exec trading_redis redis-cli -a {PASSWORD} ping")
    assert "used_memory_human" in typed(host, "docker exec trading_redis redis-cli INFO memory")
    typed(host, "df -h")
    typed(host, "git diff --exit-code")


def test_the_doctor_finds_a_healthy_stack_and_names_what_was_broken(host: Compose) -> None:
    said = typed(host, f"{COMPOSE} run --rm doctor")
    assert re.search(r"answers: (\d+) of \1 run", said), said
    assert said.count("hold a key that may trade") == len(BOTS), (
        "the plain .env has one key for all, and that is weaker"
    )
    host("stop", "redis")
    try:
        done = subprocess.run(
            [*COMPOSE.split(), "run", "--rm", "doctor"], cwd=host.folder, text=True, capture_output=True, check=False
        )
    finally:
        host("start", "redis")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "REDIS_HOST" in done.stdout, done.stdout
    host.wait_healthy(240)


def test_an_update_of_one_strategy_starts_that_one_alone(host: Compose) -> None:
    before = started(host)
    with (host.folder / "strategies/shortseller/strategy.py").open("a") as code:
        code.write("# a newer version\n")
    typed(host, f"{COMPOSE} up -d --build shortseller")
    host.run("git", "checkout", "strategies/shortseller/strategy.py")
    after = started(host)
    assert {name for name in before if before[name] != after[name]} == {"shortseller"}


def test_nothing_is_reachable_but_what_is_published(host: Compose) -> None:
    listening = host.run("docker", "ps", "--filter", "label=com.docker.compose.project=alpha", "--format", "{{.Ports}}")
    published = {part.strip() for line in listening.splitlines() for part in line.split(",") if "->" in part}
    assert published == {"127.0.0.1:5433->5432/tcp", "127.0.0.1:6432->6432/tcp", "127.0.0.1:6379->6379/tcp"}
    # and unpublished ports are unreachable: the proxy's network is internal, health endpoints listen only inside
    control = json.loads(host.run("docker", "network", "inspect", "alpha_control-network"))[0]
    assert control["Internal"]
    inside = host.run("docker", "exec", "shortseller", "python3", "-c", _ASK_NEIGHBOUR)
    assert inside.strip() == "refused"


_ASK_NEIGHBOUR = """
import socket
try:
    socket.create_connection(("websocket_listener", 8080), timeout=5)
    print("open")
except ConnectionRefusedError:
    print("refused")
"""


def test_each_role_and_each_user_gets_no_further_than_its_own(host: Compose) -> None:
    def psql(user: str, question: str) -> subprocess.CompletedProcess[str]:
        environment = ["-e", f"PGPASSWORD={PASSWORD}"]
        words = ["psql", "-h", "127.0.0.1", "-U", user, "-d", "trading_db", "-Atc", question]
        return subprocess.run(
            ["docker", "exec", *environment, "trading_postgres", *words], capture_output=True, text=True, check=False
        )

    assert psql("trading_user", "SELECT count(*) FROM trading.bots").stdout.strip() == "3"
    for role in ("alpha_sync", "alpha_guard", "alpha_c2", "alpha_strategy", "alpha_readonly"):
        assert "permission denied" in psql(role, "DELETE FROM trading.fills").stderr, role
        assert "permission denied" in psql(role, "INSERT INTO trading.fills DEFAULT VALUES").stderr, role

    def redis(user: str, *words: str) -> str:
        command = ["docker", "exec", "trading_redis", "redis-cli", "--no-auth-warning", "--user", user, "-a", PASSWORD]
        return host.run(*command, *words)

    assert redis("websocket_listener", "PING").strip() == "PONG"
    assert "NOPERM" in redis("shortseller", "HSET", "position:lxalgo_001:BTCUSDT", "size", "1")
    assert "NOPERM" in redis("shortseller", "HGETALL", "position:lxalgo_001:BTCUSDT")
    assert "NOPERM" in redis("telegram_manager", "FLUSHALL")
    assert "NOPERM" in redis("dashboard", "SET", "anything", "1")


def test_a_cold_start_is_healthy_and_its_time_is_printed(host: Compose) -> None:
    host("down", "-v")
    began = time.monotonic()
    host("up", "-d")
    host.wait_healthy(240)
    measured(f"production stack, cold start to all healthy: {time.monotonic() - began:.0f} s")


def test_on_the_init_path_no_secret_shows_anywhere(host: Compose, exchange: Exchange) -> None:
    host("down", "-v")
    folder = host.folder
    (folder / ".env").unlink(missing_ok=True)
    answers = ["demo"]
    for bot in BOTS:
        answers += [ACCOUNTS[bot].key, ACCOUNTS[bot].secret, READING[bot].key, READING[bot].secret]
    answers += ["123456789:planted-c2", *[""] * len(BOTS), "1"]
    done = subprocess.run(
        [sys.executable, "-m", "alpha", "init", "--folder", str(folder)],
        input="\n".join(answers) + "\n", text=True, capture_output=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    with (folder / ".env").open("a") as env:
        env.write(exchange.settings)
    assert "planted" not in (folder / ".env").read_text()
    host("up", "-d")
    host.wait_healthy(240)
    planted = [path.read_text() for path in (folder / "secrets").glob("*/*")]
    planted = sorted({value for value in planted if len(value) > 12})
    assert len(planted) > 10
    shown = {
        "inspect": host.run("docker", "inspect", *host("ps", "-aq").split()),
        "images": host.run("bash", "-c", "docker image inspect $(docker image ls -q 'alpha.invalid/*')"),
        "history": host.run(
            "bash", "-c", "for i in $(docker image ls -q 'alpha.invalid/*'); do docker history --no-trunc $i; done"
        ),
        "logs": host("logs", "--no-color"),
        "log files": host.run("bash", "-c", "cat */logs/*.log strategies/*/logs/*.log"),
        "processes": host.run("ps", "auxww"),
        "status": host.run("git", "status", "--porcelain"),
        "difference": host.run("git", "diff"),
    }
    for where, text in shown.items():
        assert not [value for value in planted if value in text], where
    assert "secrets" not in shown["status"]
    # image contents: no file contains a planted value or key, and there is no settings file
    for service in ("websocket_listener", "shortseller", "telegram_manager", "postgres_backup"):
        found = host.run(
            "docker", "exec", service, "sh", "-c", "find / -xdev \\( -name .env -o -name '*.pem' -o -name id_rsa \\) | head"
        )  # fmt: skip
        assert not [line for line in found.splitlines() if not line.startswith(("/etc/ssl", "/usr"))], (service, found)
        assert not host.run(
            "docker",
            "exec",
            service,
            "sh",
            "-c",
            "grep -rlE '(-planted|planted-c2)' /app /opt /etc 2>/dev/null || true",
        )
    # each service sees only its own folder
    seen = host.run("docker", "exec", "telegram_manager", "ls", "/run/secrets")
    assert "bybit" not in seen
    assert "momentum" not in host.run("docker", "exec", "shortseller", "ls", "/run/secrets")
    # only its bot and the guard have a trading key
    trading = [text for bot in BOTS for text in (ACCOUNTS[bot].key, ACCOUNTS[bot].secret)]
    holders = {
        name
        for name in host("ps", "--services").split()
        for shown in [host.run("docker", "exec", f"{CONTAINERS.get(name, name)}", "sh", "-c", _ALL_THAT_IT_READS)]
        if any(f"={value}\n" in shown or f":{value}\n" in shown for value in trading)
    }
    assert holders == {"shortseller", "lxalgo", "momentum", "risk_guard"}
    wait_for(lambda: (folder / "websocket_listener/logs").stat().st_uid == 10001, lambda: "the logs' owner", 5)

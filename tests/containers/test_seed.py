"""The production file alone, on a fresh checkout: every command of the manual, as it is written there."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from alpha.demo.ports import free_port
from tests.containers.compose import ROOT, Compose, engine_answers, wait_for

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]
PASSWORD = "a-password-of-the-manual"
COMPOSE = "docker compose -f docker-compose.production.yml"
BOTS = ("SHORTSELLER", "LXALGO", "MOMENTUM")


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A simulated exchange on the engine's own bridge, where the stack's containers reach it."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    host = subprocess.run(
        ["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    port = free_port()
    accounts = " ".join(f"key-of-{bot}:secret-of-{bot}-planted:10000" for bot in BOTS)
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange_simulator", "--host", host, "--port", str(port), "--speed", "600"],
        cwd=ROOT,
        env={**os.environ, "SIM_ACCOUNTS": accounts},
        stdout=subprocess.DEVNULL,
    )

    def answers() -> bool:
        try:
            return httpx.get(f"http://{host}:{port}/v5/market/time").status_code == 200
        except httpx.HTTPError:
            return False

    wait_for(answers, lambda: "the exchange", 60)
    yield f"{host}:{port}"
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh clone of what is committed."""
    folder = tmp_path_factory.mktemp("manual") / "Alpha"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def settings(exchange: str) -> str:
    """What an operator would edit into `.env`."""
    lines = [f"BYBIT_REST_URL=http://{exchange}", f"BYBIT_WS_URL=ws://{exchange}"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def manual(checkout: Path, exchange: str) -> Iterator[Compose]:
    """The checkout with the `.env` of the manual, before anything was started."""
    compose = Compose(checkout, ("docker-compose.production.yml",))
    compose.run("bash", "-c", "cp .env.example .env")
    text = (checkout / ".env").read_text()
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        text = text.replace(f"\n{name}=\n", f"\n{name}={PASSWORD}\n")
    for bot in BOTS:
        text = text.replace(f"{bot}_BYBIT_API_KEY=\n", f"{bot}_BYBIT_API_KEY=key-of-{bot}\n")
        text = text.replace(f"{bot}_BYBIT_API_SECRET=\n", f"{bot}_BYBIT_API_SECRET=secret-of-{bot}-planted\n")
    (checkout / ".env").write_text(text + settings(exchange))
    compose("down", "-v", "--remove-orphans")
    # A fresh host has no images; here those of another checkout may be left.
    compose("build", timeout_s=1200)
    yield compose
    compose("down", "-v", "--remove-orphans")


def typed(compose: Compose, command: str, *, follows: bool = False, limit_s: float = 300) -> str:
    """A command as the manual has it, typed at a terminal. One that follows a log is ended after a while."""
    words = ["script", "-qec", f"timeout 5 {command} || [ $? = 124 ]" if follows else command, "/dev/null"]
    return compose.run(*words, timeout_s=limit_s)


def test_the_commands_of_the_manual_work_as_written(manual: Compose) -> None:
    # Integration testing, step by step
    typed(manual, f"{COMPOSE} up -d postgres redis pgbouncer")
    typed(manual, f"{COMPOSE} up -d websocket_listener")
    typed(manual, f"{COMPOSE} up -d shortseller")
    typed(manual, f"{COMPOSE} logs -f shortseller websocket_listener", follows=True)
    bots = typed(
        manual, 'docker exec -it trading_postgres psql -U trading_user -d trading_db -c "SELECT * FROM trading.bots;"'
    )
    assert "shortseller_001" in bots
    # Individual strategies, and an update of one without touching the rest
    typed(manual, f"{COMPOSE} up -d momentum")
    typed(manual, f"{COMPOSE} up -d lxalgo")
    untouched = manual.run("docker", "inspect", "--format", "{{.State.StartedAt}}", "lxalgo", "momentum")
    with (manual.folder / "strategies/shortseller/strategy.py").open("a") as code:
        code.write("# a newer version\n")
    typed(manual, f"{COMPOSE} up -d --build shortseller")
    manual.run("git", "checkout", "strategies/shortseller/strategy.py")
    assert untouched == manual.run("docker", "inspect", "--format", "{{.State.StartedAt}}", "lxalgo", "momentum")
    # Deployment: all of it
    began = time.monotonic()
    typed(manual, f"{COMPOSE} up -d")
    manual.wait_healthy(240)
    print(f"the rest of the stack was healthy after {time.monotonic() - began:.0f} s")
    assert "healthy" in typed(manual, f"{COMPOSE} ps")
    # Monitoring and troubleshooting
    for command in (
        f"{COMPOSE} logs -f shortseller",
        f"{COMPOSE} logs -f websocket_listener",
        f"{COMPOSE} logs -f",
        "docker compose logs -f websocket_listener",
    ):
        typed(manual, command, follows=True)
    assert "trading_redis" in typed(manual, "docker compose ps redis")
    typed(manual, "docker network inspect alpha_trading-network")
    assert "PONG" in typed(manual, f"docker exec trading_redis redis-cli -a {PASSWORD} ping")
    assert "used_memory_human" in typed(manual, "docker exec trading_redis redis-cli INFO memory")
    typed(manual, "df -h")
    typed(manual, "git diff --exit-code")


def test_a_cold_start_is_healthy_and_its_time_is_printed(manual: Compose) -> None:
    manual("down", "-v")
    began = time.monotonic()
    manual("up", "-d")
    manual.wait_healthy(240)
    print(f"cold start to all healthy: {time.monotonic() - began:.0f} s")


def test_on_the_init_path_no_secret_shows_anywhere(manual: Compose, exchange: str) -> None:
    manual("down", "-v")
    folder = manual.folder
    (folder / ".env").unlink()
    answers = ["demo"]
    for bot in BOTS:
        answers += [f"key-of-{bot}", f"secret-of-{bot}-planted"]
    answers += ["token-planted-c2", *[""] * len(BOTS), "1"]
    done = subprocess.run(
        [sys.executable, "-m", "alpha", "init", "--folder", str(folder)],
        input="\n".join(answers) + "\n", text=True, capture_output=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (folder / ".env").open("a") as env:
        env.write(settings(exchange))
    assert "planted" not in (folder / ".env").read_text()
    manual("up", "-d")
    manual.wait_healthy(240)
    planted = [path.read_text() for path in (folder / "secrets").glob("*/*")]
    planted = sorted({value for value in planted if len(value) > 12})
    assert len(planted) > 10
    shown = {
        "inspect": manual.run("docker", "inspect", *manual("ps", "-aq").split()),
        "images": manual.run("bash", "-c", "docker image inspect $(docker image ls -q 'alpha/*')"),
        "history": manual.run(
            "bash", "-c", "for i in $(docker image ls -q 'alpha/*'); do docker history --no-trunc $i; done"
        ),
        "logs": manual("logs", "--no-color"),
        "processes": manual.run("ps", "auxww"),
        "status": manual.run("git", "status", "--porcelain"),
    }
    for where, text in shown.items():
        assert not [value for value in planted if value in text], where
    assert "secrets" not in shown["status"]
    # each service sees its own folder and no other
    seen = manual.run("docker", "exec", "telegram_manager", "ls", "/run/secrets")
    assert "bybit" not in seen
    assert "momentum" not in manual.run("docker", "exec", "shortseller", "ls", "/run/secrets")

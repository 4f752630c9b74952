"""A Docker Swarm of two nodes: the stack of `alpha render --swarm`, and a node that is lost while its bots trade.

A second engine on this machine, in a network namespace of its own, is the second node. `SWARM_ENGINE` names the program that makes
it (`swarm`) and takes it away (`swarm-down`).
"""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from alpha.registry import load_registry
from alpha_cli.installation.write import Installation
from demo.ports import free_port
from tests.containers.compose import ROOT, engine_answers, measured, wait_for
from tests.containers.exchange import ACCOUNTS, SIM_ACCOUNTS, Exchange, set_up
from tests.support.world import patience

pytestmark = [pytest.mark.containers, pytest.mark.long, pytest.mark.timeout(3600)]
ENGINE = Path(os.environ.get("SWARM_ENGINE", ROOT.parent / "shared/tools/docker-engine"))
SECOND = Path(os.environ.get("DOCKER_ENGINE_STATE", "/var/lib/docker-engine")) / "second"
#: The first node's address on the link between the two, and its end of that link.
ADDRESS, LINK = "10.77.0.1", "dke1"
STACK = "alpha"
PORTS = ("5433:5432", "6432:6432", "6379:6379")
#: From the loss of a node until everything that ran there runs on the other one, in seconds.
LIMIT_S = 60


def run(*words: str, limit_s: float = 120) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=limit_s)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"
    return done.stdout


@dataclass(frozen=True, slots=True)
class Task:
    """One task of the stack."""

    service: str
    node: str
    desired: str
    state: str


def tasks() -> list[Task]:
    """The tasks of the stack, former ones too."""
    form = "{{.Name}}|{{.Node}}|{{.DesiredState}}|{{.CurrentState}}"
    rows = [row.split("|") for row in run("docker", "stack", "ps", STACK, "--no-trunc", "--format", form).splitlines()]
    return [
        Task(name.strip().partition("_")[2].rpartition(".")[0], node, desired, state)
        for name, node, desired, state in rows
    ]


def running() -> dict[str, str]:
    """Service to node, of what runs and should."""
    return {
        task.service: task.node for task in tasks() if task.desired == "Running" and task.state.startswith("Running")
    }


def wished() -> set[str]:
    """The services that should have a replica all the time."""
    rows = run("docker", "service", "ls", "--format", "{{.Name}} {{.Replicas}}").splitlines()
    return {row.split()[0].partition("_")[2] for row in rows if row.split()[1].endswith("/1")} - {"migrate"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[str, str]]:
    """The names of two nodes of a swarm."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    if not os.access(ENGINE, os.X_OK):
        pytest.skip(f"{ENGINE} is not there, which makes a second engine; SWARM_ENGINE names another one")
    clear()
    run(str(ENGINE), "swarm", limit_s=300)
    try:
        first = run("docker", "info", "--format", "{{.Swarm.NodeID}}").strip()
        second = run("docker", "-H", f"unix://{SECOND}/sock", "info", "--format", "{{.Swarm.NodeID}}").strip()
        yield first, second
    finally:
        run("ip", "link", "set", LINK, "up")
        subprocess.run(["docker", "stack", "rm", STACK], capture_output=True, check=False)
        clear()


def clear() -> None:
    """Take the second node away with all that it remembers: one that was killed still takes itself for a member."""
    run(str(ENGINE), "swarm-down", limit_s=120)
    end_second_engine()
    shutil.rmtree(SECOND / "data/swarm", ignore_errors=True)
    shutil.rmtree(SECOND / "data/containers", ignore_errors=True)


def end_second_engine() -> None:
    """Kill what is left of the second engine and of its containers."""
    ended = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if str(SECOND) in words and "shim" in words:
            for child in (*process.children(recursive=True), process):
                child.kill()
                ended.append(child)
        elif f"{SECOND}/" in words and ("dockerd" in words or "containerd" in words):
            process.kill()
            ended.append(process)
    psutil.wait_procs(ended, timeout=30)
    (SECOND / "pid").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def exchange(nodes: tuple[str, str]) -> Iterator[Exchange]:
    """A simulated exchange that both nodes reach."""
    found = Exchange(ADDRESS, free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange_simulator", "--host", ADDRESS, "--port", str(found.port), "--speed", "60"],
        cwd=ROOT, env={**os.environ, "SIM_ACCOUNTS": SIM_ACCOUNTS}, stdout=subprocess.DEVNULL,
    )  # fmt: skip

    def answers() -> bool:
        try:
            return httpx.get(f"{found.url}/v5/market/time").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_for(answers, lambda: "the exchange", 60)
        yield found
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def stack(nodes: tuple[str, str], exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stack as the guide deploys it, from a clone of this checkout's commits."""
    folder = tmp_path_factory.mktemp("swarm") / "Alpha"
    compose = set_up(folder, exchange.settings)
    compose("build", timeout_s=1500)
    images = sorted({name for name in compose("config", "--images").split() if name.startswith("alpha.invalid/")})
    began = time.monotonic()
    compose.run("bash", "-c", f"docker save {' '.join(images)} | docker -H unix://{SECOND}/sock load", timeout_s=900)
    measured(f"{len(images)} images to the second node in {time.monotonic() - began:.0f} s")
    for node, labels in zip(nodes, (("alpha.stores=true", "alpha.work=true"), ("alpha.work=true",)), strict=True):
        run("docker", "node", "update", *(word for label in labels for word in ("--label-add", label)), node)
    # plain: a kernel may know no IPsec between two namespaces of one machine
    compose.run(sys.executable, "-m", "alpha_cli", "render", "--swarm", "--no-encrypted")
    began = time.monotonic()
    compose.run("docker", "stack", "deploy", "-c", "docker-stack.yml", "--resolve-image", "never", STACK)
    try:
        wait_for(
            lambda: wished() and wished() <= running().keys(),
            lambda: f"the stack: {sorted(wished() - running().keys())}",
            300 * patience(),
        )
        measured(f"stack deployed, everything runs after {time.monotonic() - began:.0f} s")
        # the guide's way to the stores from this machine: 127.0.0.1 alone
        compose.run(
            "docker", "run", "-d", "--name", "trading_ports",
            "--network", f"{STACK}_trading-network", "--network", f"{STACK}_store-network",
            "-v", f"{folder}/docker/ports/haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro",
            *(word for port in PORTS for word in ("-p", f"127.0.0.1:{port}")), "haproxy:3.0",
        )  # fmt: skip
        yield folder
    finally:
        for service in sorted(wished()):
            print(service, subprocess.run(
                ["docker", "service", "logs", "--tail", "15", "--raw", f"{STACK}_{service}"],
                capture_output=True, text=True, check=False,
            ))  # fmt: skip
        subprocess.run(["docker", "rm", "-f", "trading_ports"], capture_output=True, check=False)
        subprocess.run(["docker", "stack", "rm", STACK], capture_output=True, check=False)
        wait_for(
            lambda: not run("docker", "ps", "-q", "--filter", f"label=com.docker.stack.namespace={STACK}"),
            lambda: "the stack to end",
            120,
        )
        for volume in run(
            "docker", "volume", "ls", "-q", "--filter", f"label=com.docker.stack.namespace={STACK}"
        ).split():
            subprocess.run(["docker", "volume", "rm", "-f", volume], capture_output=True, check=False)


def redis(folder: Path, database: int, *words: str) -> str:
    """One command to the stack's Redis; "" while it does not answer."""
    import redis as client

    password = Installation(folder, load_registry(folder / "bots.toml")).read()["REDIS_PASSWORD"]
    try:
        with client.Redis(password=password, db=database, decode_responses=True, socket_timeout=3) as link:
            return str(link.execute_command(*words) or "")
    except client.RedisError:
        return ""


def synced(folder: Path) -> dict[str, str]:
    """State of each bot's live data, and whether the bot says that it runs."""
    found = {}
    for bot in load_registry(folder / "bots.toml").bots:
        state = redis(folder, bot.redis_db, "HGET", f"status:{bot.id}", "state")
        beats = redis(folder, bot.redis_db, "HGET", f"heartbeat:{bot.id}", "state")
        found[bot.id] = f"{state} {beats}"
    return found


def all_well(folder: Path) -> bool:
    return set(synced(folder).values()) == {"synced running"}


def test_a_lost_node_is_replaced_within_a_minute_and_the_books_agree(
    stack: Path, nodes: tuple[str, str], exchange: Exchange
) -> None:
    known = Installation(stack, load_registry(stack / "bots.toml")).read()
    wait_for(lambda: all_well(stack), lambda: f"live data and bots: {synced(stack)}", 180 * patience())
    second_name = run("docker", "node", "inspect", "--format", "{{.Description.Hostname}}", nodes[1]).strip()
    there = {
        line.partition("_")[2].partition(".")[0]
        for line in run("docker", "-H", f"unix://{SECOND}/sock", "ps", "--format", "{{.Names}}").splitlines()
    } & wished()
    assert len(there) >= 3, f"{second_name} runs {sorted(there)} only"
    with exchange.hand(ACCOUNTS["SHORTSELLER"]):
        time.sleep(5)
        beats = {
            bot.id: redis(stack, bot.redis_db, "HGET", f"heartbeat:{bot.id}", "writer")
            for bot in load_registry(stack / "bots.toml").bots
        }
        lost_at = time.monotonic()
        run("ip", "link", "set", LINK, "down")
        pid = int((SECOND / "pid").read_text())
        psutil.Process(pid).kill()

        def here() -> set[str]:
            listed = run("docker", "ps", "--filter", "status=running", "--format", "{{.Names}}").splitlines()
            return {line.partition("_")[2].partition(".")[0] for line in listed if line.startswith(f"{STACK}_")}

        wait_for(lambda: there <= here(), lambda: f"{sorted(there - here())} on the first node", 180)
        moved_s = time.monotonic() - lost_at

        def trading() -> bool:
            moved = [bot for bot in load_registry(stack / "bots.toml").bots if bot.container in there]
            anew = all(
                redis(stack, bot.redis_db, "HGET", f"heartbeat:{bot.id}", "writer") not in ("", beats[bot.id])
                for bot in moved
            )
            return anew and all_well(stack)

        wait_for(trading, lambda: f"everything to trade again: {synced(stack)}", 240)
        again_s = time.monotonic() - lost_at
        measured(
            f"a node with {', '.join(sorted(there))} lost: they run on the other one after {moved_s:.0f} s, all synced and trading after {again_s:.0f} s"
        )
        # It comes back with its old processes alive: they are fenced, and the engine ends them.
        run("ip", "link", "set", LINK, "up")
        time.sleep(15)
    books = asyncio.run(exchange.books(stack, known["POSTGRES_PASSWORD"], known["REDIS_PASSWORD"]))
    assert books.agree, books.differences[:10]
    assert books.executions > 0
    measured(books.summary)
    assert moved_s <= LIMIT_S
    assert again_s <= LIMIT_S * patience()

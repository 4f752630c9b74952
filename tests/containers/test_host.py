"""The operator's host: own images are never pulled, stacks do not share data, a failing migration stops nothing."""

import json
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.containers.compose import ROOT, Compose, engine_answers, measured, wait_for
from tests.containers.exchange import ACCOUNTS, Exchange
from tests.containers.test_production_manual import edit_env

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]
PRODUCTION, DEMO = "docker-compose.production.yml", "docker-compose.demo.yml"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone of this checkout's commits."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    folder = tmp_path / "Alpha"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".env").write_text("POSTGRES_PASSWORD=p\nREDIS_PASSWORD=p\n")
    return folder


@pytest.fixture
def hostile() -> Iterator[tuple[int, list[str]]]:
    """A local image registry that records requests. The engine talks to 127.0.0.1 without TLS."""
    asked: list[str] = []

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Suppress logging to the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


def identity(compose: Compose, image: str) -> str:
    return compose.run("docker", "image", "inspect", "--format", "{{.Id}}", image).strip()


def test_what_is_missing_is_built_nothing_is_rebuilt_and_no_registry_is_asked(
    checkout: Path, hostile: tuple[int, list[str]]
) -> None:
    port, asked = hostile
    name = f"127.0.0.1:{port}/alpha"
    path = checkout / PRODUCTION
    # Pullable image names: only the pull policy keeps the engine from asking.
    path.write_text(path.read_text().replace("image: alpha.invalid", f"image: {name}"))
    compose = Compose(checkout, (PRODUCTION,))
    image = f"{name}/pgbouncer:local"
    try:
        compose("up", "--no-start", "--no-deps", "pgbouncer", timeout_s=1200)
        assert asked == [], "the engine asked a registry for an image of ours"
        built = identity(compose, image)
        with (checkout / "pgbouncer/check.sh").open("a") as code:
            code.write("# a newer version\n")
        compose("up", "--no-start", "--no-deps", "pgbouncer")
        assert identity(compose, image) == built, "a plain `up` builds nothing anew"
        compose("up", "--no-start", "--no-deps", "--build", "pgbouncer", timeout_s=1200)
        assert identity(compose, image) != built
        assert asked == []
    finally:
        compose("down", "-v")
        compose.run("bash", "-c", f"docker image rm -f $(docker image ls -q '{name}/*' | sort -u)")


def test_after_a_first_clone_an_updated_strategy_recreates_no_other_container(tmp_path: Path) -> None:
    """As on a host that has never built anything: no layer of ours is in a cache, and the clone is its owner's alone."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    folder = tmp_path / "Alpha"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, umask=0o077)
    (folder / ".env").write_text("POSTGRES_PASSWORD=p\nREDIS_PASSWORD=p\nALPHA_VERSION=first\n")
    (folder / "strategies/shortseller/.git").write_text("gitdir: ../../.git/modules/strategies/shortseller\n")
    template = folder / "docker/Dockerfile"
    cold = f"ENV NEVER_BUILT={time.time_ns()}"
    text = template.read_text()
    template.write_text(
        text.replace("ARG GROUP\n", f"ARG GROUP\n{cold}\n").replace("ARG FOLDER\n", f"ARG FOLDER\n{cold}\n")
    )
    compose = Compose(folder, (PRODUCTION,))

    def containers() -> dict[str, str]:
        rows = compose("ps", "-a", "--format", "{{.Service}} {{.ID}}").split("\n")
        return dict(row.split() for row in rows if row.strip())

    try:
        compose("up", "--no-start", timeout_s=1200)
        before = containers()
        assert {"websocket_listener", "shortseller", "migrate", "prepare"} <= set(before)
        with (folder / "strategies/shortseller/strategy.py").open("a") as code:
            code.write("# a newer version\n")
        compose("up", "--no-start", "--build", "shortseller", timeout_s=1200)
        after = containers()
        assert {name for name in before if before[name] != after[name]} == {"shortseller"}
        compose("up", "--no-start")
        assert containers() == after, "a plain `up` afterwards recreates nothing"
        image = "alpha.invalid/shortseller:first"
        listed = compose.run(
            "docker", "run", "--rm", "--entrypoint", "ls", image, "-a", "strategies/shortseller"
        ).split()
        assert "strategy.py" in listed
        assert ".git" not in listed
        imports = "import alpha.registry, bot_runner.main, strategies.shortseller.strategy"
        compose.run("docker", "run", "--rm", "--entrypoint", "python3", image, "-c", imports)
    finally:
        compose("down", "-v")
        compose.run("bash", "-c", "docker image rm -f $(docker image ls -q 'alpha.invalid/*:first' | sort -u)")


def volumes(compose: Compose) -> set[str]:
    return set(compose.run("docker", "volume", "ls", "--format", "{{.Name}}").split())


def test_a_changed_page_of_the_command_centre_leaves_all_other_images_as_they_were(checkout: Path) -> None:
    compose = Compose(checkout, (PRODUCTION,))
    services = ("telegram_manager", "risk_guard", "websocket_listener", "trade_sync_service", "shortseller")
    image = "alpha.invalid/{}:local"

    def built() -> dict[str, str]:
        compose("build", *services, timeout_s=1200)
        return {name: identity(compose, image.format(name)) for name in services}

    before = built()
    with (checkout / "operations/pages.py").open("a") as page:
        page.write("# a newer version\n")
    after = built()
    assert {name for name in services if after[name] != before[name]} == {"telegram_manager"}
    with (checkout / "alpha/model/money.py").open("a") as library:
        library.write("# a newer version\n")
    changed = built()
    assert all(changed[name] != after[name] for name in services), "what every service imports changes every image"


def test_the_model_server_adds_at_most_200_megabytes_to_its_base(checkout: Path) -> None:
    compose = Compose(checkout, (PRODUCTION,))
    compose("--profile", "models", "build", "model_server", timeout_s=1200)

    def size(image: str) -> int:
        return int(compose.run("docker", "image", "inspect", "--format", "{{.Size}}", image))

    added = size("alpha.invalid/model_server:local") - size("python:3.13-slim")
    measured(f"the image of model_server adds {added / 1e6:.0f} MB to its base")
    assert added <= 200_000_000


def test_the_clean_up_of_one_stack_never_touches_the_record_of_another(checkout: Path) -> None:
    production, demo = Compose(checkout, (PRODUCTION,)), Compose(checkout, (PRODUCTION, DEMO))
    guide = (ROOT / "docs/guides/DOCKER_STARTUP_GUIDE.md").read_text()
    (ending,) = re.findall(rf"^docker compose -f {PRODUCTION} -f {DEMO} (.*down -v)$", guide, re.MULTILINE)
    documented = shlex.split(ending)
    assert "alpha_postgres_17" not in volumes(production), "a stack of this name is in use on this machine"
    try:
        production("up", "--no-start", "--no-deps", "postgres", "redis")
        # next to it, at the same time, in the same checkout
        demo("--profile", "ticks", "up", "--no-start", "--no-deps", "postgres", "redis", "influxdb")
        assert {"alpha_postgres_17", "alpha-demo_postgres_17", "alpha-demo_influx_data"} <= volumes(production)
        production("-p", "other", "down", "-v")
        assert "alpha_postgres_17" in volumes(production)
        demo(*documented)
        assert not [name for name in volumes(production) if name.startswith("alpha-demo_")]
        assert {"alpha_postgres_17", "alpha_redis_data"} <= volumes(production)
        names = production.run("docker", "ps", "-a", "--format", "{{.Names}}").split()
        assert "trading_postgres" in names
        assert not [name for name in names if name.startswith("demo-")]
    finally:
        demo(*documented)
        production("down", "-v")


def test_the_start_of_containers_leaves_no_folder_of_secrets(checkout: Path) -> None:
    compose = Compose(checkout, (PRODUCTION,))
    try:
        compose("up", "--no-start", "--no-deps", "postgres", "redis")
        assert not (checkout / "secrets").exists()
    finally:
        compose("down", "-v")


GUARDED = ("risk_guard", "websocket_listener")


def started(compose: Compose) -> dict[str, str]:
    rows = compose.run("docker", "inspect", "--format", "{{.Name}} {{.State.StartedAt}} {{.State.Running}}", *GUARDED)
    return {line.split()[0].strip("/"): line for line in rows.splitlines()}


def upgrade(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "alpha", "upgrade", "--folder", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip


@pytest.mark.long
def test_a_failing_migration_leaves_everything_running_and_records_on(checkout: Path, exchange: Exchange) -> None:
    compose = Compose(checkout, (PRODUCTION,))
    edit_env(compose, exchange)

    def fills() -> int:
        words = ("psql", "-U", "trading_user", "-d", "trading_db", "-Atc", "SELECT count(*) FROM trading.fills")
        return int(compose.run("docker", "exec", "trading_postgres", *words))

    def healthy() -> bool:
        states = compose.states()
        return all(states[name] == "running healthy" for name in GUARDED)

    try:
        compose("up", "-d", *GUARDED, timeout_s=1200)
        wait_for(healthy, lambda: f"guard and listener to be healthy: {compose.states()}", 300)
        with exchange.hand(ACCOUNTS["LXALGO"]):
            wait_for(lambda: fills() > 3, lambda: f"fills, there are {fills()}", 120)
            newest = max(int(found.name[:4]) for found in (checkout / "database/migrations").glob("0*.sql"))
            bad = checkout / f"database/migrations/{newest + 1:04}_bad.sql"
            bad.write_text("SELECT 1 / 0;\n")
            before = started(compose)
            done = upgrade(checkout)
            assert done.returncode == 1, done.stdout + done.stderr
            assert "The migration failed" in done.stderr
            assert "division by zero" in done.stdout + done.stderr
            assert started(compose) == before, "nothing was replaced"
            # and a plain `up -d --build` replaces them, but neither waits for the migration
            compose("up", "-d", "--build", *GUARDED, timeout_s=1200)
            wait_for(healthy, lambda: f"guard and listener to be healthy: {compose.states()}", 300)
            assert compose.states()["migrate"].startswith("exited 70"), compose.states()
            seen = fills()
            wait_for(lambda: fills() > seen, lambda: "fills after it", 120)
            # A changed password: the container reports that the volume keeps the old one.
            env = checkout / ".env"
            env.write_text(env.read_text().replace("POSTGRES_PASSWORD=", "POSTGRES_PASSWORD=changed-"))
            bad.unlink()
            done = upgrade(checkout)
            assert done.returncode == 1
            assert "keeps the password that it was made with" in done.stdout + done.stderr
            assert all(json.loads(line.split()[2]) for line in started(compose).values())
    finally:
        print(compose("logs", "--tail", "5", "--no-color", *GUARDED, "migrate"))
        compose("down", "-v")


#: Services that need nothing outside this machine.
INSIDE = ("postgres", "redis", "pgbouncer")
_ROUTES = "cut -f2 /proc/net/route; (echo >/dev/tcp/192.0.2.1/443) 2>&1 | tail -1"


def test_who_needs_nothing_outside_reaches_nothing_and_its_port_is_published(checkout: Path) -> None:
    compose = Compose(checkout, (PRODUCTION,))
    try:
        compose("up", "-d", *INSIDE, timeout_s=1200)
        wait_for(
            lambda: all(compose.states()[name] == "running healthy" for name in (*INSIDE, "ports")),
            lambda: f"the stores to be healthy: {compose.states()}",
            300,
        )
        for name in INSIDE:
            said = compose("exec", "-T", name, "bash", "-c", _ROUTES)
            assert "00000000" not in said, f"{name} has a way out: {said}"
            assert "unreachable" in said, (name, said)
        asked = (
            "import asyncio, asyncpg, redis\n"
            "async def main():\n"
            "    for port in (5433, 6432):\n"
            "        link = await asyncpg.connect(host='127.0.0.1', port=port, user='trading_user', password='p',"
            " database='trading_db', statement_cache_size=0)\n"
            "        print(await link.fetchval('SELECT 40 + 2'))\n"
            "        await link.close()\n"
            "asyncio.run(main())\n"
            "print(redis.Redis(port=6379, password='p').ping())\n"
        )
        assert compose.run(sys.executable, "-c", asked).split() == ["42", "42", "True"]
        # a store that comes back at another address is found again
        compose("up", "-d", "--force-recreate", "--no-deps", "redis")
        wait_for(lambda: compose.states()["redis"] == "running healthy", lambda: "redis to be back", 120)
        again = "import redis; print(redis.Redis(port=6379, password='p').ping())"

        def back() -> bool:
            return subprocess.run([sys.executable, "-c", again], capture_output=True, check=False).returncode == 0

        wait_for(back, lambda: "the published port to find it", 60)
        shown = compose.run(
            "docker", "ps", "--filter", "label=com.docker.compose.project=alpha", "--format", "{{.Ports}}"
        )
        assert "0.0.0.0" not in shown
    finally:
        compose("down", "-v")


def test_a_migration_that_fails_holds_up_nobody(checkout: Path) -> None:
    compose = Compose(checkout, (PRODUCTION,))

    def healthy() -> bool:
        return all(compose.states()[name] == "running healthy" for name in INSIDE)

    try:
        compose("up", "-d", *INSIDE, timeout_s=1200)
        wait_for(healthy, lambda: f"the stores to be healthy: {compose.states()}", 300)
        newest = max(int(found.name[:4]) for found in (checkout / "database/migrations").glob("0*.sql"))
        (checkout / f"database/migrations/{newest + 1:04}_bad.sql").write_text("SELECT 1 / 0;\n")
        with (checkout / "pgbouncer/check.sh").open("a") as code:
            code.write("# a newer version\n")
        compose("up", "-d", "--build", *INSIDE, timeout_s=1200)
        wait_for(healthy, lambda: f"the stores to be healthy: {compose.states()}", 300)
        wait_for(
            lambda: compose.states()["migrate"].startswith("exited 70"),
            lambda: f"the migration to fail: {compose.states()}",
            120,
        )
        assert "division by zero" in compose("logs", "--no-log-prefix", "--tail", "3", "migrate")
    finally:
        compose("down", "-v")

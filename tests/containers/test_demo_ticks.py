"""The profile of ticks: InfluxDB in its container takes what the recorder stores, also after it was killed."""

import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from demo.ledger_check import Ledger
from tests.containers.compose import Compose, measured, wait_for

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1200)]
PASSWORD = "demo-of-alpha"
ADDRESS = "http://127.0.0.1:18086"
SERVICES = ("influxdb", "influxdb_port", "tick_recorder")
_HELD = """
from pathlib import Path
from tick_recorder.inspect import held
from tick_recorder.schema import Kind
from tick_recorder.store import TickStore
print(sum(one.rows for one in held(TickStore(Path("/ticks"))) if one.kind is Kind.TRADES))
"""


def query(text: str, user: str = "alpha") -> list[list[object]]:
    """The rows of an InfluxQL query; none while InfluxDB is away."""
    try:
        answer = httpx.get(f"{ADDRESS}/query", params={"q": text, "db": "ticks"}, auth=(user, PASSWORD), timeout=30)
    except httpx.HTTPError:
        return []
    assert answer.status_code == 200, answer.text
    return [row for one in answer.json()["results"][0].get("series", []) for row in one.get("values", [])]


def points() -> int:
    """How many trades InfluxDB holds."""
    rows = query('SELECT COUNT("price") FROM "trades"')
    return int(str(rows[0][1])) if rows else 0


@pytest.fixture(scope="module")
def ticks_stack(demo_stack: Compose) -> Iterator[Compose]:
    """The demo stack with its recorder of ticks and InfluxDB."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TICKS_SYMBOLS", "BTCUSDT,ETHUSDT")
        environment.setenv("TICKS_PART_S", "3")
        try:
            demo_stack("--profile", "ticks", "build", "tick_recorder", timeout_s=1200)
            demo_stack("--profile", "ticks", "up", "-d", "--no-build", *SERVICES)
            yield demo_stack
        finally:
            print(demo_stack("--profile", "ticks", "logs", "--tail", "30", "--no-color", *SERVICES))
            demo_stack("--profile", "ticks", "rm", "--stop", "--force", *SERVICES)


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    """The exchange's control, whose clock goes on afterwards."""
    found = Ledger("http://127.0.0.1:8090")
    yield found
    await found.resume()
    await found.close()


def stored(stack: Compose) -> int:
    """How many trades the recorder's files hold."""
    return int(stack.run("docker", "exec", "demo-tick_recorder", "python3", "-c", _HELD))


def test_the_first_start_makes_database_user_and_retention_and_publishes_on_this_host_alone(
    ticks_stack: Compose,
) -> None:
    wait_for(lambda: points() > 0, lambda: f"trades in InfluxDB: {ticks_stack.states()}", 240)
    assert ["ticks"] in query("SHOW DATABASES", "admin")
    assert sorted(query("SHOW USERS", "admin")) == [["admin", True], ["alpha", False]]
    (policy,) = query("SHOW RETENTION POLICIES ON ticks", "admin")
    assert (policy[0], policy[1], policy[-1]) == ("autogen", "876000h0m0s", True)
    assert httpx.get(f"{ADDRESS}/query", params={"q": "SHOW DATABASES"}).status_code == 401
    published = {}
    for name in ("demo-trading_influxdb", "demo-influxdb_port"):
        ports = json.loads(ticks_stack.run("docker", "inspect", name))[0]["NetworkSettings"]["Ports"]
        published[name] = [bound for some in ports.values() for bound in some or []]
    assert published == {
        "demo-trading_influxdb": [],
        "demo-influxdb_port": [{"HostIp": "127.0.0.1", "HostPort": "18086"}],
    }


async def test_killed_it_is_filled_again_and_the_counts_are_equal(ticks_stack: Compose, ledger: Ledger) -> None:
    wait_for(lambda: points() > 0, lambda: "trades in InfluxDB", 240)
    ticks_stack.run("docker", "kill", "demo-trading_influxdb")
    before = stored(ticks_stack)
    # the files go on without it
    wait_for(lambda: stored(ticks_stack) > before + 200, lambda: f"more trades than {before} in the files", 240)
    ticks_stack("--profile", "ticks", "up", "-d", "--no-build", "influxdb")
    await ledger.pause()
    wait_for(lambda: points() == stored(ticks_stack) > before, lambda: f"{stored(ticks_stack)}, not {points()}", 300)
    measured(f"InfluxDB, killed and filled again: {points()} trades, as many as in the files")

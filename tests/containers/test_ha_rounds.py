"""`make test-ha` in containers: the leaders of PostgreSQL and Redis, a listener and the guard, each killed, paused and cut off.

The whole stack of docker-compose.ha.yml trades on a simulated exchange outside it: three bots, and somebody on each of their accounts
twice a second, so that something flows at every moment. An engine restarts nothing that was killed by hand: each round undoes its fault.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.containers.compose import Compose, engine_answers, measured, wait_for
from tests.containers.exchange import ACCOUNTS, Exchange, set_up
from tests.containers.test_ha import members, quietly, redis_leader

pytestmark = [pytest.mark.containers, pytest.mark.long, pytest.mark.timeout(3600)]
#: ALPHA_HA_ROUNDS chooses another number.
ROUNDS = int(os.environ.get("ALPHA_HA_ROUNDS", "20"))
BOTS = ("SHORTSELLER", "LXALGO", "MOMENTUM")
#: Telegram cannot be reached from here.
DEAF = frozenset({"telegram_manager"})
#: Everything is recorded again within this time, with a machine full of containers.
AGAIN_S = 90.0
_ANSWER_S = 6.0


class Stack:
    """The stack, and what is asked of it."""

    def __init__(self, compose: Compose) -> None:
        known = json.loads((compose.folder / "secrets/installation.json").read_text())
        self.compose = compose
        self.password: str = known["POSTGRES_PASSWORD"]
        self.redis_password: str = known["REDIS_PASSWORD"]
        self.acknowledged: list[int] = []
        self.longest_gap_s = 0.0
        self._ended = threading.Event()
        self._writing = threading.Thread(target=self._write)

    def sql(self, text: str) -> str:
        """One value through the pooler; "" while nobody leads."""
        variables = ("-e", f"PGPASSWORD={self.password}", "-e", "PGCONNECT_TIMEOUT=2")
        client = ("timeout", "4", "psql", "-h", "127.0.0.1", "-p", "6432", "-U", "trading_user", "-d", "trading_db")
        return quietly("docker", "exec", *variables, "trading_pgbouncer", *client, "-Atqc", text, timeout_s=_ANSWER_S)

    def write(self) -> None:
        """Begin to store a row about twice a second; `acknowledged` are those that were answered."""
        self.sql("CREATE TABLE IF NOT EXISTS public.acknowledged (n int PRIMARY KEY)")
        self._writing.start()

    def _write(self) -> None:
        number, last_s = 0, time.monotonic()
        while not self._ended.wait(0.3):
            number += 1
            if self.sql(f"INSERT INTO public.acknowledged VALUES ({number}) RETURNING n") == str(number):
                self.acknowledged.append(number)
                self.longest_gap_s, last_s = max(self.longest_gap_s, time.monotonic() - last_s), time.monotonic()

    def end(self) -> None:
        """Stop writing."""
        self._ended.set()
        self._writing.join()

    def missing(self) -> int:
        """How many acknowledged rows are not there."""
        there = {int(text) for text in self.sql("SELECT n FROM public.acknowledged").split()}
        return len(set(self.acknowledged) - there)

    def guard(self) -> str:
        """The container of the guard that acts."""
        host = self.sql("SELECT holder FROM trading.guard_lease").partition(":")[0]
        return next(name for name in ("risk_guard", "risk_guard2") if host and host == hostname(name))

    def recorded(self, since_s: float) -> bool:
        """Whether a fill of each account was stored that the listener received after this moment."""
        text = f"SELECT count(DISTINCT account_id) FROM trading.fills WHERE received_at > to_timestamp({since_s})"
        return self.sql(text) == str(len(BOTS))


def hostname(container: str) -> str:
    """The host name inside a container."""
    return quietly("docker", "inspect", "--format", "{{.Config.Hostname}}", container)


def killed(container: str) -> Callable[[], None]:
    """Kill it; returns what undoes that."""
    quietly("docker", "kill", container)

    def undo() -> None:
        quietly("docker", "start", container)

    return undo


def paused(container: str) -> Callable[[], None]:
    """Freeze every process of it."""
    quietly("docker", "pause", container)

    def undo() -> None:
        quietly("docker", "unpause", container)

    return undo


def cut_off(container: str) -> Callable[[], None]:
    """Take it out of every network."""
    networks = json.loads(quietly("docker", "inspect", "--format", "{{json .NetworkSettings.Networks}}", container))
    for network in networks:
        quietly("docker", "network", "disconnect", network, container)

    def undo() -> None:
        for network, settings in networks.items():
            # its short id is one of the aliases, and the engine gives that by itself
            names = [name for name in settings["Aliases"] or [] if name != hostname(container)]
            quietly(
                *("docker", "network", "connect"),
                *(word for name in names for word in ("--alias", name)),
                *(network, container),
            )

    return undo


WAYS = {"killed": killed, "paused": paused, "cut off": cut_off}
TARGETS: dict[str, Callable[[Stack], str]] = {
    "leader of PostgreSQL": lambda _: f"trading_{next(name for name, role in members().items() if role == 'Leader')}",
    "leader of Redis": lambda _: f"trading_{redis_leader()}",
    "listener": lambda _: "websocket_listener",
    "guard": lambda stack: stack.guard(),
}


@pytest.fixture(scope="module")
def stack(exchange: Exchange, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole stack, healthy, with somebody who trades on every account."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    folder: Path = tmp_path_factory.mktemp("ha") / "Alpha"
    plain = set_up(folder, f"{exchange.settings}ALPHA_STANDBY=true\nGUARD_OBSERVE=true\n")
    compose = Compose(plain.folder, ("docker-compose.production.yml", "docker-compose.ha.yml"))
    compose.remove()
    try:
        compose("build", timeout_s=1200)
        compose("up", "-d", timeout_s=900)
        compose.wait_healthy(400, leaving=DEAF)
        wait_for(lambda: "Sync Standby" in members().values(), lambda: f"a synchronous standby: {members()}", 120)
        found = Stack(compose)
        with ExitStack() as hands:
            for bot in BOTS:
                hands.enter_context(exchange.hand(ACCOUNTS[bot]))
            wait_for(lambda: found.recorded(0), lambda: "a fill of every account", 120)
            found.write()
            yield found
            found.end()
    finally:
        print(compose("logs", "--tail", "20", "--no-color"))
        compose.remove()


def whole(stack: Stack) -> bool:
    """A leader with a synchronous standby, a leader of Redis with replicas, and everything healthy."""
    states = {name: state for name, state in stack.compose.states().items() if name not in DEAF}
    return "Sync Standby" in members().values() and all(
        state == "exited 0" or state == "running healthy" for state in states.values()
    )


def play(stack: Stack, target: str, way: str) -> str:
    """One round; returns what was too late, "" when nothing was."""
    container = TARGETS[target](stack)
    stack.longest_gap_s, began_s, late = 0.0, time.monotonic(), ""
    undo = WAYS[way](container)
    since_s = time.time() + 2
    try:
        wait_for(lambda: stack.recorded(since_s), lambda: f"fills of every account, {target} {way}", AGAIN_S)
    except AssertionError as fault:
        late = str(fault)
    again_s = time.monotonic() - began_s
    undo()
    wait_for(lambda: whole(stack), lambda: f"all to be whole: {members()} {stack.compose.states()}", 240)
    measured(
        f"{target} ({container}) {way}: every account recorded again after {again_s:.1f} s, longest time without a "
        f"commit {stack.longest_gap_s:.1f} s"
    )
    return late


def test_every_leader_is_lost_in_every_way_and_nothing_else_is(stack: Stack, exchange: Exchange) -> None:
    plays = [(target, way) for way in WAYS for target in TARGETS]
    late = [play(stack, *plays[number % len(plays)]) for number in range(ROUNDS)]
    assert not any(late), late
    assert stack.missing() == 0
    assert len(stack.acknowledged) > ROUNDS
    books = asyncio.run(exchange.books(stack.compose.folder, stack.password, stack.redis_password))
    measured(f"{len(stack.acknowledged)} acknowledged rows, none missing; {books.summary}")
    assert books.agree, books.differences[:10]

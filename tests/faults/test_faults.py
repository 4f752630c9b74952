"""The short form of the fault suite; `make faults` runs hundreds of rounds."""

import random
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from alpha.clock import wall_ms
from tests.faults.books import figures_differ, settle
from tests.faults.fault_env import FaultEnv
from tests.faults.rounds import FAULTS, Fault
from tests.faults.run import play
from tests.support.world import until

BY_NAME = {fault.name: fault for fault in FAULTS}
SHORT = (
    ("listener killed",),
    ("postgres restarted",),
    ("postgres disk full",),
    ("redis restarted",),
    ("redis flushed", "streams cut"),
    ("streams stalled",),
    ("every tenth push lost",),
    ("pushes garbled",),
    ("pushes far ahead",),
    ("pushes reordered", "5xx storm"),
    ("key revoked",),
    ("redis frozen",),
    ("postgres frozen", "streams cut"),
    ("bot killed",),
    ("wall clock steps",),
    ("symbol delivered",),
    ("sync frozen", "guard killed"),
    *(
        pytest.param((name,), marks=pytest.mark.long)
        for name in ("two listeners", "bots are two", "syncs are two", "guards are two", "bot frozen")
    ),
)
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena() -> AsyncIterator[FaultEnv]:
    """Exchange, stores and listener, with bots that trade once a round starts."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-faults-"))
    found = FaultEnv(folder, random.Random(20_250_401))
    try:
        await found.open()
        yield found
    finally:
        await found.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("names", SHORT, ids=lambda names: " + ".join(names))
async def test_every_execution_is_stored_once_and_the_status_never_lies(
    arena: FaultEnv, names: tuple[str, ...]
) -> None:
    troubles: tuple[Fault, ...] = tuple(BY_NAME[name] for name in names)
    outcome = await play(arena, troubles)
    assert outcome.faults == []
    assert outcome.executions > 0


async def test_a_connection_that_stands_and_brings_nothing_is_replaced(arena: FaultEnv) -> None:
    before = [wire for wire in arena.proxy.wires if wire.key]
    arena.proxy.push.drop_every = 1
    arena.trade()

    replaced: set[str] = set()

    async def all_replaced() -> bool:
        replaced.update(wire.key for wire in arena.proxy.wires if all(wire is not old for old in before))
        return {wire.key for wire in before} <= replaced

    try:
        await until(all_replaced, 150, "every silent connection to be replaced")
    finally:
        arena.proxy.heal()
        arena.rest()
    await arena.synced_since(wall_ms(), 90)
    assert await settle(arena, 30) == []


async def test_after_all_this_every_figure_is_exact_and_equals_what_the_exchange_booked(arena: FaultEnv) -> None:
    """The last of this module: what the rounds before have left is recomputed from every fill."""
    arena.rest()
    assert await figures_differ(arena) == []

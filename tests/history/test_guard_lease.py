"""The guard's fence on a real PostgreSQL with a test clock: who was replaced sends nothing, and nobody is left without a guard."""

from collections.abc import AsyncIterator, Callable

import pytest

from alpha.clock import Clock
from alpha.config.services import DatabaseSettings
from alpha.lease import CLOCK_ERROR_MS, Act, LeaseNotHeld
from alpha.postgres.database import Connection
from alpha.postgres.lease import GUARD_LEASE, PostgresLease
from risk_guard.lease import ALONE_AFTER_MS, GuardLease
from tests.history.test_leases import MovedClock

#: So long that a crowded machine lets none expire in PostgreSQL; the test clock passes it at once.
SECONDS = 600.0
MOST_MS = 5_000
Maker = Callable[..., GuardLease]


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def guard(history_settings: DatabaseSettings, clock: MovedClock) -> AsyncIterator[Maker]:
    """Makes the lease of a guard, as a process of its own would; `away`: with a PostgreSQL that nobody answers for."""
    rows: list[PostgresLease] = []

    def make(*, away: bool = False) -> GuardLease:
        settings = history_settings.model_copy(update={"postgres_port": 1}) if away else history_settings
        rows.append(PostgresLease(settings, "test", GUARD_LEASE, {"only_row": True}, timeout_s=10.0))
        return GuardLease(rows[-1], SECONDS, clock=Clock(boottime_ms=clock))

    yield make
    for row in rows:
        await row.close()


async def expire(owner: Connection) -> None:
    """The lease's time is over in PostgreSQL."""
    await owner.execute("UPDATE trading.guard_lease SET expires_at = now() - interval '1 s', renewed_at = '-infinity'")


async def refused(lease: GuardLease) -> None:
    """It may neither begin a request nor sign one that has begun."""
    with pytest.raises(LeaseNotHeld):
        lease.window_ms(Act.REDUCE, MOST_MS)
    for act in Act:
        with pytest.raises(LeaseNotHeld):
            await lease.ready(act)
    assert not lease.leads


async def test_of_two_guards_one_may_send(guard: Maker, clock: MovedClock) -> None:
    first, second = guard(), guard()
    await first.tend()
    await second.tend()
    await first.ready(Act.REDUCE)
    assert first.leads
    await refused(second)
    assert first.window_ms(Act.CHANGE, MOST_MS) == MOST_MS
    clock.now_ms += int(SECONDS * 1000) - 2_000
    assert first.window_ms(Act.CHANGE, MOST_MS) == 2_000 - CLOCK_ERROR_MS


async def test_a_frozen_guard_signs_nothing_once_its_lease_is_over_and_sends_nothing_once_it_is_replaced(
    guard: Maker, clock: MovedClock, owner: Connection
) -> None:
    first, second = guard(), guard()
    await first.tend()
    await first.ready(Act.REDUCE)
    clock.now_ms += int(SECONDS * 1000)
    # a request that had passed `ready` before the freeze
    with pytest.raises(LeaseNotHeld):
        first.window_ms(Act.REDUCE, MOST_MS)
    await expire(owner)
    await second.tend()
    await refused(first)
    assert second.leads
    # it stands by, and acts again when the other one hands over
    await second.give_back()
    await first.tend()
    await first.ready(Act.REDUCE)
    assert first.leads


async def test_a_frozen_guard_that_nobody_replaced_asks_and_goes_on(guard: Maker, clock: MovedClock) -> None:
    lease = guard()
    await lease.tend()
    clock.now_ms += 2 * int(SECONDS * 1000)
    assert not lease.leads
    await lease.ready(Act.CHANGE)
    assert lease.leads


async def test_a_guard_that_cannot_ask_acts_alone_after_ten_seconds(guard: Maker, clock: MovedClock) -> None:
    lease = guard(away=True)
    await lease.tend()
    await refused(lease)
    clock.now_ms += ALONE_AFTER_MS - 1
    await lease.tend()
    await refused(lease)
    clock.now_ms += 1
    await lease.tend()
    await lease.ready(Act.REDUCE)
    assert lease.window_ms(Act.REDUCE, MOST_MS) == MOST_MS
    # for one lease's time, then it asks again
    clock.now_ms += int(SECONDS * 1000)
    assert not lease.leads
    await lease.ready(Act.REDUCE)
    assert lease.leads

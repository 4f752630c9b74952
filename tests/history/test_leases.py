"""Leases on a real PostgreSQL with a test clock: deadlines, takeovers, tokens, and the requirements of each action."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from alpha.clock import Clock, wall_ms
from alpha.config.services import DatabaseSettings
from alpha.errors import Retry
from alpha.lease import CLOCK_ERROR_MS, Act, Lease, LeaseLost, LeaseNotHeld, settle_ms
from alpha.postgres.database import Connection
from alpha.postgres.lease import BOT_LEASES, GUARD_LEASE, LeaseTable, PostgresLease
from tests.support.stalling import Stalling
from tests.support.world import until

SECONDS = 10.0


@dataclass
class MovedClock:
    """A clock that only the test moves."""

    now_ms: int = 1_000

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class Place:
    """Creates leases of one account, each as a separate process would."""

    settings: DatabaseSettings
    owner: Connection
    account: int
    clock: MovedClock = field(default_factory=MovedClock)
    rows: list[PostgresLease] = field(default_factory=list)

    def lease(self, table: LeaseTable = BOT_LEASES, *, seconds: float = SECONDS, timeout_s: float = 10.0) -> Lease:
        values = {"account_id": self.account, "bot_id": "lxalgo_001", "only_row": True}
        self.rows.append(PostgresLease(self.settings, "test", table, values, timeout_s=timeout_s))
        return Lease(self.rows[-1], seconds, what="the account", clock=Clock(boottime_ms=self.clock))

    async def expire(self) -> None:
        """Make the lease expire in the database."""
        await self.owner.execute("UPDATE trading.bot_leases SET expires_at = now() - interval '1 s'")


@pytest.fixture
async def place(history_settings: DatabaseSettings, owner: Connection) -> AsyncIterator[Place]:
    account = await owner.fetchval("SELECT trading.register_account('simulated', 'lease', 'lxalgo_001')")
    made = Place(history_settings, owner, account)
    yield made
    for row in made.rows:
        await row.close()


async def test_a_first_holder_opens_at_once_and_its_token_is_the_epoch(place: Place) -> None:
    lease = place.lease()
    assert await lease.try_take()
    assert abs(lease.token - wall_ms()) < 60_000
    lease.check(Act.OPEN)
    assert lease.window_ms(Act.OPEN, 5_000) == 5_000


async def test_a_second_process_waits_while_the_first_holds(place: Place) -> None:
    first, second = place.lease(), place.lease()
    assert await first.try_take()
    assert not await second.try_take()
    with pytest.raises(LeaseNotHeld):
        second.check(Act.CHANGE)
    assert not second.held


async def test_the_window_ends_before_the_lease_does(place: Place) -> None:
    lease = place.lease()
    await lease.try_take()
    place.clock.now_ms += 7_000
    assert lease.window_ms(Act.OPEN, 5_000) == 3_000 - CLOCK_ERROR_MS
    place.clock.now_ms += 2_200
    with pytest.raises(LeaseNotHeld):
        lease.window_ms(Act.OPEN, 5_000)
    with pytest.raises(LeaseNotHeld):
        lease.window_ms(Act.REDUCE, 5_000)


async def test_a_frozen_holder_asks_and_learns_that_it_was_replaced(place: Place) -> None:
    first, second = place.lease(), place.lease()
    await first.try_take()
    await place.expire()
    assert await second.try_take()
    assert second.token > first.token
    place.clock.now_ms += int(SECONDS * 1000)
    for act in Act:
        with pytest.raises(LeaseLost):
            await first.ready(act)
    with pytest.raises(LeaseLost):
        first.window_ms(Act.REDUCE, 5_000)


async def test_a_frozen_holder_that_was_not_replaced_goes_on_after_asking(place: Place) -> None:
    lease = place.lease()
    await lease.try_take()
    place.clock.now_ms += 60_000
    await lease.ready(Act.OPEN)
    assert lease.held


async def test_a_successor_of_a_lost_holder_opens_only_after_all_that_was_sent_has_expired(place: Place) -> None:
    first, second = place.lease(), place.lease()
    await first.try_take()
    await place.expire()
    await second.try_take()
    second.check(Act.CHANGE)
    second.check(Act.REDUCE)
    assert second.settles_in_ms == settle_ms(SECONDS) == 10_000 + 5_000 + 1_000 + 500
    place.clock.now_ms += settle_ms(SECONDS) - 1
    with pytest.raises(LeaseNotHeld, match="may still arrive"):
        await second.ready(Act.OPEN)
    place.clock.now_ms += 1
    await second.ready(Act.OPEN)


async def test_a_successor_of_a_holder_that_gave_it_back_opens_at_once(place: Place) -> None:
    first, second = place.lease(), place.lease()
    await first.try_take()
    await first.give_back()
    with pytest.raises(LeaseNotHeld):
        first.check(Act.REDUCE)
    assert await second.try_take()
    assert second.settles_in_ms == 0
    second.check(Act.OPEN)


async def test_who_takes_it_twice_because_an_answer_was_lost_still_waits(place: Place) -> None:
    first, second = place.lease(), place.lease()
    await first.try_take()
    await place.expire()
    await second.try_take()
    assert await second.try_take()
    assert second.settles_in_ms == settle_ms(SECONDS)


async def test_without_postgresql_only_reducing_goes_on_and_only_after_it_was_asked(place: Place) -> None:
    lease = place.lease(timeout_s=1.0)
    await lease.try_take()
    async with place.owner.transaction():
        await place.owner.execute("LOCK TABLE trading.bot_leases")  # queries block from here on
        await lease.renew()
        lease.check(Act.OPEN)
        place.clock.now_ms += int(SECONDS * 1000)
        with pytest.raises(LeaseNotHeld):
            lease.check(Act.REDUCE)
        await lease.ready(Act.REDUCE)
        assert lease.window_ms(Act.REDUCE, 5_000) == 5_000
        for act in (Act.OPEN, Act.CHANGE):
            with pytest.raises(LeaseNotHeld):
                await lease.ready(act)
        place.clock.now_ms += int(SECONDS * 1000)
        with pytest.raises(LeaseNotHeld):
            lease.window_ms(Act.REDUCE, 5_000)
    await lease.ready(Act.OPEN)


async def test_a_doubted_clock_makes_the_next_request_ask_first(place: Place) -> None:
    lease = place.lease()
    await lease.try_take()
    lease.doubt()
    with pytest.raises(LeaseNotHeld):
        lease.window_ms(Act.OPEN, 5_000)
    await lease.ready(Act.OPEN)
    assert lease.window_ms(Act.OPEN, 5_000) == 5_000


async def test_a_token_grows_over_a_restore_that_has_forgotten_a_holder(place: Place) -> None:
    first, second = place.lease(), place.lease()
    await first.try_take()
    await place.owner.execute("UPDATE trading.bot_leases SET token = 3, expires_at = '-infinity'")
    await second.try_take()
    assert second.token > first.token
    await place.owner.execute("UPDATE trading.bot_leases SET token = token + 10^15::bigint, expires_at = '-infinity'")
    third = place.lease()
    await third.try_take()
    assert third.token == second.token + 10**15 + 1


async def test_a_save_that_was_under_way_at_the_takeover_is_refused(place: Place) -> None:
    first, second = place.lease(), place.lease()
    await first.try_take()
    await place.expire()
    row = "INSERT INTO trading.strategy_state (account_id, name, bot_id, state, lease_token) VALUES ($1, 'core', 'b', '{}', $2)"
    async with place.owner.transaction():
        await place.owner.execute(row, place.account, first.token)
        taking = asyncio.create_task(second.try_take())
        done, _ = await asyncio.wait({taking}, timeout=0.3)
        assert not done, "the lease changed hands while a save under it was not committed"
    assert await taking
    with pytest.raises(Exception, match="no longer owns the account"):
        await place.owner.execute(row.replace("core", "runtime"), place.account, first.token)


async def test_the_guard_of_the_previous_release_and_this_one_exclude_each_other(place: Place) -> None:
    # The exact query of the previous release.
    old = """
        INSERT INTO trading.guard_lease AS g (holder, renewed_at) VALUES ($1, clock_timestamp())
        ON CONFLICT (only_row) DO UPDATE SET holder = excluded.holder, renewed_at = clock_timestamp()
        WHERE g.holder = excluded.holder OR g.renewed_at < clock_timestamp() - make_interval(secs => $2)
        RETURNING holder
    """
    lease = place.lease(GUARD_LEASE, seconds=3.0)
    assert await place.owner.fetchval(old, "old", 15.0) == "old"
    assert not await lease.try_take()
    await place.owner.execute("UPDATE trading.guard_lease SET renewed_at = now() - interval '16 s'")
    assert await lease.try_take()
    assert await place.owner.fetchval(old, "old", 15.0) is None
    await place.owner.execute("UPDATE trading.guard_lease SET renewed_at = now() - interval '16 s'")
    assert await place.owner.fetchval(old, "old", 15.0) == "old"
    with pytest.raises(LeaseLost):
        await lease.renew()


async def test_after_an_outage_a_holder_comes_first_and_one_that_is_gone_is_still_replaced(place: Place) -> None:
    """All leases expire in an outage: were they taken by whoever asks first, every account would change hands for nothing."""
    async with Stalling(place.settings.postgres_port) as way:
        direct = place.settings
        place.settings = direct.model_copy(update={"postgres_host": "127.0.0.1", "postgres_port": way.port})
        waiting = place.lease(seconds=3.0, timeout_s=0.5)
        place.settings = direct
        holder = place.lease(seconds=3.0)
        assert await holder.try_take()
        assert not await waiting.try_take()
        way.stall()
        with pytest.raises(Retry):
            await place.rows[0].holder()
        await place.expire()
        way.flow()

        async def asked() -> bool:
            try:
                return not await waiting.try_take()
            except Retry:
                return False

        await until(asked, 10, "an answer")
        assert not await waiting.try_take(), "the holder has not had its turn yet"
        await holder.renew()
        assert holder.held
        await place.expire()

        async def taken() -> bool:
            return await waiting.try_take()

        await until(taken, 10, "the lease of a holder that does not renew any more")

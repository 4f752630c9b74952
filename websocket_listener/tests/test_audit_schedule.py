"""Audits are spread over a beat that the request budget bears; accounts with positions come first."""

import asyncio

import pytest

from alpha.bybit.request_plan import audit_beat_s, plan_of, valid_s
from alpha.clock import Clock
from websocket_listener.audit_schedule import AuditSchedule


@pytest.mark.parametrize(("accounts", "beat_s", "valid"), [(1, 10, 30), (60, 10, 30), (75, 10, 30), (300, 40, 55)])
def test_the_beat_is_the_wanted_one_or_what_half_the_budget_allows(accounts: int, beat_s: float, valid: float) -> None:
    assert audit_beat_s(accounts, 10.0) == beat_s
    assert valid_s(beat_s) == valid


def test_the_plan_says_what_a_registry_needs() -> None:
    plan = plan_of(60, audit_s=10.0)
    assert plan.main_accounts == 3
    assert plan.listener == 24.0
    assert plan.total < plan.budget


def test_accounts_are_spread_over_the_beat_and_stay_in_their_place() -> None:
    now = [1_000.0]
    schedule = AuditSchedule(300, 10.0, clock=Clock(monotonic_ms=lambda: int(now[0] * 1000)))
    due = sorted(now[0] + schedule.pause_s(place) for place in range(300))
    assert all(now[0] + 20 <= each <= now[0] + 60 for each in due)
    per_second = [sum(second <= each - due[0] < second + 1 for each in due) for second in range(40)]
    assert max(per_second) <= 8, "300 accounts over 40 s are 7.5 a second"
    now[0] = 1_000.0 + schedule.pause_s(7)
    assert schedule.pause_s(7) == pytest.approx(40.0, abs=0.001)


async def test_a_few_are_read_at_once_and_those_with_positions_first() -> None:
    schedule = AuditSchedule(20, 10.0, at_once=2)
    order: list[int] = []
    most = [0, 0]

    async def one(number: int) -> None:
        async with schedule.turn(holds=number % 5 == 0):
            most[0] += 1
            most[1] = max(most)
            order.append(number)
            await asyncio.sleep(0)
            most[0] -= 1

    await asyncio.gather(*(one(number) for number in range(20)))
    assert most[1] == 2
    assert order[2:5] == [5, 10, 15], "0 and 1 found a place at once"
    assert sorted(order) == list(range(20))


async def test_a_cancelled_wait_leaves_its_place_to_others() -> None:
    schedule = AuditSchedule(2, 10.0, at_once=1)
    async with schedule.turn(holds=False):

        async def wait() -> None:
            async with schedule.turn(holds=True):
                raise AssertionError

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(20), schedule.turn(holds=False):
        pass

"""One budget for all processes, on a real Redis: never above a limit, exits before backfills, safe without Redis."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.bybit.endpoints import CLOSED_PNL, CREATE_ORDER, KLINE, POSITIONS, TRADING_STOP, Endpoint
from alpha.bybit.errors import AddressBanned, Throttled
from alpha.bybit.rate_limiter import IP_PER_SECOND, Priority, RateLimiter, share, urgent
from alpha.clock import Clock
from alpha.live_state.client import TextRedis
from alpha.live_state.connect import RedisClients
from demo.redis import EmbeddedRedis
from tests.support.clocks import HandClock


def _throttle(redis: TextRedis | None, clock: HandClock) -> RateLimiter:
    return RateLimiter(redis, clock=Clock(wall_ms=clock.now_ms, sleep=clock.sleep))


def _most_within_a_second(times: list[int]) -> int:
    return max(sum(1 for other in times if moment - 1_000 < other <= moment) for moment in times)


async def _granted(throttle: RateLimiter, account: str, endpoint: Endpoint, rank: Priority) -> bool:
    try:
        await throttle.acquire(account, endpoint, rank, wait_s=0)
    except Throttled:
        return False
    return True


async def _count(throttle: RateLimiter, account: str, endpoint: Endpoint, rank: Priority) -> int:
    """How many calls are granted at one instant."""
    granted = 0
    while await _granted(throttle, account, endpoint, rank):
        granted += 1
    return granted


@given(st.integers(1, 1_000), st.sampled_from(list(Priority)))
def test_a_higher_rank_never_has_less_room(limit: int, rank: Priority) -> None:
    assert 1 <= share(limit, rank) <= share(limit, Priority.EXIT) == limit
    if rank is not Priority.BACKFILL:
        assert share(limit, Priority(rank + 1)) <= share(limit, rank)


def test_a_back_fill_has_more_than_nine_tenths_of_every_large_limit() -> None:
    assert (share(60, Priority.BACKFILL), share(50, Priority.BACKFILL)) == (56, 46)


async def test_two_processes_together_keep_the_limit_of_an_endpoint(redis_links: RedisClients) -> None:
    clock = HandClock()
    one, two = _throttle(redis_links.shared, clock), _throttle(redis_links.shared, clock)
    times = []
    for turn in range(60):
        await (one if turn % 2 else two).acquire("bot", CREATE_ORDER, Priority.EXIT)
        times.append(clock.ms)
    assert _most_within_a_second(times) == 10
    assert times[-1] - times[0] == 5_000


async def test_all_accounts_together_keep_the_limit_of_the_address(redis_links: RedisClients) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    times = []
    for turn in range(200):
        await throttle.acquire(f"bot{turn % 5}", CLOSED_PNL, Priority.EXIT)
        times.append(clock.ms)
    assert _most_within_a_second(times) == IP_PER_SECOND


async def test_public_calls_count_for_the_address_alone(redis_links: RedisClients) -> None:
    clock = HandClock()
    assert await _count(_throttle(redis_links.shared, clock), "market", KLINE, Priority.EXIT) == IP_PER_SECOND


async def test_an_exit_finds_room_while_a_back_fill_takes_all_it_can_get(redis_links: RedisClients) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    assert await _count(throttle, "a", CLOSED_PNL, Priority.BACKFILL) == 46
    assert await _count(throttle, "b", CLOSED_PNL, Priority.BACKFILL) == 10
    assert await _count(throttle, "c", POSITIONS, Priority.RECONCILE) == 1
    assert await _count(throttle, "a", TRADING_STOP, Priority.STOP) == 1
    assert await _granted(throttle, "a", CREATE_ORDER, Priority.EXIT)
    assert await _granted(throttle, "c", POSITIONS, Priority.EXIT)
    assert not await _granted(throttle, "d", CREATE_ORDER, Priority.EXIT)


async def test_a_wait_ends_when_the_oldest_call_is_a_second_old(redis_links: RedisClients) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    assert await _count(throttle, "a", CREATE_ORDER, Priority.EXIT) == 10
    began = clock.ms
    clock.ms += 400
    await throttle.acquire("a", CREATE_ORDER, Priority.EXIT)
    assert clock.ms == began + 1_000
    assert (throttle.counts.waited, throttle.counts.waited_ms) == (1, 600)


async def test_a_wait_that_would_be_too_long_is_refused_at_once(redis_links: RedisClients) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    await _count(throttle, "a", CREATE_ORDER, Priority.EXIT)
    before = clock.ms
    with pytest.raises(Throttled) as caught:
        await throttle.acquire("a", CREATE_ORDER, Priority.EXIT, wait_s=0.5)
    assert clock.ms == before
    assert caught.value.after_s == 1.0


async def test_a_wait_can_be_cancelled(redis_links: RedisClients) -> None:
    clock = HandClock()
    entered = asyncio.Event()

    async def sleep_for_ever(_seconds: float) -> None:
        entered.set()
        await asyncio.Event().wait()

    throttle = RateLimiter(redis_links.shared, clock=Clock(wall_ms=clock.now_ms, sleep=sleep_for_ever))
    await _count(throttle, "a", CREATE_ORDER, Priority.EXIT)
    waiting = asyncio.create_task(throttle.acquire("a", CREATE_ORDER, Priority.EXIT))
    await entered.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_callers_of_one_kind_are_served_in_the_order_they_came(redis_links: RedisClients) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    served: list[tuple[int, int]] = []

    async def call(number: int) -> None:
        await throttle.acquire("a", CREATE_ORDER, Priority.EXIT)
        served.append((number, clock.ms))

    await asyncio.gather(*(call(number) for number in range(25)))
    assert [number for number, _ in served] == list(range(25))
    assert _most_within_a_second([at_ms for _, at_ms in served]) == 10


async def test_a_caller_that_gives_up_lets_the_next_one_pass(redis_links: RedisClients) -> None:
    clock = HandClock()
    entered = asyncio.Event()
    released = asyncio.Event()

    async def sleep(seconds: float) -> None:
        entered.set()
        await released.wait()
        await clock.sleep(seconds)

    throttle = RateLimiter(redis_links.shared, clock=Clock(wall_ms=clock.now_ms, sleep=sleep))
    await _count(throttle, "a", CREATE_ORDER, Priority.EXIT)
    first = asyncio.create_task(throttle.acquire("a", CREATE_ORDER, Priority.EXIT))
    await entered.wait()
    second = asyncio.create_task(throttle.acquire("a", CREATE_ORDER, Priority.EXIT))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    released.set()
    await second


async def test_a_limit_that_an_answer_states_replaces_the_published_one(redis_links: RedisClients) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    throttle.learn("a", CREATE_ORDER, {"X-Bapi-Limit": "20"})
    assert await _count(throttle, "a", CREATE_ORDER, Priority.EXIT) == 20
    assert throttle.limit("b", CREATE_ORDER) == 10


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "99999"])
def test_a_stated_limit_that_is_none_changes_nothing(text: str) -> None:
    throttle = RateLimiter(None)
    throttle.learn("a", CREATE_ORDER, {"X-Bapi-Limit": text})
    assert throttle.limit("a", CREATE_ORDER) == 10


async def test_a_block_holds_every_process_back_until_the_reset(redis_links: RedisClients) -> None:
    clock = HandClock()
    one, two = _throttle(redis_links.shared, clock), _throttle(redis_links.shared, clock)
    reset = clock.ms + 700
    await one.block("a", CREATE_ORDER, reset)
    await two.acquire("a", CREATE_ORDER, Priority.EXIT)
    assert clock.ms == reset
    assert await _granted(two, "a", POSITIONS, Priority.EXIT)


async def test_a_ban_stops_every_process_for_ten_minutes(redis_links: RedisClients) -> None:
    clock = HandClock()
    one, two = _throttle(redis_links.shared, clock), _throttle(redis_links.shared, clock)
    await one.ban()
    redis: Any = redis_links.shared
    assert 599_000 < await redis.pttl("throttle:ban") <= 600_000
    for throttle in (one, two):
        with pytest.raises(AddressBanned) as caught:
            await throttle.acquire("other", KLINE, Priority.EXIT)
        assert caught.value.after_s == 600
    clock.ms += 600_000
    assert await _granted(one, "other", KLINE, Priority.EXIT)


async def test_a_clock_that_is_set_back_does_not_lock_the_budget(redis_links: RedisClients) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    await _count(throttle, "a", CREATE_ORDER, Priority.EXIT)
    clock.ms -= 3_600_000
    assert await _granted(throttle, "a", CREATE_ORDER, Priority.EXIT)


async def test_without_redis_a_process_keeps_to_its_share(tmp_path: Path) -> None:
    clock = HandClock()
    server = EmbeddedRedis(tmp_path / "redis", "a-password")
    server.start()
    links = RedisClients(server.settings())
    throttle = _throttle(links.shared, clock)
    try:
        assert await _granted(throttle, "a", CREATE_ORDER, Priority.EXIT)
        assert throttle.is_shared()
        server.kill()
        assert await _count(throttle, "a", CREATE_ORDER, Priority.EXIT) == 5
        assert await _count(throttle, "b", POSITIONS, Priority.EXIT) == 5  # an address's local share: a sixth of 60
        assert not throttle.is_shared()
        server.start()
        clock.ms += 1_001
        assert await _granted(throttle, "a", CREATE_ORDER, Priority.EXIT)
        assert throttle.is_shared()
    finally:
        await links.close()
        server.stop()


async def test_without_redis_a_block_and_a_ban_hold_all_the_same() -> None:
    clock = HandClock()
    throttle = _throttle(None, clock)
    await throttle.block("a", CREATE_ORDER, clock.ms + 700)
    assert not await _granted(throttle, "a", CREATE_ORDER, Priority.EXIT)
    clock.ms += 700
    assert await _granted(throttle, "a", CREATE_ORDER, Priority.EXIT)
    await throttle.ban()
    with pytest.raises(AddressBanned):
        await throttle.acquire("a", KLINE, Priority.EXIT)


Calls = list[tuple[int, str, bool, Priority]]
calls = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from(["a", "b"]), st.booleans(), st.sampled_from(list(Priority))),
    min_size=1,
    max_size=200,
)


@given(calls)
def test_any_order_of_calls_keeps_the_limits_without_redis(wanted: Calls) -> None:
    clock = HandClock()
    throttle = _throttle(None, clock)
    times: dict[object, list[int]] = {}

    async def play() -> None:
        for pause_ms, account, write, rank in wanted:
            clock.ms += pause_ms
            endpoint = CREATE_ORDER if write else POSITIONS
            if await _granted(throttle, account, endpoint, rank):
                times.setdefault("address", []).append(clock.ms)
                times.setdefault((account, endpoint.path), []).append(clock.ms)

    asyncio.run(play())
    for key, moments in times.items():
        limit = 10 if key == "address" else 5 if "order/create" in str(key) else 12
        assert _most_within_a_second(moments) <= limit


async def test_a_backfill_leaves_the_other_accounts_their_part_and_exits_wait_for_nobody(
    redis_links: RedisClients,
) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    alone = await _count(throttle, "one", POSITIONS, Priority.BACKFILL)
    assert alone > IP_PER_SECOND / 2, "alone it takes what the endpoint gives"
    clock.ms += 1_000
    for account in ("two", "three", "four"):
        assert await _granted(throttle, account, POSITIONS, Priority.RECONCILE)
    await _count(throttle, "one", POSITIONS, Priority.BACKFILL)
    left = [await _count(throttle, account, CLOSED_PNL, Priority.RECONCILE) for account in ("two", "three", "four")]
    assert sum(left) >= IP_PER_SECOND / 3
    assert min(left) >= 1
    assert await _granted(throttle, "one", POSITIONS, Priority.EXIT)


async def test_an_account_is_reconciled_while_every_account_is_back_filled(redis_links: RedisClients) -> None:
    """Ten accounts' histories take all the address gives, for hours; a takeover's first audit must not wait for them."""
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    accounts = [f"account {number}" for number in range(10)]
    reconciled, filled = 0, []
    for step in range(250):
        clock.ms += 20
        for account in accounts:
            filled.append(await _count(throttle, account, CLOSED_PNL, Priority.BACKFILL))
        if 50 <= step < 150:
            reconciled += await _count(throttle, accounts[0], POSITIONS, Priority.RECONCILE)
    assert reconciled >= IP_PER_SECOND / 2, "in two seconds, as one whole audit needs"
    assert sum(filled[:500]) >= 50, "alone, backfills have the address for themselves"
    assert sum(filled[500:1_500]) >= 30, "a reconciliation does not stop them"
    assert sum(filled[-500:]) >= 50, "and when it is done they have the address again"


async def test_a_reconciliation_that_entries_wait_for_goes_before_the_routine_of_others(
    redis_links: RedisClients,
) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    routine = [await _count(throttle, f"account {number}", POSITIONS, Priority.RECONCILE) for number in range(60)]
    assert sum(routine) == share(IP_PER_SECOND, Priority.RECONCILE)
    assert not await _granted(throttle, "taken over", POSITIONS, Priority.RECONCILE)
    with urgent():
        assert await _granted(throttle, "taken over", POSITIONS, Priority.RECONCILE)
        assert not await _granted(throttle, "taken over", POSITIONS, Priority.BACKFILL)
    assert not await _granted(throttle, "taken over", POSITIONS, Priority.RECONCILE)


@pytest.mark.parametrize("bots", [3, 60, 300])
async def test_without_redis_all_limiters_together_stay_below_what_gets_an_address_banned(bots: int) -> None:
    """Each bot has a limiter of its own, also in a shared container; Bybit bans an address at 600 requests in five seconds."""
    clock = HandClock()
    limiters = [
        RateLimiter(None, bots=bots, clock=Clock(wall_ms=clock.now_ms, sleep=clock.sleep)) for _ in range(bots + 3)
    ]
    granted = 0
    for _ in range(50):
        clock.ms += 100
        for number, limiter in enumerate(limiters):
            granted += await _count(limiter, f"account {number}", KLINE, Priority.EXIT)
    assert granted < 600
    assert granted >= bots / 2


async def test_each_outgoing_address_has_its_own_budget(redis_links: RedisClients) -> None:
    clock = HandClock()

    def behind(egress: str) -> RateLimiter:
        return RateLimiter(redis_links.shared, egress=egress, clock=Clock(wall_ms=clock.now_ms, sleep=clock.sleep))

    one, two = behind("eth1"), behind("eth2")
    assert await _count(one, "market", KLINE, Priority.EXIT) == IP_PER_SECOND
    assert await _count(behind("eth1"), "market", KLINE, Priority.EXIT) == 0
    assert await _count(two, "market", KLINE, Priority.EXIT) == IP_PER_SECOND
    await one.ban()
    with pytest.raises(AddressBanned):
        await one.acquire("a", KLINE, Priority.EXIT, wait_s=0)
    clock.ms += 1_000
    await two.acquire("a", KLINE, Priority.EXIT, wait_s=0)

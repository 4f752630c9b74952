"""One budget for all processes, on a real Redis: never above a limit, exits before back-fills, and safe without Redis."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.bybit.endpoints import CLOSED_PNL, CREATE_ORDER, KLINE, POSITIONS, TRADING_STOP, Endpoint
from alpha.bybit.faults import AddressBanned, Throttled
from alpha.bybit.tests.clocks import HandClock
from alpha.bybit.throttle import IP_PER_SECOND, Rank, Throttle, share
from alpha.demo.redis import EmbeddedRedis
from alpha.live.client import TextRedis
from alpha.live.connect import RedisLinks


def _throttle(redis: TextRedis | None, clock: HandClock) -> Throttle:
    return Throttle(redis, now_ms=clock.now_ms, sleep=clock.sleep)


def _most_within_a_second(times: list[int]) -> int:
    return max(sum(1 for other in times if moment - 1_000 < other <= moment) for moment in times)


async def _granted(throttle: Throttle, account: str, endpoint: Endpoint, rank: Rank) -> bool:
    try:
        await throttle.acquire(account, endpoint, rank, wait_s=0)
    except Throttled:
        return False
    return True


async def _count(throttle: Throttle, account: str, endpoint: Endpoint, rank: Rank) -> int:
    """How many calls are granted at one instant."""
    granted = 0
    while await _granted(throttle, account, endpoint, rank):
        granted += 1
    return granted


@given(st.integers(1, 1_000), st.sampled_from(list(Rank)))
def test_a_higher_rank_never_has_less_room(limit: int, rank: Rank) -> None:
    assert 1 <= share(limit, rank) <= share(limit, Rank.EXIT) == limit
    if rank is not Rank.BACKFILL:
        assert share(limit, Rank(rank + 1)) <= share(limit, rank)


def test_a_back_fill_has_more_than_nine_tenths_of_every_large_limit() -> None:
    assert (share(60, Rank.BACKFILL), share(50, Rank.BACKFILL)) == (56, 46)


async def test_two_processes_together_keep_the_limit_of_an_endpoint(redis_links: RedisLinks) -> None:
    clock = HandClock()
    one, two = _throttle(redis_links.shared, clock), _throttle(redis_links.shared, clock)
    times = []
    for turn in range(60):
        await (one if turn % 2 else two).acquire("bot", CREATE_ORDER, Rank.EXIT)
        times.append(clock.ms)
    assert _most_within_a_second(times) == 10
    assert times[-1] - times[0] == 5_000


async def test_all_accounts_together_keep_the_limit_of_the_address(redis_links: RedisLinks) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    times = []
    for turn in range(200):
        await throttle.acquire(f"bot{turn % 5}", CLOSED_PNL, Rank.EXIT)
        times.append(clock.ms)
    assert _most_within_a_second(times) == IP_PER_SECOND


async def test_public_calls_count_for_the_address_alone(redis_links: RedisLinks) -> None:
    clock = HandClock()
    assert await _count(_throttle(redis_links.shared, clock), "market", KLINE, Rank.EXIT) == IP_PER_SECOND


async def test_an_exit_finds_room_while_a_back_fill_takes_all_it_can_get(redis_links: RedisLinks) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    assert await _count(throttle, "a", CLOSED_PNL, Rank.BACKFILL) == 46
    assert await _count(throttle, "b", CLOSED_PNL, Rank.BACKFILL) == 10
    assert await _count(throttle, "a", POSITIONS, Rank.RECONCILE) == 1
    assert await _count(throttle, "a", TRADING_STOP, Rank.STOP) == 1
    assert await _granted(throttle, "a", CREATE_ORDER, Rank.EXIT)
    assert await _granted(throttle, "c", POSITIONS, Rank.EXIT)
    assert not await _granted(throttle, "d", CREATE_ORDER, Rank.EXIT)


async def test_a_wait_ends_when_the_oldest_call_is_a_second_old(redis_links: RedisLinks) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    assert await _count(throttle, "a", CREATE_ORDER, Rank.EXIT) == 10
    began = clock.ms
    clock.ms += 400
    await throttle.acquire("a", CREATE_ORDER, Rank.EXIT)
    assert clock.ms == began + 1_000
    assert (throttle.counts.waited, throttle.counts.waited_ms) == (1, 600)


async def test_a_wait_that_would_be_too_long_is_refused_at_once(redis_links: RedisLinks) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    await _count(throttle, "a", CREATE_ORDER, Rank.EXIT)
    before = clock.ms
    with pytest.raises(Throttled) as caught:
        await throttle.acquire("a", CREATE_ORDER, Rank.EXIT, wait_s=0.5)
    assert clock.ms == before
    assert caught.value.after_s == 1.0


async def test_a_wait_can_be_cancelled(redis_links: RedisLinks) -> None:
    clock = HandClock()
    entered = asyncio.Event()

    async def sleep_for_ever(_seconds: float) -> None:
        entered.set()
        await asyncio.Event().wait()

    throttle = Throttle(redis_links.shared, now_ms=clock.now_ms, sleep=sleep_for_ever)
    await _count(throttle, "a", CREATE_ORDER, Rank.EXIT)
    waiting = asyncio.create_task(throttle.acquire("a", CREATE_ORDER, Rank.EXIT))
    await entered.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_callers_of_one_kind_are_served_in_the_order_they_came(redis_links: RedisLinks) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    served: list[tuple[int, int]] = []

    async def call(number: int) -> None:
        await throttle.acquire("a", CREATE_ORDER, Rank.EXIT)
        served.append((number, clock.ms))

    await asyncio.gather(*(call(number) for number in range(25)))
    assert [number for number, _ in served] == list(range(25))
    assert _most_within_a_second([at_ms for _, at_ms in served]) == 10


async def test_a_caller_that_gives_up_lets_the_next_one_pass(redis_links: RedisLinks) -> None:
    clock = HandClock()
    entered = asyncio.Event()
    released = asyncio.Event()

    async def sleep(seconds: float) -> None:
        entered.set()
        await released.wait()
        await clock.sleep(seconds)

    throttle = Throttle(redis_links.shared, now_ms=clock.now_ms, sleep=sleep)
    await _count(throttle, "a", CREATE_ORDER, Rank.EXIT)
    first = asyncio.create_task(throttle.acquire("a", CREATE_ORDER, Rank.EXIT))
    await entered.wait()
    second = asyncio.create_task(throttle.acquire("a", CREATE_ORDER, Rank.EXIT))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    released.set()
    await second


async def test_a_limit_that_an_answer_states_replaces_the_published_one(redis_links: RedisLinks) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    throttle.learn("a", CREATE_ORDER, {"X-Bapi-Limit": "20"})
    assert await _count(throttle, "a", CREATE_ORDER, Rank.EXIT) == 20
    assert throttle.limit("b", CREATE_ORDER) == 10


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "99999"])
def test_a_stated_limit_that_is_none_changes_nothing(text: str) -> None:
    throttle = Throttle(None)
    throttle.learn("a", CREATE_ORDER, {"X-Bapi-Limit": text})
    assert throttle.limit("a", CREATE_ORDER) == 10


async def test_a_block_holds_every_process_back_until_the_reset(redis_links: RedisLinks) -> None:
    clock = HandClock()
    one, two = _throttle(redis_links.shared, clock), _throttle(redis_links.shared, clock)
    reset = clock.ms + 700
    await one.block("a", CREATE_ORDER, reset)
    await two.acquire("a", CREATE_ORDER, Rank.EXIT)
    assert clock.ms == reset
    assert await _granted(two, "a", POSITIONS, Rank.EXIT)


async def test_a_ban_stops_every_process_for_ten_minutes(redis_links: RedisLinks) -> None:
    clock = HandClock()
    one, two = _throttle(redis_links.shared, clock), _throttle(redis_links.shared, clock)
    await one.ban()
    for throttle in (one, two):
        with pytest.raises(AddressBanned) as caught:
            await throttle.acquire("other", KLINE, Rank.EXIT)
        assert caught.value.after_s == 600
    clock.ms += 600_000
    assert await _granted(one, "other", KLINE, Rank.EXIT)


async def test_a_clock_that_is_set_back_does_not_lock_the_budget(redis_links: RedisLinks) -> None:
    clock = HandClock()
    throttle = _throttle(redis_links.shared, clock)
    await _count(throttle, "a", CREATE_ORDER, Rank.EXIT)
    clock.ms -= 3_600_000
    assert await _granted(throttle, "a", CREATE_ORDER, Rank.EXIT)


async def test_without_redis_a_process_keeps_to_its_share(tmp_path: Path) -> None:
    clock = HandClock()
    server = EmbeddedRedis(tmp_path / "redis", "a-password")
    server.start()
    links = RedisLinks(server.settings())
    throttle = _throttle(links.shared, clock)
    try:
        assert await _granted(throttle, "a", CREATE_ORDER, Rank.EXIT)
        assert throttle.is_shared()
        server.kill()
        assert await _count(throttle, "a", CREATE_ORDER, Rank.EXIT) == 5
        assert await _count(throttle, "b", POSITIONS, Rank.EXIT) == 5  # an address has a sixth of 60
        assert not throttle.is_shared()
        server.start()
        clock.ms += 1_001
        assert await _granted(throttle, "a", CREATE_ORDER, Rank.EXIT)
        assert throttle.is_shared()
    finally:
        await links.close()
        server.stop()


async def test_without_redis_a_block_and_a_ban_hold_all_the_same() -> None:
    clock = HandClock()
    throttle = _throttle(None, clock)
    await throttle.block("a", CREATE_ORDER, clock.ms + 700)
    assert not await _granted(throttle, "a", CREATE_ORDER, Rank.EXIT)
    clock.ms += 700
    assert await _granted(throttle, "a", CREATE_ORDER, Rank.EXIT)
    await throttle.ban()
    with pytest.raises(AddressBanned):
        await throttle.acquire("a", KLINE, Rank.EXIT)


Calls = list[tuple[int, str, bool, Rank]]
calls = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from(["a", "b"]), st.booleans(), st.sampled_from(list(Rank))),
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

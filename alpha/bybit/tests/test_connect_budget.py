"""Reconnect storms stay below what the exchange allows, whatever the number of processes; held accounts come first."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from alpha.bybit.connect_budget import ConnectBudget
from alpha.live_state.connect import RedisClients
from demo.redis import EmbeddedRedis
from tests.support.world import until


async def _open(
    budget: ConnectBudget, accounts: int, opened: list[int], wanted: Callable[[], bool], *, held: range = range(0)
) -> None:
    """Connect these accounts until `wanted`; the others wait for room and are given up."""

    async def one(number: int) -> None:
        await budget.take(holds=number in held)
        opened.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(accounts)]

    async def enough() -> bool:
        return wanted()

    try:
        await until(enough, 60, "the connections")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_two_processes_together_stay_below_the_limit_and_held_accounts_come_first(
    redis_links: RedisClients,
) -> None:
    one, two = (ConnectBudget(redis=redis_links.shared, egress="storm") for _ in range(2))
    opened: list[list[int]] = [[], []]
    held = range(250, 300)

    def full() -> bool:
        return len(opened[0]) + len(opened[1]) >= 400

    await asyncio.gather(
        *(_open(one_of, 300, own, full, held=held) for one_of, own in zip((one, two), opened, strict=True))
    )
    assert len(opened[0]) + len(opened[1]) == 400
    for each in opened:
        assert set(range(250, 300)) <= set(each), "every account with a position is connected"


async def test_another_address_has_its_own_count(redis_links: RedisClients) -> None:
    first: list[int] = []
    second: list[int] = []
    await _open(ConnectBudget(redis=redis_links.shared, egress="a"), 120, first, lambda: len(first) == 120)
    await _open(ConnectBudget(redis=redis_links.shared, egress="b"), 120, second, lambda: len(second) == 120)


async def test_without_redis_a_process_keeps_to_a_fifth(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", "p")
    server.start()
    links = RedisClients(server.settings())
    server.kill()
    opened: list[int] = []
    await _open(ConnectBudget(redis=links.shared), 120, opened, lambda: len(opened) >= 100)
    assert len(opened) == 100
    await links.close()

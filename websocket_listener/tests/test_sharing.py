"""A listener's part of the accounts: never more than its share, given up gently, and nothing before the others are counted."""

from dataclasses import dataclass
from typing import cast

import asyncpg

from alpha.clock import Clock
from alpha.postgres.bounded_database import BoundedDatabase
from websocket_listener.sharing import Sharing


@dataclass
class Account:
    """One account of the listener."""

    recorded_here: bool = False
    holds: bool = False
    released: bool = False

    def release(self) -> None:
        self.recorded_here, self.released = False, True


class Members:
    """Stands for the table: how many others there are, or that PostgreSQL does not answer."""

    def __init__(self) -> None:
        self.others: int | None = 0

    async def fetch(self, sql: str, *arguments: object) -> list[dict[str, object]]:
        if self.others is None:
            raise asyncpg.PostgresConnectionError("away")
        return [{"others": self.others}]


def sharing(accounts: list[Account], clock: list[float]) -> tuple[Sharing, Members]:
    members = Members()
    return Sharing(
        cast(BoundedDatabase, members), "me", lambda: accounts, clock=Clock(monotonic_ms=lambda: int(clock[0] * 1000))
    ), members


async def test_it_takes_its_part_one_after_another() -> None:
    accounts, clock = [Account() for _ in range(7)], [0.0]
    part, members = sharing(accounts, clock)
    async with part.attempt() as may:
        assert not may, "before the others are counted nothing is taken"
    members.others = 1
    await part.beat()
    assert part.part == 4
    taken = 0
    for account in accounts:
        async with part.attempt() as may:
            account.recorded_here = may
            taken += may
    assert taken == 4


async def test_a_newcomer_gets_its_part_after_a_while_and_accounts_with_positions_stay() -> None:
    accounts, clock = [Account(recorded_here=True, holds=number < 3) for number in range(6)], [0.0]
    part, members = sharing(accounts, clock)
    await part.beat()
    clock[0] = 100.0
    members.others = 1
    await part.beat()
    part._rebalance()
    assert not any(account.released for account in accounts), "a count that has just changed may be a moment's"
    clock[0] = 104.0
    part._rebalance()
    assert [account.released for account in accounts] == [False, False, False, True, True, True]


async def test_while_postgres_is_away_the_last_count_stays() -> None:
    accounts, clock = [Account(recorded_here=True) for _ in range(4)], [0.0]
    part, members = sharing(accounts, clock)
    members.others = 1
    await part.beat()
    members.others = None
    await part.beat()
    assert part.members == 2

"""Write-behind saves arrive in order, end with the latest state, and never block the caller."""

import asyncio

from alpha.errors import Retry
from risk_guard.write_behind import WriteBehind


class Store:
    """A store that writes when released and fails as often as configured."""

    def __init__(self, failures: int = 0) -> None:
        self.written: list[object] = []
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self._failures = failures

    async def write(self, state: object) -> None:
        self.asked.set()
        await self.open.wait()
        if self._failures:
            self._failures -= 1
            raise Retry("PostgreSQL is away.")
        self.written.append(state)


async def test_what_fails_is_tried_again_and_what_was_overtaken_is_left_out() -> None:
    store = Store(failures=2)
    beside = WriteBehind("a state", store.write, again_s=0)
    beside.save(1)
    await store.asked.wait()
    for state in (2, 3):
        beside.save(state)
    assert store.written == [], "nobody waited for it"
    store.open.set()
    while store.written != [3]:
        await asyncio.sleep(0)
    beside.save(4)
    while store.written != [3, 4]:
        await asyncio.sleep(0)
    await beside.close()


async def test_a_close_waits_for_what_is_on_its_way_and_begins_nothing_new() -> None:
    store = Store()
    beside = WriteBehind("a state", store.write)
    beside.save(1)
    await store.asked.wait()
    beside.save(2)
    closing = asyncio.create_task(beside.close())
    await asyncio.sleep(0)
    assert not closing.done()
    store.open.set()
    await closing
    assert store.written == [1], "what comes after it could be written behind what forgets it"

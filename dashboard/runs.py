"""Commands that were confirmed here and run in the background, for the page that shows how they go."""

import asyncio
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

#: So many ended commands are remembered, and so long may running ones end when the dashboard stops.
_KEPT, _CLOSE_S = 200, 5.0


@dataclass(slots=True)
class Run:
    """One command: who confirmed it, what, its progress, and how it ended."""

    id: str
    person: int
    said: str
    lines: list[str] = field(default_factory=list)
    ended: bool = False
    done: bool = False
    text: str = ""

    def finish(self, *, done: bool, text: str) -> None:
        """Set how it ended."""
        self.ended, self.done, self.text = True, done, text


class Runs:
    """The running commands and the latest that ended."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, person: int, said: str, work: Callable[[Run], Awaitable[None]]) -> Run:
        """Begin a command in the background."""
        run = Run(uuid.uuid4().hex, person, said)
        self._runs[run.id] = run
        while len(self._runs) > _KEPT:
            self._runs.popitem(last=False)

        async def carry_out() -> None:
            await work(run)

        task = asyncio.create_task(carry_out(), name=said)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    def find(self, name: str) -> Run | None:
        """The command with this id; None if it is not remembered."""
        return self._runs.get(name)

    async def close(self) -> None:
        """Wait a moment for running commands, then cancel them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

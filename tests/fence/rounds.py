"""Rounds of freeze and takeover, several accounts at once, judged by the exchange's own ledger."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alpha.lease import settle_ms
from tests.support.world import ROOT, Simulator

#: The shortest lease whose window still is one.
LEASE_S = 1.5
_SILENT_S = 600.0


@dataclass
class Tally:
    """What happened in all rounds. `late` are orders of a fenced process that the exchange accepted."""

    rounds: int = 0
    orders: int = 0
    late: list[str] = field(default_factory=list)


class Instance:
    """One sender."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        """`log` takes its standard error."""
        self._process = process
        self._log = log

    def signal(self, number: int) -> None:
        """Freeze or thaw it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def tell(self, queue: "asyncio.Queue[Event]") -> None:
        """Put all that it says into the queue, and its end as an AssertionError."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            with contextlib.suppress(ValueError):
                found: dict[str, Any] = json.loads(line)
                if "token" in found:
                    queue.put_nowait((self, found))
        queue.put_nowait((self, AssertionError(f"a sender has ended: {self._log.read_text()[-600:]}")))

    async def end(self) -> None:
        """Kill it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


Event = tuple[Instance, dict[str, Any] | AssertionError]


@dataclass
class Pair:
    """Two senders of one account. On a crowded machine the lease may change hands unasked: only tokens say who has it."""

    simulator: Simulator
    key: str
    secret: str
    account: int
    environment: Mapping[str, str]
    draw: random.Random
    #: Where the senders' logs go.
    folder: Path
    takeovers: list[tuple[int, int]] = field(default_factory=list)
    _opened: dict[int, Instance] = field(default_factory=dict)
    _lost: set[int] = field(default_factory=set)
    _said: "asyncio.Queue[Event]" = field(default_factory=asyncio.Queue)

    async def _start(self, name: str) -> Instance:
        log = self.folder / f"{self.key}-{name}.log"
        arguments = [
            "-m",
            "tests.fence.sender",
            str(self.account),
            self.key,
            self.secret,
            self.simulator.url,
            str(LEASE_S),
        ]
        kept = {name: os.environ[name] for name in ("PATH", "FENCE_BREAK") if name in os.environ}
        environment = {**self.environment, "PYTHONPATH": str(ROOT), **kept}
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=errors
            )
        return Instance(process, log)

    @property
    def _token(self) -> int:
        """The newest token that was taken."""
        return max((token for token, _ in self.takeovers), default=0)

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Listen to both until this holds; TimeoutError when both stay silent."""
        while not holds():
            async with asyncio.timeout(_SILENT_S):
                instance, event = await self._said.get()
            if isinstance(event, AssertionError):
                raise event
            token = int(event["token"])
            if event["event"] == "taken":
                self.takeovers.append((token, int(event["exchange_ms"])))
            elif event["event"] == "opens":
                self._opened[token] = instance
            elif event["event"] == "lost":
                self._lost.add(token)

    async def play(self, rounds: int, tally: Tally) -> None:
        """Play `rounds` rounds and judge each."""
        instances = [await self._start("first"), await self._start("second")]
        telling = [asyncio.create_task(instance.tell(self._said)) for instance in instances]
        try:
            after = 0
            for _ in range(rounds):
                await self._until(lambda: self._token in self._opened)
                token = self._token
                holder = self._opened[token]
                await asyncio.sleep(self.draw.uniform(0.0, 1.0))
                holder.signal(signal.SIGSTOP)
                await self._until(lambda token=token: self._token > token)  # type: ignore[misc]
                # Mostly while the successor still waits, at times while it sends.
                await asyncio.sleep(
                    self.draw.uniform(0.0, 1.2 * settle_ms(LEASE_S) / 1000 if self.draw.random() < 0.3 else 0.5)
                )
                holder.signal(signal.SIGCONT)
                await self._until(lambda token=token: token in self._lost)  # type: ignore[misc]
                rows = await self.simulator.ledger(self.key, after)
                tally.rounds += 1
                tally.orders += len(rows)
                tally.late += _late(rows, self.takeovers)
                after = rows[-1]["n"] if rows else after
            # What a fenced process left behind must not come later either.
            await self._until(lambda: self._token in self._opened)
            rows = await self.simulator.ledger(self.key)
            late = set(_late(rows, self.takeovers)) - set(tally.late)
            tally.late += sorted(late)
        finally:
            for task in telling:
                task.cancel()
            for instance in instances:
                instance.signal(signal.SIGCONT)
                await instance.end()


def _late(rows: list[dict[str, Any]], takeovers: list[tuple[int, int]]) -> list[str]:
    """Orders of a token that the exchange executed after a later one was taken."""
    found = []
    for row in rows:
        token, _, number = row["orderLinkId"].partition("-")
        if not number or not token.isdecimal():
            continue
        for later, since_ms in takeovers:
            if int(token) < later and int(row["execTime"]) > since_ms:
                found.append(
                    f"{row['orderLinkId']} at {row['execTime']}, {int(row['execTime']) - since_ms} ms after {later}"
                )
                break
    return found

"""Rounds of freeze and takeover, several accounts at once, judged by the exchange's own ledger."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alpha.lease import settle_ms
from tests.support.world import ROOT, Simulator

#: The shortest lease whose window still is one.
LEASE_S = 1.5
_LINE_LIMIT_S = 600.0


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
        self.token = 0

    def signal(self, number: int) -> None:
        """Freeze or thaw it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def hears(self, event: str) -> dict[str, Any]:
        """The next event of this kind; AssertionError when the sender ends or stays silent."""
        assert self._process.stdout is not None
        while True:
            # not wait_for, which loses a cancellation that comes together with the line
            async with asyncio.timeout(_LINE_LIMIT_S):
                line = await self._process.stdout.readline()
            assert line, f"the sender ended before {event!r}: {self._log.read_text()[-600:]}"
            with contextlib.suppress(ValueError):
                found: dict[str, Any] = json.loads(line)
                if found.get("event") == event:
                    self.token = found["token"]
                    return found

    async def end(self) -> None:
        """Kill it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@dataclass
class Pair:
    """Two senders of one account."""

    simulator: Simulator
    key: str
    secret: str
    account: int
    environment: Mapping[str, str]
    draw: random.Random
    #: Where the senders' logs go.
    folder: Path
    started: int = 0

    async def _start(self) -> Instance:
        self.started += 1
        log = self.folder / f"{self.key}-{self.started}.log"
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

    async def play(self, rounds: int, tally: Tally) -> None:
        """Play `rounds` rounds and judge each."""
        holder, waiting = await self._start(), None
        try:
            first = await holder.hears("taken")
            takeovers = [(int(first["token"]), int(first["exchange_ms"]))]
            waiting = await self._start()
            after = 0
            for _ in range(rounds):
                await holder.hears("opens")
                await asyncio.sleep(self.draw.uniform(0.0, 1.0))
                holder.signal(signal.SIGSTOP)
                taken = await waiting.hears("taken")
                takeovers.append((int(taken["token"]), int(taken["exchange_ms"])))
                # Mostly while the successor still waits, at times while it sends.
                await asyncio.sleep(
                    self.draw.uniform(0.0, 1.2 * settle_ms(LEASE_S) / 1000 if self.draw.random() < 0.3 else 0.5)
                )
                holder.signal(signal.SIGCONT)
                await holder.hears("lost")
                holder, waiting = waiting, holder
                rows = await self.simulator.ledger(self.key, after)
                tally.rounds += 1
                tally.orders += len(rows)
                tally.late += _late(rows, takeovers)
                after = rows[-1]["n"] if rows else after
            # What a fenced process left behind must not come later either.
            await holder.hears("opens")
            rows = await self.simulator.ledger(self.key)
            late = set(_late(rows, takeovers)) - set(tally.late)
            tally.late += sorted(late)
        finally:
            for instance in (holder, waiting):
                if instance is not None:
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

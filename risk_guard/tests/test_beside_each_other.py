"""An account whose exchange or store hangs does not delay the limits of the others."""

import asyncio
import contextlib
from decimal import Decimal

import pytest

from alpha.process import LoopPulse, end_tasks
from risk_guard.app import GuardApp
from risk_guard.limits import Seen


async def test_the_limits_of_an_account_that_hangs_hold_up_those_of_no_other(
    app: GuardApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: dict[str, int] = {}
    first = next(iter(app._posts))

    async def idle(*_: object) -> None:
        await asyncio.Event().wait()

    async def live() -> Seen:
        return Seen(1, Decimal(1), Decimal(1), [], 0)

    async def judge(name: str) -> None:
        judged[name] = judged.get(name, 0) + 1
        if name == first:
            # its ledger is queried and does not answer
            await idle()

    monkeypatch.setattr(app, "_keep", idle)
    monkeypatch.setattr(app, "_renew", idle)
    monkeypatch.setattr(type(app._lease), "leads", True)
    for name, post in app._posts.items():
        post.acts = True
        monkeypatch.setattr(post.looks, "live", live)
        monkeypatch.setattr(post.limits, "see", lambda _seen, name=name: judge(name))
    stop = asyncio.Event()
    running = asyncio.create_task(app.run(stop, LoopPulse()))
    try:
        async with asyncio.timeout(20):
            while not all(judged.get(name, 0) >= 2 for name in app._posts if name != first):
                await asyncio.sleep(0.02)
        assert judged[first] == 1
    finally:
        stop.set()
        with contextlib.suppress(Exception):
            await asyncio.wait_for(running, 20)
        await end_tasks([running])

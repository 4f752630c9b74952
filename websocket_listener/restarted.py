"""A job of one account that must not take the process, and so the other accounts, with it."""

import asyncio
from collections.abc import Awaitable, Callable

from alpha.process import first_of


async def restarted(job: Callable[[], Awaitable[None]], failed: Callable[[Exception], None], pause_s: float) -> None:
    """Run `job` until cancelled; when it raises, call `failed(fault)` and begin again after a pause."""
    while True:
        try:
            await job()
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is reported, and the other accounts go on
            failed(fault)
        await asyncio.sleep(pause_s)


def first_line(fault: BaseException) -> str:
    """The innermost first fault of a group, in one line of at most 300 characters."""
    first = first_of(fault)
    return f"{type(first).__name__}: {first}".splitlines()[0][:300]

"""One of two instances that send bursts of orders for one account under its lease. A child of `tests.fence.rounds`.

It uses what a bot uses: lease, gateway, `place_order_once`. An order's id begins with the token it was sent under. Events
go to standard output as JSON lines. FENCE_BREAK (off, window) takes a part of the fence out, to see the test fail.
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
from decimal import Decimal

from alpha.bybit.caps import OrderCaps, OrderGuard
from alpha.bybit.client import Gateway
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.orders import OrderRequest
from alpha.bybit.place_order import place_order_once
from alpha.bybit.rate_limiter import NoLimit
from alpha.bybit.session import CallPolicy, Credentials
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Rejected, Retry, Unknown
from alpha.lease import Act, Lease, LeaseLost
from alpha.model.account import Environment
from alpha.postgres.lease import BOT_LEASES, PostgresLease

#: More than the threads that send, so that some wait for one with their lease already asked.
AT_ONCE = 8
#: What the orders of a burst are refused for when something is wrong with the test itself.
_CAPS = OrderCaps(max_order_usdt=Decimal(1_000_000), max_orders_per_minute=1_000_000)


def say(event: str, **fields: object) -> None:
    """One event."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


async def no_halt(_symbol: str) -> str | None:
    """Nothing is halted."""
    return None


class Broken(Lease):
    """A lease whose check of a request is left out: `off` wholly, `window` but for the window it is signed with."""

    def window_ms(self, act: Act, most_ms: int) -> int:
        """The longest window."""
        if os.environ["FENCE_BREAK"] == "window":
            super().window_ms(act, most_ms)
        return most_ms

    async def ready(self, act: Act) -> None:
        """Always."""
        if os.environ["FENCE_BREAK"] == "window":
            await super().ready(act)


async def burst(gateway: Gateway, lease: Lease, numbers: "itertools.count[int]") -> None:
    """Send until LeaseLost."""
    while lease.settles_in_ms:
        await asyncio.sleep(lease.settles_in_ms / 1000)
    say("opens", token=lease.token)

    async def one(number: int) -> None:
        order = OrderRequest(
            symbol="BTCUSDT",
            side="Buy" if number % 2 else "Sell",
            qty=Decimal("0.001"),
            order_link_id=f"{lease.token}-{number}",
            reference_price=Decimal(100),
        )
        with contextlib.suppress(Retry, Unknown, Rejected):
            await place_order_once(gateway, order)

    while True:
        results = await asyncio.gather(*(one(next(numbers)) for _ in range(AT_ONCE)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        with contextlib.suppress(Retry):
            await lease.ready(Act.OPEN)


async def _exchange_ms(gateway: Gateway) -> int:
    while True:
        with contextlib.suppress(Retry):
            return await gateway.server_time_ms()


async def main(account: int, key: str, secret: str, url: str, lease_s: float) -> None:
    """Take the lease, send until it is lost, and wait for it again; for ever."""
    settings = load(DatabaseSettings)
    row = PostgresLease(
        settings, "fence", BOT_LEASES, {"account_id": account, "bot_id": "shortseller_001"}, timeout_s=1.0
    )
    gateway = Gateway(
        simulated_hosts(url, url.replace("http", "ws")),
        Credentials(key, secret),
        NoLimit(),
        account=key,
        guard=OrderGuard("shortseller_001", Environment.SIMULATED, _CAPS, no_halt),
        policy=CallPolicy(timeout_s=2.0),
    )
    numbers = itertools.count()
    kind = Broken if os.environ.get("FENCE_BREAK") else Lease
    while True:
        lease = kind(row, lease_s, what=key)
        gateway.fence_by(lease)
        taken = False
        while not taken:
            with contextlib.suppress(Retry):
                taken = await lease.try_take()
            await asyncio.sleep(0.02)
        # The exchange's own time after the takeover: it accepts nothing of an earlier token from then on.
        say("taken", token=lease.token, exchange_ms=await _exchange_ms(gateway))
        tasks = [asyncio.create_task(lease.keep()), asyncio.create_task(burst(gateway, lease, numbers))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        except LeaseLost:
            say("lost", token=lease.token)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5])))

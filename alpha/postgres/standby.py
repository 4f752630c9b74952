"""One instance of a service works, a second one waits: by a lease in PostgreSQL, where ALPHA_STANDBY asks for it.

Guard, listener and bots have leases of their own, always. Here are the services of which two at once would only do work twice,
but which must go on when a host is lost. While PostgreSQL does not answer nobody can take the lease, so its holder goes on.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pydantic import Field

from alpha.config.loader import Settings, load
from alpha.config.services import DatabaseSettings, HealthSettings
from alpha.errors import AlphaError
from alpha.health import HealthServer
from alpha.lease import Act, Lease, LeaseLost, LeaseNotHeld
from alpha.logs import logger
from alpha.postgres.lease import LeaseTable, PostgresLease
from alpha.process import LoopPulse

log = logger(__name__)
Main = Callable[[asyncio.Event, LoopPulse], Awaitable[None]]
SERVICE_LEASES = LeaseTable("trading.service_leases", ("name",))
#: A service that hangs or whose host is gone is replaced after this time.
LEASE_S = 5.0
_AGAIN_S = 0.5
#: A process that was frozen notices within this time that another has taken over.
_LOOK_S = 0.25
_ANSWER_S = 2.0
#: The exit code of an instance that was replaced: it is started again and waits.
REPLACED = 75


class StandbySettings(Settings):
    """Whether a second instance of the service may exist."""

    alpha_standby: bool = Field(
        False,
        description="true where a service may run twice: the second instance waits until the first one's lease ends",
    )


def single(service: str, main: Main) -> Main:
    """`main`, run by one instance of `service` at a time where ALPHA_STANDBY is true; unchanged where it is not."""

    async def run(stop: asyncio.Event, pulse: LoopPulse) -> None:
        if not load(StandbySettings).alpha_standby:
            await main(stop, pulse)
            return
        row = PostgresLease(
            load(DatabaseSettings), f"{service} lease", SERVICE_LEASES, {"name": service}, timeout_s=_ANSWER_S
        )
        lease = Lease(row, LEASE_S, what=f"the service {service}")
        try:
            if await _taken(lease, row, stop, pulse):
                await _with_lease(lease, main, stop, pulse)
        finally:
            await lease.give_back()
            await row.close()

    return run


async def _taken(lease: Lease, row: PostgresLease, stop: asyncio.Event, pulse: LoopPulse) -> bool:
    """Wait until the lease is ours; healthy meanwhile. False when `stop` was set before."""
    health: HealthServer | None = None
    try:
        while not stop.is_set():
            try:
                if await lease.try_take():
                    log.info("lease_taken", token=lease.token)
                    return True
                if health is None:
                    holder = await row.holder()
                    log.info("standby", holder=holder)
                    health = _waiting(pulse, holder)
            except AlphaError as fault:
                log.info("lease_not_asked", why=str(fault)[:200])
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S):
                    await stop.wait()
        return False
    finally:
        if health is not None:
            health.close()


def _waiting(pulse: LoopPulse, holder: str) -> HealthServer:
    """The health check of an instance that waits."""
    return HealthServer(load(HealthSettings), pulse, {}, details=lambda: {"standby": f"waits for {holder} to end"})


async def _with_lease(lease: Lease, main: Main, stop: asyncio.Event, pulse: LoopPulse) -> None:
    keeping = asyncio.create_task(_keep(lease))
    try:
        await main(stop, pulse)
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def _keep(lease: Lease) -> None:
    """Renew until cancelled. Another instance has it: this one ends at once, whatever it is doing."""
    renewed_s = 0.0
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_LOOK_S)
        try:
            if not lease.held:
                await lease.ready(Act.CHANGE)
            elif loop.time() - renewed_s > LEASE_S / 4:
                renewed_s = loop.time()
                await lease.renew()
        except LeaseNotHeld:
            continue
        except LeaseLost as fault:
            sys.stderr.write(f"{fault}\n")
            sys.stderr.flush()
            os._exit(REPLACED)

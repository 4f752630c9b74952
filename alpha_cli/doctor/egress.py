"""Egress check: what a compromised container must not reach."""

import asyncio
from collections.abc import AsyncIterator

from alpha_cli.doctor.finding import Finding, note

#: Address at which clouds give a machine's own credentials to any process on it.
METADATA = ("169.254.169.254", 80)
_TIMEOUT_S = 1.5


async def check_egress(address: tuple[str, int] = METADATA) -> AsyncIterator[Finding]:
    """A note when the cloud's metadata address is reachable from here; otherwise no finding."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(*address)
    except (OSError, TimeoutError):
        return
    writer.close()
    yield note(
        "way out",
        f"The metadata address {address[0]} answers from here: whoever gets into a container gets the machine's credentials.",
        "Close it on the host: docs/security.md, 'The way out'.",
    )

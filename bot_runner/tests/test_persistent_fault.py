"""What fails for a minute without a success in between is an alert; what passes is none."""

from unittest.mock import AsyncMock, MagicMock

from alpha.alerts import Level
from alpha.clock import Clock
from alpha.errors import Rejected
from bot_runner.persistent_fault import LASTS_MS, PersistentFault
from bot_runner.state_persistence import StatePersistence


async def test_only_a_fault_that_lasts_is_told() -> None:
    journal = MagicMock(spec=StatePersistence)
    journal.warn = AsyncMock()
    now = [0]
    fault = PersistentFault(
        journal, "limits-unjudged", "The limits of Momentum were not judged", Clock(monotonic_ms=lambda: now[0])
    )
    why = Rejected("Bybit refuses the transaction log.")
    for now[0] in range(0, LASTS_MS, 1_000):
        await fault.failed(why)
    fault.passed()
    for now[0] in range(LASTS_MS, 2 * LASTS_MS, 1_000):
        await fault.failed(why)
    journal.warn.assert_not_awaited()
    now[0] = 2 * LASTS_MS
    await fault.failed(why)
    journal.warn.assert_awaited_once_with(
        "limits-unjudged",
        "The limits of Momentum were not judged for 60 s: Bybit refuses the transaction log.",
        "Look at the bot's log; positions keep their stops.",
        Level.CRITICAL,
    )

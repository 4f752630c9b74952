"""What fails for a minute without a success in between is an alert; what passes is none."""

from unittest.mock import AsyncMock, MagicMock

from alpha.alerts import Level
from alpha.clock import Clock
from alpha.errors import Rejected
from bot_runner.persistent_fault import LASTS_MS, PersistentFault
from bot_runner.state_persistence import StatePersistence


def journal_with(announced: str) -> MagicMock:
    """A journal whose Redis has this announcement of maintenance."""
    journal = MagicMock(spec=StatePersistence)
    journal.warn = AsyncMock()
    journal.alerts = MagicMock()
    journal.alerts.shared.get = AsyncMock(return_value=announced)
    return journal


async def test_only_a_fault_that_lasts_is_told() -> None:
    journal = journal_with("{}")
    now = [0]
    fault = PersistentFault(
        journal, "limits-unjudged", "The limits of Momentum were not judged", Clock(monotonic_ms=lambda: now[0])
    )
    why = Rejected("Bybit refuses the transaction log.")
    for now[0] in range(0, LASTS_MS, 1_000):
        await fault.failed(why)
    await fault.passed()
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
    journal.over.reset_mock()
    await fault.passed()
    journal.over.assert_awaited_once_with("limits-unjudged")


async def test_in_an_announced_maintenance_nothing_is_told_and_what_outlasts_it_is() -> None:
    journal = journal_with('{"windows": [], "ongoing": true}')
    now = [0]
    fault = PersistentFault(
        journal, "cycle-stuck", "No cycle of Momentum was finished", Clock(monotonic_ms=lambda: now[0])
    )
    why = Rejected("Bybit does not answer.")
    for now[0] in range(0, 10 * LASTS_MS, 10_000):
        await fault.failed(why)
    journal.warn.assert_not_awaited()
    journal.alerts.shared.get.return_value = '{"windows": [], "ongoing": false}'
    await fault.failed(why)
    journal.warn.assert_awaited_once()
    # without Redis nobody knows of a window: it is told
    journal.alerts.shared.get.side_effect = OSError
    await fault.failed(why)
    assert journal.warn.await_count == 2

"""Alerts of a bot, raised only while its lease may still be its own."""

import contextlib

from alpha.alerts import Alert, Alerts
from alpha.clock import wall_ms
from alpha.lease import Act, Lease, LeaseNotHeld

REPEAT_MS = 60_000


async def raise_under_lease(alerts: Alerts, lease: Lease, alert: Alert) -> None:
    """Raise the alert; the same one at most once a minute.

    LeaseLost when another process has taken over: what this one sees on the account is its successor's then.
    """
    with contextlib.suppress(LeaseNotHeld):
        await lease.ready(Act.REDUCE)
    await alerts.raise_alert(alert, wall_ms(), again_after_ms=REPEAT_MS)

"""Reads the alert stream from a saved position."""

import msgspec

from alpha.alerts import Alert
from alpha.live_state import keys
from alpha.logs import logger
from operations.context import Operations
from telegram_manager.alert_policy import Raised

log = logger(__name__)
#: On the very first start, alerts older than this are skipped.
FIRST_LOOK_MS = 10 * 60_000


async def read_alerts(platform: Operations, position: str, block_ms: int) -> tuple[list[Raised], str]:
    """Return the alerts after `position` (empty on the first start) and the next position. Raises Redis errors."""
    after = position or f"{max(0, platform.wall_ms() - FIRST_LOOK_MS)}-0"
    answer = await platform.live.shared.xread({keys.ALERTS: after}, count=200, block=block_ms)
    entries = answer[0][1] if answer else []
    read = [_read(fields) for _, fields in entries]
    return [alert for alert in read if alert is not None], str(entries[-1][0]) if entries else after


def raised_here(alert: Alert, service: str, raised_ms: int) -> Raised:
    """Convert an alert of this process to the form in which the stream delivers it."""
    return Raised(str(alert.level), alert.key, alert.text, alert.remedy, alert.bot, service, raised_ms, alert.lasting)


def _read(fields: dict[str, str]) -> Raised | None:
    try:
        return msgspec.convert(fields, Raised, strict=False)
    except msgspec.ValidationError as fault:
        log.warning("alert_unreadable", fault=str(fault))
        return None

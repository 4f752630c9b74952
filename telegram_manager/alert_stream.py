"""The alerts' stream as the command centre reads it: from a remembered entry on."""

import msgspec

from alpha.alerts import Alert
from alpha.live_state import keys
from alpha.logs import logger
from operations.context import Operations
from telegram_manager.alert_policy import Raised

log = logger(__name__)
#: What was raised longer ago than this before the very first start is old news.
FIRST_LOOK_MS = 10 * 60_000


async def read_alerts(platform: Operations, position: str, block_ms: int) -> tuple[list[Raised], str]:
    """The alerts after an entry (empty for the first start) and the entry to go on from. Raises what Redis raises."""
    after = position or f"{max(0, platform.wall_ms() - FIRST_LOOK_MS)}-0"
    answer = await platform.live.shared.xread({keys.ALERTS: after}, count=200, block=block_ms)
    entries = answer[0][1] if answer else []
    read = [_read(fields) for _, fields in entries]
    return [alert for alert in read if alert is not None], str(entries[-1][0]) if entries else after


def raised_here(alert: Alert, service: str, raised_ms: int) -> Raised:
    """An alert of this process, as the stream would give it."""
    return Raised(alert.level.value, alert.key, alert.text, alert.remedy, alert.bot, service, raised_ms)


def _read(fields: dict[str, str]) -> Raised | None:
    try:
        return msgspec.convert(fields, Raised, strict=False)
    except msgspec.ValidationError as fault:
        log.warning("alert_unreadable", fault=str(fault))
        return None

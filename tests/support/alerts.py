"""What stands in the stream of alerts."""

from alpha.alerts import OVER
from alpha.live_state import keys
from alpha.live_state.client import TextRedis


async def raised_alerts(shared: TextRedis) -> list[dict[str, str]]:
    """The alerts that were raised, oldest first, without those entries that tell the end of trouble."""
    rows = [fields for _, fields in await shared.xrange(keys.ALERTS)]
    return [fields for fields in rows if fields["level"] != OVER]


async def ended_alerts(shared: TextRedis) -> list[str]:
    """The keys whose end was told, oldest first."""
    return [fields["key"] for _, fields in await shared.xrange(keys.ALERTS) if fields["level"] == OVER]

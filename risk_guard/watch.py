"""What the guard watches beside positions: bots, listener, clocks, leases, maintenance, deliveries, keys, funding.

Each check returns findings; the same finding is raised again only after ten minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.rows import Order, Position, SystemStatus, Ticker
from alpha.live.read import DataState, Heartbeat, LiveStatus
from alpha.money import plain
from alpha.order_link import GUARD_TAG, parse_order_link_id
from alpha.registry import Bot, Registry
from risk_guard.account import GuardedAccount

AGAIN_MS = 600_000
HEARTBEAT_LIMIT = timedelta(seconds=60)
STATUS_LIMIT = timedelta(seconds=45)
SKEW_LIMIT_MS = 500
KEY_WARNING = timedelta(days=14)
#: Entries stop this long before an announced maintenance.
BEFORE_MAINTENANCE_MS = 15 * 60_000
_OVER = frozenset({"completed", "canceled", "cancelled"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the operator should know, and what to do about it."""

    key: str
    level: Level
    text: str
    remedy: str


class Watchman:
    """Raises findings, each at most every ten minutes."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts
        self._raised: dict[str, int] = {}

    async def report(self, bot: str, findings: Sequence[Finding], now_ms: int) -> None:
        """Raise these at wall-clock time `now_ms`."""
        for finding in findings:
            key = f"guard:{finding.key}:{bot}" if bot else f"guard:{finding.key}"
            if now_ms - self._raised.get(key, -AGAIN_MS) < AGAIN_MS:
                continue
            self._raised[key] = now_ms
            await self._alerts.raise_alert(Alert(finding.level, key, finding.text, finding.remedy, bot), now_ms)


def bot_signs(
    bot: Bot, wish: str, heartbeat: Heartbeat | None, status: LiveStatus | None, now: datetime
) -> list[Finding]:
    """The bot's and the listener's signs of life; `now` is wall-clock time. Nothing is expected of a stopped bot."""
    found = []
    if wish != "stopped" and (heartbeat is None or now - heartbeat.alive_at > HEARTBEAT_LIMIT):
        age = "never" if heartbeat is None else f"not for {(now - heartbeat.alive_at).total_seconds():.0f} s"
        found.append(
            Finding(
                "heartbeat",
                Level.CRITICAL,
                f"{bot.id} has shown no sign of life ({age}).",
                f"/logs {bot.container}, then /restart.",
            )
        )
    fresh = status is not None and status.synced_at is not None and now - status.synced_at <= STATUS_LIMIT
    if status is None or status.state is not DataState.SYNCED or not fresh:
        state = "unknown" if status is None else status.state.value if fresh else f"{status.state.value}, but old"
        found.append(
            Finding(
                "data", Level.WARNING, f"The live data of {bot.id} is {state}.", "/health; look at the listener's log."
            )
        )
    return found


def clock_skew(skew_ms: int) -> list[Finding]:
    """This machine's clock against the exchange's."""
    if abs(skew_ms) <= SKEW_LIMIT_MS:
        return []
    text = f"This machine's clock is {skew_ms} ms off; no entries until it is right."
    return [Finding("clock", Level.CRITICAL, text, "Synchronise the clock with NTP.")]


def key_state(account: GuardedAccount, now: datetime) -> list[Finding]:
    """The key's rights and its end."""
    key = account.key
    if key is None:
        return []
    found = []
    if key.can_withdraw:
        found.append(
            Finding(
                "key_withdraw",
                Level.CRITICAL,
                f"The key of {account.bot.id} may withdraw money.",
                "Make one without Withdraw.",
            )
        )
    try:
        ends = datetime.fromisoformat(key.expires_at)
    except ValueError:
        return found
    ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    if ends.year > 2000 and ends - now < KEY_WARNING:
        found.append(
            Finding(
                "key_expiry",
                Level.WARNING,
                f"The key of {account.bot.id} ends on {ends:%Y-%m-%d}.",
                f"alpha key {account.bot.container}",
            )
        )
    return found


def strange_orders(account: GuardedAccount, orders: Sequence[Order], registry: Registry) -> list[Finding]:
    """Orders whose id carries the tag of another bot: somebody trades with this key who should not."""
    found = []
    for order in orders:
        link = parse_order_link_id(order.order_link_id)
        if link is None or link.tag in {account.bot.tag, GUARD_TAG}:
            continue
        other = registry.by_tag(link.tag)
        owner = other.id if other is not None else "an unknown bot"
        text = f"{order.symbol}: an order on the account of {account.bot.id} carries the tag of {owner}."
        found.append(Finding(f"tag:{order.order_id}", Level.CRITICAL, text, "Two bots share a key: give each its own."))
    return found


def lease_changes(bot: Bot, before: int | None, token: int | None) -> list[Finding]:
    """A lease that changed hands more than once between two looks: two instances fight for an account."""
    if before is None or token is None or token - before < 3:
        return []
    text = f"The account of {bot.id} changed hands {token - before} times within a minute."
    return [Finding("lease", Level.CRITICAL, text, f"Two instances of {bot.container} run: stop one.")]


def maintenance(announced: Sequence[SystemStatus], now_ms: int) -> SystemStatus | None:
    """The announced maintenance that is near or under way at exchange time `now_ms`, or None."""
    for row in announced:
        if row.state.lower() in _OVER or row.begin_ms is None:
            continue
        over = row.end_ms is not None and row.end_ms <= now_ms
        if not over and row.begin_ms - BEFORE_MAINTENANCE_MS <= now_ms:
            return row
    return None


def held_symbols(
    account: GuardedAccount, positions: Sequence[Position], tickers: dict[str, Ticker], extreme_pct: Decimal
) -> list[Finding]:
    """What happens to the symbols that are held: an end of trading, a funding rate out of the ordinary."""
    found = []
    for position in positions:
        instrument = account.instruments.get(position.symbol)
        if instrument is not None and instrument.delivery_ms:
            ends = datetime.fromtimestamp(instrument.delivery_ms / 1000, UTC)
            text = f"{position.symbol} ends trading on {ends:%Y-%m-%d %H:%M} UTC and {account.bot.id} holds it."
            found.append(
                Finding(
                    f"delivery:{position.symbol}",
                    Level.WARNING,
                    text,
                    f"/flatten {account.bot.container} {position.symbol}",
                )
            )
        ticker = tickers.get(position.symbol)
        rate = None if ticker is None else ticker.funding_rate
        if rate is not None and abs(rate) * 100 >= extreme_pct:
            text = f"{position.symbol}: the funding rate is {plain(rate * 100)} % and {account.bot.id} holds it."
            found.append(
                Finding(f"funding:{position.symbol}", Level.WARNING, text, "Look whether the position is worth it.")
            )
    return found

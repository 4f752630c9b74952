"""What the guard watches besides positions: bots, listener, clocks, leases, maintenance, deliveries, keys, funding.

Each check returns findings; the same finding is raised again only after ten minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.models import ApiKeyInfo, SystemStatus, Ticker
from alpha.errors import AlphaError
from alpha.live_state.read import DataState, Heartbeat, LiveStatus
from alpha.model.money import plain
from alpha.model.order_link import GUARD_TAG, parse_order_link_id
from alpha.model.position import Position
from alpha.model.timestamp import at
from alpha.registry import Bot, Registry
from risk_guard.account import GuardedAccount

AGAIN_MS = 600_000
HEARTBEAT_LIMIT = timedelta(seconds=60)
SKEW_LIMIT_MS = 500
KEY_WARNING = timedelta(days=14)
#: Entries stop this long before an announced maintenance.
BEFORE_MAINTENANCE_MS = 15 * 60_000
#: Must be below the number of order ids that a bot remembers.
NOTED = 150
_OVER = frozenset({"completed", "canceled", "cancelled"})


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the operator should know, and what to do about it."""

    key: str
    level: Level
    text: str
    remedy: str


#: The end of these is told after a restart of the guard, too.
_COMMON = ("heartbeat", "data", "key_refused", "hindered")
#: Found in each look while they last; all others are told once, when they happen, and have no end.
_LASTING = frozenset((*_COMMON, "account", "clock", "key_withdraw", "key_trade", "key_unbound", "key_expiry", "dcp"))


class FindingReporter:
    """Raises findings, each at most every ten minutes, and tells their end."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts
        #: The keys that were found of each bot and whose end was not told.
        self._found: dict[str, set[str]] = {}

    async def settle(self, bot: str, findings: Sequence[Finding], now_ms: int) -> None:
        """These are all that a complete look has found: what was found before and is not among them has ended."""
        found = {_key(bot, finding.key) for finding in findings if finding.key in _LASTING}
        before = self._found.setdefault(bot, {_key(bot, name) for name in _COMMON})
        for key in sorted(before - found):
            await self._alerts.resolve(key, now_ms, bot=bot)
        self._found[bot] = found

    async def report(self, bot: str, findings: Sequence[Finding], now_ms: int) -> None:
        """Raise these at wall-clock time `now_ms`."""
        for finding in findings:
            key = _key(bot, finding.key)
            if finding.key in _LASTING:
                self._found.setdefault(bot, {_key(bot, name) for name in _COMMON}).add(key)
            alert = Alert(finding.level, key, finding.text, finding.remedy, bot)
            await self._alerts.raise_alert(alert, now_ms, again_after_ms=AGAIN_MS)


def _key(bot: str, name: str) -> str:
    return f"guard:{name}:{bot}" if bot else f"guard:{name}"


def bot_signs(
    bot: Bot, wish: str, heartbeat: Heartbeat | None, status: LiveStatus | None, now: datetime
) -> list[Finding]:
    """Heartbeats of the bot and the listener; `now` is wall-clock time. A stopped bot needs none."""
    found = []
    if wish != "stopped" and (heartbeat is None or heartbeat.age(now) > HEARTBEAT_LIMIT):
        age = "never" if heartbeat is None else f"not for {heartbeat.age(now).total_seconds():.0f} s"
        found.append(
            Finding(
                "heartbeat",
                Level.CRITICAL,
                f"{bot.id} has shown no sign of life ({age}).",
                f"/logs {bot.container}, then /restart.",
            )
        )
    if status is None or status.state is not DataState.SYNCED:
        state = "unknown" if status is None else status.state.value
        found.append(
            Finding(
                "data", Level.WARNING, f"The live data of {bot.id} is {state}.", "/health; look at the listener's log."
            )
        )
    return found


def another_account(bot: Bot, status: LiveStatus | None, account: str) -> list[Finding]:
    """The listener reads a different account from the one being traded: those trades are not recorded."""
    if status is None or status.is_of(account):
        return []
    text = f"The listener reads the account {status.account}, but {bot.id} trades on {account}: no entries until that is right."
    remedy = f"Make its read-only key on the account that trades, then: alpha key {bot.container} --read-only"
    return [Finding("account", Level.CRITICAL, text, remedy)]


def clock_skew(skew_ms: int) -> list[Finding]:
    """This machine's clock against the exchange's."""
    if abs(skew_ms) <= SKEW_LIMIT_MS:
        return []
    text = f"This machine's clock is {skew_ms} ms off; no entries until it is right."
    return [Finding("clock", Level.CRITICAL, text, "Synchronise the clock with NTP.")]


def key_state(
    bot: Bot, key: ApiKeyInfo | None, now: datetime, *, observe: bool, live: bool = False, dcp: bool = False
) -> list[Finding]:
    """The key's rights and expiry; `observe`: the guard is set to observe only; `live`: real money; `dcp`: it is on."""
    if key is None:
        return []
    found = []
    renew = f"Make a new one without Withdraw, then: alpha key {bot.container}"
    if key.can_withdraw:
        found.append(Finding("key_withdraw", Level.CRITICAL, f"The key of {bot.id} may withdraw money.", renew))
    if not key.can_trade and not observe:
        text = f"The key of {bot.id} may not trade: the guard can only observe, it protects nothing there."
        found.append(Finding("key_trade", Level.CRITICAL, text, f"{renew} (or set GUARD_OBSERVE=true)"))
    if live and not key.ip_bound:
        text = f"The key of {bot.id} works from any address: Bybit ends it 90 days after it was made, and 7 days after a change of the password."
        found.append(Finding("key_unbound", Level.WARNING, text, "Bind it to this host's address on Bybit."))
    if dcp:
        text = f"Disconnect protection (DCP) is on for {bot.id}: with a lost connection Bybit cancels orders, and stops may be among them."
        found.append(
            Finding("dcp", Level.WARNING, text, "Switch it off on Bybit. Lost stops are set anew within a minute.")
        )
    try:
        ends = datetime.fromisoformat(key.expires_at)
    except ValueError:
        return found
    ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    if ends.year > 2000 and ends - now < KEY_WARNING:
        level = Level.CRITICAL if ends <= now else Level.WARNING
        text = f"The key of {bot.id} {'ended' if ends <= now else 'ends'} on {ends:%Y-%m-%d}."
        found.append(Finding("key_expiry", level, text, renew))
    return found


def refused_key(bot: Bot, fault: AlphaError) -> Finding:
    """The exchange no longer accepts the key."""
    text = f"Bybit does not accept the key of {bot.id}, so the guard protects nothing there: {fault}"
    return Finding("key_refused", Level.CRITICAL, text, f"Make a new one, then: alpha key {bot.container}")


def hindered(bot: Bot, fault: AlphaError, for_s: float) -> Finding:
    """The guard has not completed a patrol for `for_s` seconds."""
    text = f"The guard could not look after {bot.id} for {for_s:.0f} s: {fault}"
    return Finding("hindered", Level.CRITICAL, text, "Look at the positions on the exchange, and at the guard's log.")


def strange_orders(bot: Bot, orders: Sequence[tuple[str, str]], registry: Registry) -> list[Finding]:
    """Orders (`orderLinkId`, symbol) with another bot's tag: somebody trades with this key who should not."""
    found = []
    for link_id, symbol in orders:
        link = parse_order_link_id(link_id)
        if link is None or link.tag in {bot.tag, GUARD_TAG}:
            continue
        other = registry.by_tag(link.tag)
        owner = other.id if other is not None else "an unknown bot"
        text = f"{symbol}: an order on the account of {bot.id} carries the tag of {owner}."
        found.append(Finding(f"tag:{link_id}", Level.CRITICAL, text, "Two bots share a key: give each its own."))
    return found


def unsent_orders(bot: Bot, orders: Sequence[tuple[str, str]], sent: frozenset[str]) -> list[Finding]:
    """Orders (`orderLinkId`, symbol) with the bot's own tag that it never recorded as sent."""
    mine = []
    for link_id, symbol in orders:
        link = parse_order_link_id(link_id)
        if link is not None and link.tag == bot.tag:
            mine.append((link_id, symbol))
    if len(mine) >= NOTED:
        # A bot keeps the last 200 ids; beyond that no conclusion is possible.
        return []
    return [
        Finding(
            f"unsent:{link_id}",
            Level.CRITICAL,
            f"{symbol}: the order {link_id} carries the tag of {bot.id}, but {bot.id} has not noted it as its own.",
            f"Look for a second instance with the same key; /pause {bot.container} or /flatten {bot.container} meanwhile.",
        )
        for link_id, symbol in mine
        if link_id not in sent
    ]


def lease_changes(bot: Bot, before: int | None, acquisitions: int | None) -> list[Finding]:
    """A lease that changed hands more than once between two checks: two instances compete for an account."""
    if before is None or acquisitions is None or acquisitions - before < 3:
        return []
    text = f"The account of {bot.id} changed hands {acquisitions - before} times within a minute."
    return [Finding("lease", Level.CRITICAL, text, f"Two instances of {bot.container} run: stop one.")]


def maintenance(announced: Sequence[SystemStatus], now_ms: int) -> SystemStatus | None:
    """The announced maintenance that is imminent or in progress at exchange time `now_ms`, or None."""
    for row in announced:
        if row.state.lower() in _OVER or row.begin_ms is None:
            continue
        over = row.end_ms is not None and row.end_ms <= now_ms
        if not over and row.begin_ms - BEFORE_MAINTENANCE_MS <= now_ms:
            return row
    return None


def maintenance_finding(row: SystemStatus) -> Finding:
    """No entries before and during a maintenance."""
    spans = [at(ms).strftime("%Y-%m-%d %H:%M UTC") for ms in (row.begin_ms, row.end_ms) if ms is not None]
    text = f"Bybit announces maintenance ({row.title}), {' to '.join(spans)}: no entries until it is over."
    remedy = "Stops stay on the exchange; entries resume automatically. Use /flatten for positions that should not be held through it."
    return Finding(f"maintenance:{row.id}", Level.WARNING, text, remedy)


def maintenance_over(row: SystemStatus) -> Finding:
    """The announced maintenance is over, and the positions have been checked since."""
    text = f"The maintenance ({row.title}) is over; positions and stops were checked, entries are free again."
    return Finding(f"maintenance_over:{row.id}", Level.INFO, text, "Compare /positions with the exchange.")


def held_symbols(
    account: GuardedAccount, positions: Sequence[Position], tickers: dict[str, Ticker], extreme_pct: Decimal
) -> list[Finding]:
    """What affects the symbols with open positions: an upcoming delisting, an unusual funding rate."""
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

"""Alert policy: groups alerts, suppresses repeats, holds them in quiet hours, repeats critical ones until acknowledged.

Pure: alerts and the time go in, notices come out; everything that must survive a restart is in `AlertPolicyState`.
"""

import re
from collections.abc import Iterable
from datetime import time, tzinfo
from hashlib import sha256
from html import escape

import msgspec

from alpha.alerts import OVER
from alpha.model.timestamp import at
from operations.formatting import in_zone, moment, zone_name

#: The same problem is notified again after this long; alerts raised in between are counted.
AGAIN_MS = 30 * 60_000
#: A problem not raised for this long counts as new when it returns, acknowledged or not.
FORGET_MS = 60 * 60_000
#: A problem not raised for this long has ended: watchers raise a lasting problem every ten minutes.
OVER_MS = 25 * 60_000
#: A problem whose watcher says that it has ended must stay away for so long; twice as long each time it came back.
SETTLED_MS = 60_000
#: A problem raised again after so long has a watcher, whose silence means its end.
WATCHED_MS = 60_000
#: Maximum keys remembered; maximum critical alerts per message, so that its button can name each of them.
MOST_KNOWN, MOST_IN_ONE = 2_000, 6
#: Measurements: they change without making it a different problem.
_MEASURED = re.compile(
    r"[+-]?\d[\d.,:]* ?(ms|s|min|m|minutes?|seconds?|h|hours?|d|days?|%|[KMG]i?B|USDT|USDC)(?![A-Za-z])"
)
#: Message length; below Telegram's 4,096 including the header, even if every character is an entity.
MOST = 3_500
#: Problems per message that says that they are over.
_MOST_OVER = 10
_MARKS = {"critical": "🚨", "warning": "⚠️", "info": "ℹ️"}
_ORDER = {"critical": 0, "warning": 1, "info": 2}


class Raised(msgspec.Struct, frozen=True):
    """One alert from the stream. `raised_ms` is wall clock."""

    level: str
    key: str
    text: str
    remedy: str = ""
    bot: str = ""
    service: str = ""
    raised_ms: int = 0
    #: Its end will be told, however late.
    lasting: bool = False


class Known(msgspec.Struct):
    """A known problem: its last alert, when it was last notified, and how often it was raised since."""

    alert: Raised
    told_ms: int
    last_ms: int
    since: int = 0
    acknowledged: bool = False
    #: When this episode began, how often its text has changed, and each source's text without measurements.
    begun_ms: int = 0
    version: int = 0
    words: dict[str, str] = {}
    #: When its watcher said that it has ended; whether that was told; how often it came back afterwards.
    ended_ms: int | None = None
    over: bool = False
    returns: int = 0


class AlertPolicyState(msgspec.Struct):
    """The policy's persistent state. `position` is the last stream entry that was processed."""

    position: str = ""
    known: dict[str, Known] = {}
    held: list[Raised] = []


class Notice(msgspec.Struct, frozen=True):
    """A message to send: its highest level, its text in Telegram's HTML, and the alerts behind it.

    `ids` names its critical alerts for `acknowledge`. `silent` marks a message that must wake nobody.
    """

    level: str
    html: str
    alerts: list[Raised]
    repeats: bool = False
    ids: list[str] = []
    silent: bool = False
    #: One per alert, where `html` is made of them alone.
    lines: list[str] = []


class AlertPolicy:
    """Applies the rules. `quiet` is the begin and end of the quiet hours in `zone`."""

    def __init__(
        self,
        state: AlertPolicyState,
        repeat_ms: int,
        zone: tzinfo,
        quiet: tuple[time, time] | None = None,
        least: str = "info",
    ) -> None:
        self.state = state
        self._repeat_ms = repeat_ms
        self._zone = zone
        self._quiet = quiet
        self._least = least

    def take(self, alerts: list[Raised], now_ms: int) -> list[Notice]:
        """Return the notices due now, from new alerts and held ones: one notice per level, most urgent first."""
        quiet = self._is_quiet(now_ms)
        over = [] if quiet else self._over({alert.key for alert in alerts if alert.level != OVER}, now_ms)
        fresh = [alert for alert in alerts if self._is_news(alert, now_ms)]
        self.state.held += [alert for alert in fresh if quiet and alert.level != "critical"]
        tell = [alert for alert in fresh if not quiet or alert.level == "critical"]
        if not quiet and self.state.held:
            tell = [*self.state.held, *tell]
            self.state.held = []
        return [*self._grouped(tell), *self._repeats(now_ms), *over]

    def acknowledge(self, ids: tuple[str, ...] = ()) -> int:
        """Stop the repeats of critical problems (these, or all) until they end or change; returns how many."""
        waiting = [
            known
            for key, known in self.state.known.items()
            if known.alert.level == "critical"
            and not (known.acknowledged or known.over)
            and (not ids or _ack_id(key, known) in ids)
        ]
        for known in waiting:
            known.acknowledged = True
        return len(waiting)

    def end(self, keys: Iterable[str], now_ms: int) -> None:
        """A watcher no longer finds these problems. Their end is told once they have stayed away for a while."""
        for key in keys:
            known = self.state.known.get(key)
            if known is not None and known.ended_ms is None:
                known.ended_ms = now_ms

    def open_keys(self, service: str) -> list[str]:
        """The problems that this service has raised and that are not over."""
        return [key for key, known in self.state.known.items() if service in known.words and not known.over]

    def _resolved(self, alert: Raised, now_ms: int) -> None:
        """A service no longer finds what it raised. Ended is what no other service has raised, too."""
        known = self.state.known.get(alert.key)
        if known is not None and known.words.pop(alert.service, None) is not None and not known.words:
            self.end([alert.key], now_ms)

    def _is_news(self, alert: Raised, now_ms: int) -> bool:
        if alert.level == OVER:
            self._resolved(alert, now_ms)
            return False
        if alert.level not in _ORDER or _ORDER[alert.level] > _ORDER[self._least]:
            return False
        known = self.state.known.get(alert.key)
        worse = known is not None and _ORDER[alert.level] < _ORDER[known.alert.level]
        ended_ms = OVER_MS if known is not None and known.acknowledged else FORGET_MS
        words = _MEASURED.sub("#", alert.text)
        if known is None or worse or known.over or now_ms - known.last_ms > ended_ms:
            returns = known.returns + 1 if known is not None and known.over else 0
            self.state.known[alert.key] = Known(
                alert, now_ms, now_ms, begun_ms=now_ms, words={alert.service: words}, returns=returns
            )
            self._forget(now_ms)
            return True
        known.last_ms = now_ms
        known.ended_ms = None
        known.since += 1
        # two sources may report the same problem in different words: only a changed text from the same source is news
        before = known.words.setdefault(alert.service, words)
        if alert.level == "critical" and before != words:
            known.words[alert.service] = words
            known.alert, known.told_ms, known.acknowledged = alert, now_ms, False
            known.version += 1
            return True
        if known.acknowledged or now_ms - known.told_ms < AGAIN_MS:
            return False
        known.told_ms = now_ms
        known.alert = alert
        return True

    def _over(self, raised: set[str], now_ms: int) -> list[Notice]:
        """Notices of the problems that have ended, by level, so that they reach those who were told of the problem.

        Ended is what its watcher no longer finds, and what was raised again and again and then not for a while. What was
        raised only once says nothing by its silence (a halt that a limit has set stays without repeating itself): its end
        is told when its service says so.
        """
        lines: dict[str, list[tuple[str, Raised]]] = {}
        for key, known in self.state.known.items():
            if known.over or key in raised or not self._has_ended(known, now_ms):
                continue
            known.over = True
            alert = known.alert
            how = "" if known.ended_ms is not None else f" (not raised for {OVER_MS // 60_000} minutes)"
            text = escape(in_zone(alert.text[:200], self._zone))
            line = f"🟢 <b>Over</b>: {escape(alert.bot or alert.service)}: {text}{how}"
            lines.setdefault(alert.level, []).append((line, alert))
        notices = []
        for level in sorted(lines, key=_ORDER.__getitem__):
            for first in range(0, len(lines[level]), _MOST_OVER):
                some = lines[level][first : first + _MOST_OVER]
                told = [line for line, _ in some]
                alerts = [alert for _, alert in some]
                notices.append(Notice(level, "\n".join(told), alerts, repeats=True, silent=True, lines=told))
        return notices

    def _has_ended(self, known: Known, now_ms: int) -> bool:
        if known.ended_ms is not None:
            return now_ms - known.ended_ms >= min(SETTLED_MS << min(known.returns, 10), OVER_MS)
        watched = known.last_ms - known.begun_ms >= WATCHED_MS and not known.alert.lasting
        return watched and known.alert.level != "info" and now_ms - known.last_ms > OVER_MS

    def _forget(self, now_ms: int) -> None:
        self.state.known = {
            key: known
            for key, known in self.state.known.items()
            if now_ms - known.last_ms <= FORGET_MS
            or (known.alert.lasting and not known.over)
            or (known.ended_ms is not None and not known.over)
            or (known.alert.level == "critical" and not (known.acknowledged or known.over))
        }
        while len(self.state.known) > MOST_KNOWN:
            del self.state.known[min(self.state.known, key=lambda key: self.state.known[key].last_ms)]

    def _repeats(self, now_ms: int) -> list[Notice]:
        due = []
        for known in self.state.known.values():
            waits = known.alert.level == "critical" and not (known.acknowledged or known.over)
            if waits and now_ms - known.told_ms >= self._repeat_ms:
                known.told_ms = now_ms
                due.append(known.alert)
        if not due:
            return []
        head = "🔁 <b>Still so</b>, until /ack"
        return [
            Notice(notice.level, f"{head}\n{notice.html}", notice.alerts, repeats=True, ids=notice.ids)
            for notice in self._grouped(due)
        ]

    def _grouped(self, alerts: list[Raised]) -> list[Notice]:
        notices = []
        for level in sorted({alert.level for alert in alerts}, key=_ORDER.__getitem__):
            by_key: dict[str, list[Raised]] = {}
            for alert in alerts:
                if alert.level == level:
                    by_key.setdefault(alert.key, []).append(alert)
            parts: list[tuple[list[str], list[Raised]]] = [([], [])]
            for same in by_key.values():
                line = self._line(same[-1], len(same))
                full = level == "critical" and len(parts[-1][0]) >= MOST_IN_ONE
                if parts[-1][0] and (full or sum(map(len, parts[-1][0])) + len(parts[-1][0]) + len(line) > MOST):
                    parts.append(([], []))
                parts[-1][0].append(line)
                parts[-1][1].append(same[-1])
            notices += [
                Notice(level, "\n".join(lines), told, ids=self._ids(told), lines=lines) for lines, told in parts
            ]
        return notices

    def _ids(self, alerts: list[Raised]) -> list[str]:
        known = self.state.known
        return [
            _ack_id(alert.key, known[alert.key]) for alert in alerts if alert.level == "critical" and alert.key in known
        ]

    def _line(self, alert: Raised, count: int = 1) -> str:
        known = self.state.known.get(alert.key)
        times = count + (known.since if known is not None else 0)
        often = f" (×{times})" if times > 1 else ""
        if known is not None:
            known.since = 0
        who = escape(alert.bot or alert.service)
        raised = at(alert.raised_ms)
        when = f"{moment(raised, self._zone).text} {zone_name(raised, self._zone)}"
        remedy = f"\n   → {escape(in_zone(alert.remedy[:200], self._zone))}" if alert.remedy else ""
        return (
            f"{_MARKS[alert.level]} <b>{who}</b> {when}{often}\n{escape(in_zone(alert.text[:400], self._zone))}{remedy}"
        )

    def _is_quiet(self, now_ms: int) -> bool:
        if self._quiet is None:
            return False
        begin, end = self._quiet
        now = at(now_ms).astimezone(self._zone).time()
        return begin <= now < end if begin < end else now >= begin or now < end


def _ack_id(key: str, known: Known) -> str:
    """Identify this episode of a key with this text, so that an older message's button acknowledges nothing newer."""
    return sha256(f"{key}|{known.begun_ms}|{known.version}".encode("utf-8", "replace")).hexdigest()[:8]

"""What becomes of alerts: grouped, not repeated needlessly, held in quiet hours, repeated until acknowledged when critical.

Pure: alerts and the time go in, notices come out; all that must outlive a restart is in `AlertPolicyState`.
"""

from datetime import time, tzinfo
from html import escape

import msgspec

from alpha.model.timestamp import at
from operations.formatting import moment, zone_name

#: The same trouble is told again after so long; what was raised meanwhile is counted.
AGAIN_MS = 30 * 60_000
#: Trouble that was not raised for so long is new when it comes back, acknowledged or not.
FORGET_MS = 60 * 60_000
#: The length of a message; below Telegram's 4,096 even with its head, when every letter is an entity.
MOST = 3_500
_MARKS = {"critical": "🚨", "warning": "⚠️", "info": "ℹ️"}
_ORDER = {"critical": 0, "warning": 1, "info": 2}


class Raised(msgspec.Struct, frozen=True):
    """One alert of the stream. `raised_ms` is wall clock."""

    level: str
    key: str
    text: str
    remedy: str = ""
    bot: str = ""
    service: str = ""
    raised_ms: int = 0


class Known(msgspec.Struct):
    """Trouble that is known: its last alert, when it was told last, and how often it came since."""

    alert: Raised
    told_ms: int
    last_ms: int
    since: int = 0
    acknowledged: bool = False


class AlertPolicyState(msgspec.Struct):
    """All that the book remembers. `position` is the entry of the alerts' stream that was taken last."""

    position: str = ""
    known: dict[str, Known] = {}
    held: list[Raised] = []


class Notice(msgspec.Struct, frozen=True):
    """What is to be told: the highest level in it, the text in Telegram's HTML, the alerts behind it."""

    level: str
    html: str
    alerts: list[Raised]
    repeats: bool = False


class AlertPolicy:
    """The rules. `quiet` are the begin and end of the quiet hours in `zone`."""

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
        """What is to be told now, of new alerts and of what was held. One notice a level, most urgent first."""
        fresh = [alert for alert in alerts if self._is_news(alert, now_ms)]
        quiet = self._is_quiet(now_ms)
        self.state.held += [alert for alert in fresh if quiet and alert.level != "critical"]
        tell = [alert for alert in fresh if not quiet or alert.level == "critical"]
        if not quiet and self.state.held:
            tell = [*self.state.held, *tell]
            self.state.held = []
        return [*self._grouped(tell), *self._repeats(now_ms)]

    def acknowledge(self) -> int:
        """Stop the repeats of all critical trouble that is known; how many there were."""
        waiting = [
            known for known in self.state.known.values() if known.alert.level == "critical" and not known.acknowledged
        ]
        for known in waiting:
            known.acknowledged = True
        return len(waiting)

    def _is_news(self, alert: Raised, now_ms: int) -> bool:
        if alert.level not in _ORDER or _ORDER[alert.level] > _ORDER[self._least]:
            return False
        known = self.state.known.get(alert.key)
        worse = known is not None and _ORDER[alert.level] < _ORDER[known.alert.level]
        if known is None or worse or now_ms - known.last_ms > FORGET_MS:
            self.state.known[alert.key] = Known(alert, now_ms, now_ms)
            self._forget(now_ms)
            return True
        known.last_ms = now_ms
        known.since += 1
        if known.acknowledged or now_ms - known.told_ms < AGAIN_MS:
            return False
        known.told_ms = now_ms
        known.alert = alert
        return True

    def _forget(self, now_ms: int) -> None:
        self.state.known = {
            key: known
            for key, known in self.state.known.items()
            if now_ms - known.last_ms <= FORGET_MS or (known.alert.level == "critical" and not known.acknowledged)
        }

    def _repeats(self, now_ms: int) -> list[Notice]:
        due = []
        for known in self.state.known.values():
            if known.alert.level == "critical" and not known.acknowledged and now_ms - known.told_ms >= self._repeat_ms:
                known.told_ms = now_ms
                due.append(known.alert)
        if not due:
            return []
        head = "🔁 <b>Still so</b>, until /ack"
        return [
            Notice(notice.level, f"{head}\n{notice.html}", notice.alerts, repeats=True) for notice in self._grouped(due)
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
                if parts[-1][0] and sum(map(len, parts[-1][0])) + len(parts[-1][0]) + len(line) > MOST:
                    parts.append(([], []))
                parts[-1][0].append(line)
                parts[-1][1].append(same[-1])
            notices += [Notice(level, "\n".join(lines), told) for lines, told in parts]
        return notices

    def _line(self, alert: Raised, count: int = 1) -> str:
        known = self.state.known.get(alert.key)
        times = count + (known.since if known is not None else 0)
        often = f" (×{times})" if times > 1 else ""
        if known is not None:
            known.since = 0
        who = escape(alert.bot or alert.service)
        raised = at(alert.raised_ms)
        when = f"{moment(raised, self._zone).text} {zone_name(raised, self._zone)}"
        remedy = f"\n   → {escape(alert.remedy[:200])}" if alert.remedy else ""
        return f"{_MARKS[alert.level]} <b>{who}</b> {when}{often}\n{escape(alert.text[:400])}{remedy}"

    def _is_quiet(self, now_ms: int) -> bool:
        if self._quiet is None:
            return False
        begin, end = self._quiet
        now = at(now_ms).astimezone(self._zone).time()
        return begin <= now < end if begin < end else now >= begin or now < end

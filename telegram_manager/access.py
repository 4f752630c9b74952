"""Access control: every update passes through here, and one that is not admitted has no effect.

| verdict | when | answer |
|---|---|---|
| stranger | the person is not in the settings, or the update has no person | none; the admins get one alert |
| wrong kind | neither a message nor a button: edited, inline, channel posts ... | none |
| wrong place | the group or topic is not in the settings | none |
| too often | over the rate limit | one sentence per minute |
| expired | a message older than a minute | one sentence |
| locked | too many wrong access codes | one sentence per minute |
| code needed | an access code is set and there is no session | one sentence |
| admitted | everything else | |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from alpha.model.timestamp import ms_of
from operations.commands import BY_NAME, Role
from telegram_manager.chat_ref import ChatRef
from telegram_manager.incoming_update import IncomingUpdate, Kind

AGE_LIMIT_MS = 60_000
CODE_TRIES = 5
LOCK_MS = 15 * 60_000
MINUTE_MS = 60_000
#: Commands allowed without a session.
BEFORE_LOGIN = ("login", "whoami", "help", "start")
#: Strangers remembered, so that each raises only one alert.
STRANGERS_KEPT = 1_000
#: Refusals written to the audit log per minute: per person, and for all strangers. A flood must not fill the disk.
AUDITED_PER_MINUTE, STRANGERS_AUDITED_PER_MINUTE = 30, 120


class Access(StrEnum):
    """The possible verdicts on an update."""

    ADMITTED = "admitted"
    STRANGER = "stranger"
    WRONG_KIND = "wrong kind"
    WRONG_PLACE = "wrong place"
    TOO_OFTEN = "too often"
    EXPIRED = "expired"
    LOCKED = "locked"
    CODE_NEEDED = "code needed"


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one update, the person's role, and the answer to send (none if empty)."""

    verdict: Access
    role: Role
    answer: str = ""
    #: True for the first update from a stranger: the admins are notified.
    new_stranger: bool = False
    #: False if auditing this refusal would flood the audit log.
    to_audit: bool = True


@dataclass(slots=True)
class AccessState:
    """The access state that must survive a restart. Times are wall-clock milliseconds."""

    sessions: dict[int, int] = field(default_factory=dict)
    wrong_codes: dict[int, int] = field(default_factory=dict)
    locked_until: dict[int, int] = field(default_factory=dict)
    strangers: list[int] = field(default_factory=list)
    #: Groups that have become supergroups: id in the settings -> current id.
    moved: dict[int, int] = field(default_factory=dict)


class AccessControl:
    """Decides which updates are admitted. All of its state is in `state`, which the caller persists."""

    def __init__(
        self,
        roles: Mapping[int, Role],
        places: Sequence[ChatRef],
        rate_per_minute: int,
        session_ms: int | None,
        state: AccessState | None = None,
    ) -> None:
        self._roles = roles
        self._named = tuple(places)
        self._rate = rate_per_minute
        self._session_ms = session_ms
        self.state = state or AccessState()
        self._recent: dict[int, list[int]] = {}
        self._helped: dict[int, list[int]] = {}
        self._said: dict[tuple[int | None, Access], int] = {}
        self._audited: dict[int | None, list[int]] = {}

    def role(self, person: int | None) -> Role:
        """Return the role of a person; STRANGER if there is no person."""
        return Role.STRANGER if person is None else self._roles.get(person, Role.STRANGER)

    def people(self, least: Role) -> list[int]:
        """Return the people who have at least this role."""
        return [person for person, role in self._roles.items() if role >= least]

    def judge(self, seen: IncomingUpdate, now_ms: int) -> Decision:
        """Return the verdict on an update received at `now_ms` (wall clock)."""
        role = self.role(seen.person)
        if role is Role.STRANGER:
            return self._stranger(seen, now_ms)
        if seen.kind not in (Kind.MESSAGE, Kind.BUTTON):
            return self._refused(seen, role, Access.WRONG_KIND, now_ms)
        if not self._right_place(seen):
            return self._refused(seen, role, Access.WRONG_PLACE, now_ms)
        if seen.person is not None and self.state.locked_until.get(seen.person, 0) > now_ms:
            return self._refused(seen, role, Access.LOCKED, now_ms, "Locked after wrong access codes. Try again later.")
        if not self._in_rate(seen, now_ms):
            return self._refused(seen, role, Access.TOO_OFTEN, now_ms, "Too many messages. Wait a minute.")
        if seen.sent_at is not None and now_ms - _ms(seen.sent_at) > AGE_LIMIT_MS:
            # only a known command is echoed: anything else could contain the access code
            what = f"{seen.text[:80]} " if seen.command in BY_NAME else "This "
            said = f"{what}was sent more than a minute ago and was not run. Send it again if you still want it."
            return Decision(Access.EXPIRED, role, said)
        if self._session_ms is not None and not self._has_session(seen, now_ms) and seen.command not in BEFORE_LOGIN:
            return Decision(Access.CODE_NEEDED, role, "Send your access code first: /login CODE")
        return Decision(Access.ADMITTED, role)

    def code_was_right(self, person: int, now_ms: int) -> None:
        """Open a session."""
        self.state.sessions[person] = now_ms + (self._session_ms or 0)
        self.state.wrong_codes.pop(person, None)

    def code_was_wrong(self, person: int, now_ms: int) -> bool:
        """Count a wrong code; True if it locks the person out."""
        wrong = self.state.wrong_codes.get(person, 0) + 1
        self.state.wrong_codes[person] = wrong
        if wrong < CODE_TRIES:
            return False
        self.state.wrong_codes.pop(person)
        self.state.sessions.pop(person, None)
        self.state.locked_until[person] = now_ms + LOCK_MS
        return True

    def log_out(self, person: int) -> None:
        """End a session."""
        self.state.sessions.pop(person, None)

    def session_ends_ms(self, person: int) -> int | None:
        """When a person's session ends; None without a session or if no access code is required."""
        return self.state.sessions.get(person)

    def _stranger(self, seen: IncomingUpdate, now_ms: int) -> Decision:
        new = seen.person is not None and seen.person not in self.state.strangers
        if new and seen.person is not None:
            self.state.strangers = [*self.state.strangers, seen.person][-STRANGERS_KEPT:]
        to_audit = self._in_audit(seen.person, AUDITED_PER_MINUTE, now_ms)
        to_audit = to_audit and self._in_audit(None, STRANGERS_AUDITED_PER_MINUTE, now_ms)
        return Decision(Access.STRANGER, Role.STRANGER, new_stranger=new, to_audit=to_audit)

    def _refused(self, seen: IncomingUpdate, role: Role, verdict: Access, now_ms: int, said: str = "") -> Decision:
        first = self._once_a_minute(seen.person, verdict, now_ms)
        to_audit = self._in_audit(seen.person, AUDITED_PER_MINUTE, now_ms)
        return Decision(verdict, role, said if first else "", to_audit=to_audit)

    def _in_audit(self, who: int | None, most: int, now_ms: int) -> bool:
        """Whether another refusal of `who` (None for all strangers) is still written to the audit log."""
        if len(self._audited) > STRANGERS_KEPT:
            self._audited = {None: self._audited.get(None, [])}
        return _counted(self._audited, who, most, now_ms)

    def _once_a_minute(self, person: int | None, verdict: Access, now_ms: int) -> bool:
        if now_ms - self._said.get((person, verdict), -MINUTE_MS) < MINUTE_MS:
            return False
        if len(self._said) > STRANGERS_KEPT:
            self._said.clear()
        self._said[person, verdict] = now_ms
        return True

    def _right_place(self, seen: IncomingUpdate) -> bool:
        if seen.place is None or seen.person is None:
            return False
        if seen.private:
            return seen.place.chat == seen.person
        places = self._places
        return seen.place in places or ChatRef(seen.place.chat) in places

    @property
    def _places(self) -> set[ChatRef]:
        """The places in the settings, with the current ids of those that moved."""
        moved = self.state.moved
        return {
            *self._named,
            *(ChatRef(moved[place.chat], place.topic) for place in self._named if place.chat in moved),
        }

    def moved(self, old: int, new: int) -> bool:
        """Record that a group has a new id; True if the group is in the settings and the move was not known."""
        origin = next((first for first, now in self.state.moved.items() if now == old), old)
        if all(place.chat != origin for place in self._named) or self.state.moved.get(origin) == new:
            return False
        self.state.moved[origin] = new
        return True

    def audits_strangers(self, now_ms: int) -> bool:
        """Whether one more audit row may be written for an update from an unknown sender."""
        return self._in_audit(None, STRANGERS_AUDITED_PER_MINUTE, now_ms)

    def _in_rate(self, seen: IncomingUpdate, now_ms: int) -> bool:
        if seen.person is None:
            return False
        # anyone with a role can always request a panic and confirm it: these have a separate allowance
        helps = seen.command == "panic" or (seen.kind is Kind.BUTTON and seen.text.startswith("c|"))
        return _counted(self._helped if helps else self._recent, seen.person, self._rate, now_ms)

    def _has_session(self, seen: IncomingUpdate, now_ms: int) -> bool:
        return seen.person is not None and self.state.sessions.get(seen.person, 0) > now_ms


def _counted(moments: dict[Any, list[int]], who: int | None, most: int, now_ms: int) -> bool:
    """Count one more from `who` within a minute; False, without counting, if there are already `most`."""
    recent = [moment for moment in moments.get(who, []) if now_ms - moment < MINUTE_MS]
    within = len(recent) < most
    moments[who] = [*recent, now_ms] if within else recent
    return within


def _ms(moment: datetime) -> int:
    return ms_of(moment)

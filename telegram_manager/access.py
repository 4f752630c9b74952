"""The one gate: every update of every kind passes here, and what does not pass does nothing.

| verdict | when | answer |
|---|---|---|
| stranger | the person is not named in the settings, or nobody stands behind the update | none; the admins get one alert |
| wrong kind | neither a message nor a button: edited, inline, channel posts ... | none |
| wrong place | a group or topic that is not named | none |
| too often | more than the rate | one sentence a minute |
| expired | a message older than a minute | one sentence |
| locked | too many wrong access codes | one sentence a minute |
| code needed | an access code is set and there is no session | one sentence |
| admitted | all else | |
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
#: What a person without a session may ask.
BEFORE_LOGIN = ("login", "whoami", "help", "start")
#: Strangers that are remembered, so that each raises one alert.
STRANGERS_KEPT = 1_000
#: Refusals that become rows of the audit, a minute: of one person, and of all strangers together. A flood must not fill the disk.
AUDITED_PER_MINUTE, STRANGERS_AUDITED_PER_MINUTE = 30, 120


class Access(StrEnum):
    """What the gate says of an update."""

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
    """The verdict on one update, the person's role, and what to answer (nothing when empty)."""

    verdict: Access
    role: Role
    answer: str = ""
    #: True for the first update of a stranger: the admins are told.
    new_stranger: bool = False
    #: False where the audit would be flooded by refusals.
    to_audit: bool = True


@dataclass(slots=True)
class AccessState:
    """What the gate must remember over a restart. Times are wall-clock milliseconds."""

    sessions: dict[int, int] = field(default_factory=dict)
    wrong_codes: dict[int, int] = field(default_factory=dict)
    locked_until: dict[int, int] = field(default_factory=dict)
    strangers: list[int] = field(default_factory=list)
    #: Groups that have become supergroups: the id of the settings, and the one they have now.
    moved: dict[int, int] = field(default_factory=dict)


class AccessControl:
    """Judges updates. All of its state is in `state`; the caller keeps that."""

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
        """The role of a person; a stranger when there is none."""
        return Role.STRANGER if person is None else self._roles.get(person, Role.STRANGER)

    def people(self, least: Role) -> list[int]:
        """Who has at least this role."""
        return [person for person, role in self._roles.items() if role >= least]

    def judge(self, seen: IncomingUpdate, now_ms: int) -> Decision:
        """The verdict on an update that was received at `now_ms`, wall clock."""
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
            # only a command of the table is said again: anything else could hold the access code
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
        """Count a wrong code; True when the person is locked out by it."""
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
        """When the session of a person ends; None without one, or where no code is asked for."""
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
        """Whether another refusal of `who` (None for all strangers) still becomes a row."""
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
        """The places of the settings, and where those that moved are now."""
        moved = self.state.moved
        return {
            *self._named,
            *(ChatRef(moved[place.chat], place.topic) for place in self._named if place.chat in moved),
        }

    def moved(self, old: int, new: int) -> bool:
        """Take note that a group has a new id; True when it is one of the settings and this is news."""
        origin = next((first for first, now in self.state.moved.items() if now == old), old)
        if all(place.chat != origin for place in self._named) or self.state.moved.get(origin) == new:
            return False
        self.state.moved[origin] = new
        return True

    def audits_strangers(self, now_ms: int) -> bool:
        """Whether one more row of the audit may be written for what nobody that is known has sent."""
        return self._in_audit(None, STRANGERS_AUDITED_PER_MINUTE, now_ms)

    def _in_rate(self, seen: IncomingUpdate, now_ms: int) -> bool:
        if seen.person is None:
            return False
        # whoever has a role can always call for help, and confirm it: those have an allowance of their own
        helps = seen.command == "panic" or (seen.kind is Kind.BUTTON and seen.text.startswith("c|"))
        return _counted(self._helped if helps else self._recent, seen.person, self._rate, now_ms)

    def _has_session(self, seen: IncomingUpdate, now_ms: int) -> bool:
        return seen.person is not None and self.state.sessions.get(seen.person, 0) > now_ms


def _counted(moments: dict[Any, list[int]], who: int | None, most: int, now_ms: int) -> bool:
    """Count one more of `who` within a minute; False, uncounted, where there are `most` already."""
    recent = [moment for moment in moments.get(who, []) if now_ms - moment < MINUTE_MS]
    within = len(recent) < most
    moments[who] = [*recent, now_ms] if within else recent
    return within


def _ms(moment: datetime) -> int:
    return ms_of(moment)

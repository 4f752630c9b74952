"""A Telegram update, decoded from JSON and reduced to what the command centre uses.

Only the fields that are used are read, so that a new kind of update or a missing field breaks nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from alpha.errors import Rejected
from operations.arguments import one_word
from operations.storable import storable
from telegram_manager.chat_ref import ChatRef

#: The kinds of update requested from Telegram. An edited message may hold an access code that must be deleted.
ASKED_FOR = ("message", "edited_message", "callback_query")
#: Telegram's ids have at most 52 significant bits; its dates are seconds since 1970.
_Id = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
_Date = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]
_TEXT_KEPT = 8_192
#: Commands that nothing else may delay.
URGENT = ("panic", "flatten", "stop", "cancel")


class Unreadable(Rejected):
    """An update that lacks a required field or has one of the wrong type. `number` is its id, if known."""

    def __init__(self, number: int | None, fault: str) -> None:
        super().__init__(f"The update cannot be read: {fault}.")
        self.number = number


class Kind(StrEnum):
    """The kind of an update. Only messages and buttons are ever answered."""

    MESSAGE = "message"
    BUTTON = "button"
    EDITED = "edited message"
    OTHER = "other"


class _Chat(msgspec.Struct):
    id: _Id
    type: str = ""


class _User(msgspec.Struct):
    id: _Id
    is_bot: bool = False
    first_name: str = ""
    last_name: str | None = None
    username: str | None = None


class _Answered(msgspec.Struct):
    sender: _User | None = msgspec.field(default=None, name="from")


class _Message(msgspec.Struct):
    message_id: _Id
    chat: _Chat
    date: _Date
    sender: _User | None = msgspec.field(default=None, name="from")
    sender_chat: _Chat | None = None
    text: str | None = None
    message_thread_id: _Id | None = None
    is_topic_message: bool = False
    reply_to_message: _Answered | None = None
    migrate_to_chat_id: _Id | None = None
    migrate_from_chat_id: _Id | None = None


class _Query(msgspec.Struct):
    id: str
    sender: _User = msgspec.field(name="from")
    message: _Message | None = None
    data: str = ""


@dataclass(frozen=True, slots=True)
class IncomingUpdate:
    """One update. `person` is None if no person is behind it (a channel, an anonymous admin).

    `to_bot` is True for what is addressed to the bot itself: everything in a private chat; in a group commands,
    replies to its messages and mentions. `moved` holds the old and the new id of a group that has become a
    supergroup. `received_ms` is the wall-clock time of arrival, by which age and confirmations are judged.
    """

    update_id: int
    kind: Kind
    person: int | None
    name: str
    place: ChatRef | None
    private: bool
    text: str = ""
    message_id: int | None = None
    sent_at: datetime | None = None
    button_id: str = ""
    to_bot: bool = True
    moved: tuple[int, int] | None = None
    received_ms: int | None = None

    @property
    def command(self) -> str:
        """The command name of a message such as `/stop@alpha_bot lxalgo`, in lower case; empty if it has none."""
        if self.kind is not Kind.MESSAGE or not self.text.startswith("/"):
            return ""
        words = self.text[1:].split()
        return words[0].partition("@")[0].lower() if words else ""

    @property
    def is_urgent(self) -> bool:
        """Whether it closes or stops something, or answers a confirmation: nothing else may delay it."""
        if self.kind is Kind.BUTTON:
            return self.text.startswith(("c|", *(f"o|{name}|" for name in URGENT)))
        return self.command in URGENT

    @property
    def waits_for_nothing(self) -> bool:
        """Whether it is a panic or a single-use press: handling it twice after a restart would do no harm."""
        return self.command == "panic" or (self.kind is Kind.BUTTON and self.text.startswith(("c|", "o|panic|")))

    @property
    def holds_code(self) -> bool:
        """Whether it is or was a message with an access code, whether sent or edited in."""
        words = self.text.split()
        return (
            self.kind in (Kind.MESSAGE, Kind.EDITED) and bool(words) and words[0].partition("@")[0].lower() == "/login"
        )

    @property
    def addressed_to(self) -> str:
        """The bot's name after the command's `@`, in lower case; empty without one."""
        words = self.text.split()
        return words[0].partition("@")[2].lower() if words and self.text.startswith("/") else ""


def number_of(raw: object) -> int | None:
    """The id of an update; None without a valid one."""
    number = raw.get("update_id") if isinstance(raw, Mapping) else None
    return number if type(number) is int and 0 <= number < 2**53 else None


def read_update(raw: object, bot_id: int = 0, bot_name: str = "") -> IncomingUpdate:
    """Decode an update for the bot with this id and name. Raises Unreadable, and nothing else."""
    number = number_of(raw)
    if not isinstance(raw, Mapping) or number is None:
        raise Unreadable(number, "it has no update_id")
    try:
        return _read(number, raw, bot_id, bot_name.lower())
    except (ValueError, TypeError, OverflowError, RecursionError) as fault:
        # msgspec's error is a ValueError, and so is the error for invalid text
        raise Unreadable(number, storable(str(fault), 200)) from None


def _read(number: int, raw: Mapping[str, Any], bot_id: int, bot_name: str) -> IncomingUpdate:
    if raw.get("message") is not None:
        return _of(number, Kind.MESSAGE, msgspec.convert(raw["message"], _Message), bot_id, bot_name)
    if raw.get("callback_query") is not None:
        return _press(number, msgspec.convert(raw["callback_query"], _Query))
    if raw.get("edited_message") is not None:
        return _of(number, Kind.EDITED, msgspec.convert(raw["edited_message"], _Message), bot_id, bot_name)
    person, name = _somebody(raw)
    return IncomingUpdate(number, Kind.OTHER, person, name, None, private=False)


def _press(number: int, query: _Query) -> IncomingUpdate:
    person, name = _who(query.sender)
    message = query.message
    if message is None or message.date == 0:
        # the message with the button is too old for Telegram to include it
        return IncomingUpdate(number, Kind.OTHER, person, name, None, private=False, button_id=query.id)
    return IncomingUpdate(
        update_id=number,
        kind=Kind.BUTTON,
        person=person,
        name=name,
        place=_place(message),
        private=message.chat.type == "private",
        text=storable(query.data, 256),
        message_id=message.message_id,
        button_id=storable(query.id, 256),
    )


def _of(number: int, kind: Kind, message: _Message, bot_id: int, bot_name: str) -> IncomingUpdate:
    person, name = _who(message.sender)
    if message.sender_chat is not None:
        # an anonymous admin or a channel posts as the group: no person is accountable
        person = None
    text = one_word(storable(message.text or "", _TEXT_KEPT))
    private = message.chat.type == "private"
    answered = message.reply_to_message.sender if message.reply_to_message is not None else None
    replies = answered is not None and answered.id == bot_id
    mentions = bool(bot_name) and f"@{bot_name}" in {word.strip(".,:;!?()").lower() for word in text.split()}
    moved = None
    if message.migrate_to_chat_id is not None:
        moved = (message.chat.id, message.migrate_to_chat_id)
    elif message.migrate_from_chat_id is not None:
        moved = (message.migrate_from_chat_id, message.chat.id)
    return IncomingUpdate(
        update_id=number,
        kind=kind,
        person=person,
        name=name,
        place=_place(message),
        private=private,
        text=text,
        message_id=message.message_id,
        sent_at=datetime.fromtimestamp(message.date, UTC),
        to_bot=private or text.startswith("/") or replies or mentions,
        moved=moved,
    )


def _place(message: _Message) -> ChatRef:
    return ChatRef(message.chat.id, message.message_thread_id if message.is_topic_message else None)


def _who(user: _User | None) -> tuple[int | None, str]:
    if user is None:
        return None, ""
    full = f"{user.first_name} {user.last_name or ''}".strip()
    name = storable(f"@{user.username}" if user.username else full, 64)
    return (None if user.is_bot else user.id), name


def _somebody(raw: Mapping[str, Any]) -> tuple[int | None, str]:
    """The person behind an update of an unused kind, as far as it names one."""
    for name, payload in raw.items():
        if name == "update_id" or not isinstance(payload, Mapping):
            continue
        for field in ("from", "user"):
            try:
                return _who(msgspec.convert(payload[field], _User))
            except (KeyError, ValueError):
                continue
    return None, ""

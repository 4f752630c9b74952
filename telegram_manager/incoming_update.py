"""An update of Telegram, reduced to what the command centre looks at."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from telegram import Message, Update

from telegram_manager.chat_ref import ChatRef


class Kind(StrEnum):
    """What came. Only messages and buttons are ever answered."""

    MESSAGE = "message"
    BUTTON = "button"
    EDITED = "edited message"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class IncomingUpdate:
    """One update. `person` is None where no person stands behind it (a channel, an anonymous admin)."""

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

    @property
    def command(self) -> str:
        """The command's name of a message such as `/stop@alpha_bot lxalgo`, in small letters; empty when it is none."""
        if self.kind is not Kind.MESSAGE or not self.text.startswith("/"):
            return ""
        words = self.text[1:].split()
        return words[0].partition("@")[0].lower() if words else ""

    @property
    def holds_code(self) -> bool:
        """Whether it is, or once was, a message with an access code: sent, or edited into one."""
        words = self.text.split()
        return (
            self.kind in (Kind.MESSAGE, Kind.EDITED) and bool(words) and words[0].partition("@")[0].lower() == "/login"
        )

    @property
    def addressed_to(self) -> str:
        """The bot's name after the command's `@`, in small letters; empty when there is none."""
        words = self.text.split()
        return words[0].partition("@")[2].lower() if words and self.text.startswith("/") else ""


def read_update(update: Update) -> IncomingUpdate:
    """What matters of an update. It never fails: what is not understood is `OTHER`."""
    user = update.effective_user
    person = None if user is None or user.is_bot else user.id
    name = "" if user is None else (f"@{user.username}" if user.username else user.full_name or "")[:64]
    if update.message is not None:
        message = update.message
        if message.sender_chat is not None:
            # an anonymous admin or a channel speaks through a group: nobody to hold to account
            person = None
        return _of(update.update_id, Kind.MESSAGE, person, name, message, message.text or "", message.date)
    query = update.callback_query
    if query is not None:
        shown = query.message if isinstance(query.message, Message) else None
        if shown is None:
            return IncomingUpdate(update.update_id, Kind.OTHER, person, name, None, private=False, button_id=query.id)
        return _of(update.update_id, Kind.BUTTON, person, name, shown, query.data or "", None, query.id)
    edited = update.edited_message
    if edited is not None:
        return _of(update.update_id, Kind.EDITED, person, name, edited, edited.text or "", edited.date)
    chat = update.effective_chat
    place = None if chat is None else ChatRef(chat.id)
    return IncomingUpdate(update.update_id, Kind.OTHER, person, name, place, private=False)


def _of(
    update_id: int,
    kind: Kind,
    person: int | None,
    name: str,
    message: Message,
    text: str,
    sent_at: datetime | None,
    button_id: str = "",
) -> IncomingUpdate:
    topic = message.message_thread_id if message.is_topic_message else None
    return IncomingUpdate(
        update_id=update_id,
        kind=kind,
        person=person,
        name=name,
        place=ChatRef(message.chat.id, topic),
        private=message.chat.type == "private",
        text=text,
        message_id=message.message_id,
        sent_at=sent_at,
        button_id=button_id,
    )

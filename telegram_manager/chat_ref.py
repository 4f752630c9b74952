"""A chat, or one topic of a group with topics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChatRef:
    """A chat and, if it has topics, one of them."""

    chat: int
    topic: int | None = None

    @classmethod
    def parse(cls, text: str) -> "ChatRef":
        """Parse `-1001234567890` or `-1001234567890:7`; ValueError otherwise."""
        chat, _, topic = text.partition(":")
        try:
            return cls(int(chat), int(topic) if topic else None)
        except ValueError:
            raise ValueError(
                f"{text!r} is not a group. Write its id, or id:topic (example: -1001234567890:7)"
            ) from None

    def __str__(self) -> str:
        return str(self.chat) if self.topic is None else f"{self.chat}:{self.topic}"

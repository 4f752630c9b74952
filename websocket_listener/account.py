"""Which account a bot's key belongs to."""

from dataclasses import dataclass

from alpha.config.exchange import Environment


@dataclass(frozen=True, slots=True)
class Account:
    """One bot's account: our number for it, the bot, and Bybit's own name of it."""

    id: int
    bot_id: str
    environment: Environment
    user_id: str

    def __str__(self) -> str:
        return f"{self.environment}:{self.user_id}"

"""Which account: the environment it lives in, the exchange's own name of it, and our number for it."""

from dataclasses import dataclass
from enum import StrEnum


class Environment(StrEnum):
    """Where an account lives. Accounts of different environments never mix."""

    LIVE = "live"
    DEMO = "demo"
    TESTNET = "testnet"
    SIMULATED = "simulated"


@dataclass(frozen=True, slots=True)
class Account:
    """One bot's account. As text, in order ids and Redis: environment and user id."""

    id: int
    bot_id: str
    environment: Environment
    user_id: str

    def __str__(self) -> str:
        return account_text(self.environment, self.user_id)


def account_text(environment: Environment, user_id: str) -> str:
    """The exchange's name of an account, unique over environments."""
    return f"{environment}:{user_id}"

"""Builds and parses the `orderLinkId` of every order that Alpha sends.

Form: `<bot tag>-<reason code>-<base-36 digest>`, at most 36 of `A-Za-z0-9_-`. The digest is of account,
symbol, bar time, intent and attempt: the same intent always gives the same id, so the exchange
itself refuses a duplicate.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from alpha.model.reason import BY_CODE, CODES, Reason

GUARD_TAG = "g"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_DIGEST_LENGTH = 24
_FORM = re.compile(r"(?P<tag>[a-z]{1,3})-(?P<code>[a-z]{2})-(?P<digest>[0-9a-z]{24})")


@dataclass(frozen=True, slots=True)
class OrderLink:
    """The contents of an order id: the sender's tag and the reason for the order."""

    tag: str
    reason: Reason


def order_link_id(
    tag: str, reason: Reason, *, account: str, symbol: str, bar_ms: int, intent: str, attempt: int = 1
) -> str:
    """The id of the order for one intent.

    `account` names the account ("demo:123"), `bar_ms` the start of the deciding bar, `intent` what was
    decided ("enter", "exit", ...), `attempt` counts deliberate retries from 1. Raises ValueError for a reason that
    no order of Alpha can have.
    """
    if reason not in CODES:
        raise ValueError(f"{reason} is a reason only for the exchange's own orders")
    return _compose(tag, reason, "\x1f".join((account, symbol, str(bar_ms), intent, str(attempt))))


def guard_order_link_id(reason: Reason, *, account: str, symbol: str, command_id: str, attempt: int) -> str:
    """The id of a guard's order; it hashes the id of the command being executed."""
    return _compose(GUARD_TAG, reason, "\x1f".join(("guard", account, symbol, command_id, str(attempt))))


@lru_cache(maxsize=4_096)
def parse_order_link_id(text: str) -> OrderLink | None:
    """The contents of `text`; None if not in Alpha's form. Cached: an id recurs with its order and each fill."""
    match = _FORM.fullmatch(text)
    reason = BY_CODE.get(match["code"]) if match else None
    return OrderLink(match["tag"], reason) if match and reason else None


def _compose(tag: str, reason: Reason, material: str) -> str:
    number = int.from_bytes(hashlib.sha256(material.encode()).digest())
    digits: list[str] = []
    for _ in range(_DIGEST_LENGTH):
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return f"{tag}-{CODES[reason]}-{''.join(digits)}"

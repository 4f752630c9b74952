"""From votes to a rating between -1 (all sell) and 1 (all buy)."""

from collections.abc import Iterable
from enum import StrEnum


class Label(StrEnum):
    """A rating in a word."""

    STRONG_SELL = "strong sell"
    SELL = "sell"
    NEUTRAL = "neutral"
    BUY = "buy"
    STRONG_BUY = "strong buy"


def label_of(rating: float | None) -> Label | None:
    """The word for a rating: strong beyond 0.5, neutral from -0.1 to 0.1; None where there is none."""
    if rating is None:
        return None
    if abs(rating) <= 0.1:
        return Label.NEUTRAL
    if rating > 0:
        return Label.STRONG_BUY if rating > 0.5 else Label.BUY
    return Label.STRONG_SELL if rating < -0.5 else Label.SELL


def share(votes: Iterable[int]) -> float | None:
    """(buys - sells) / votes; None without any vote."""
    cast = list(votes)
    return sum(cast) / len(cast) if cast else None


def combined(ratings: Iterable[float | None]) -> float | None:
    """The mean of those that exist: of the two halves of a timeframe's rating, and of all timeframes for the overall one."""
    known = [rating for rating in ratings if rating is not None]
    return sum(known) / len(known) if known else None

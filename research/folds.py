"""Walk-forward: train on one window, test on the next, with an embargo between; windows in UTC days."""

import re
from dataclasses import dataclass

from alpha.errors import Misconfigured

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Fold:
    """Trained on `train_from <= day < train_to`, tested on `test_from <= day < test_to`; UTC milliseconds at 00:00."""

    train_from_ms: int
    train_to_ms: int
    test_from_ms: int
    test_to_ms: int


@dataclass(frozen=True, slots=True)
class WalkForward:
    """Lengths in days; `anchored`: every training window starts with the data."""

    train_days: int
    test_days: int
    embargo_days: int = 0
    anchored: bool = False

    def folds(self, from_ms: int, to_ms: int) -> list[Fold]:
        """All whole folds of the range, oldest first; the last test window may be shorter, by up to half.

        Misconfigured when not one fits.
        """
        first = -(-from_ms // DAY_MS) * DAY_MS
        found: list[Fold] = []
        train_to = first + self.train_days * DAY_MS
        while True:
            test_from = train_to + self.embargo_days * DAY_MS
            test_to = min(test_from + self.test_days * DAY_MS, to_ms // DAY_MS * DAY_MS)
            if test_to - test_from < max(DAY_MS, self.test_days * DAY_MS // 2):
                break
            train_from = first if self.anchored else train_to - self.train_days * DAY_MS
            found.append(Fold(train_from, train_to, test_from, test_to))
            train_to += self.test_days * DAY_MS
        if not found:
            days = (to_ms - from_ms) // DAY_MS
            raise Misconfigured(
                f"{days} days are too few for a training window of {self.train_days} and a test of {self.test_days} days: "
                "choose shorter windows, or more data."
            )
        return found


def days_of(text: str, option: str) -> int:
    """ "180d" or "26w" as days. Misconfigured for anything else."""
    match = re.fullmatch(r"(\d{1,5})\s*([dw]?)", text.strip().lower())
    if match is None or (int(match[1]) == 0 and option != "--embargo"):
        raise Misconfigured(f"{option} must be a number of days such as 180d, or weeks such as 26w, got {text!r}.")
    return int(match[1]) * (7 if match[2] == "w" else 1)

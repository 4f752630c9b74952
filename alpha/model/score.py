"""The score of a model for one closed bar: a number, or the reason why there is none."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """`value` is None where there is no score; `why` then says why, in a few words. A Score without a value is false."""

    value: float | None = None
    why: str = ""

    def __bool__(self) -> bool:
        return self.value is not None

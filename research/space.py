"""The space of a sweep: which parameters vary, and the values that trial number n has.

Random, quasi-random and grid trials are functions of (seed, number) alone, so that any number of workers, in any order,
make the same study. A space file is TOML:

    [parameters]
    stop = { low = 0.05, high = 0.20, step = 0.01 }
    bands_period = { low = 10, high = 60 }
    btc_filter = [true, false]
"""

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

from alpha.errors import Misconfigured
from alpha.strategy.base import Parameters

_DIGITS = 6  # of a value from a range without a step
#: More values than this of one parameter, or numbers beyond these powers of ten, are a slip of the hand.
MOST_VALUES = 1_000_000
MOST_POWER = 12


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both are, on multiples of `step` from `low`."""

    low: Decimal
    high: Decimal
    step: Decimal | None = None
    log: bool = False

    @property
    def count(self) -> int | None:
        """How many values there are; None without a step."""
        return None if self.step is None else int((self.high - self.low) / self.step) + 1

    def at(self, share: float) -> str:
        """The value at a share of the range, 0 <= share < 1."""
        if self.step is not None:
            number = min(int(share * (self.count or 1)), (self.count or 1) - 1)
            return f"{self.low + number * self.step:f}"
        if self.log:
            low, high = math.log(float(self.low)), math.log(float(self.high))
            value = Decimal(repr(math.exp(low + share * (high - low))))
        else:
            value = self.low + Decimal(repr(share)) * (self.high - self.low)
        return self.nearest(float(value))

    def nearest(self, value: float) -> str:
        """The text of a number that a sampler chose."""
        if self.step is not None:
            number = min(max(round((value - float(self.low)) / float(self.step)), 0), (self.count or 1) - 1)
            return f"{self.low + number * self.step:f}"
        exact = Decimal(repr(value))
        digits = _DIGITS - 1 - exact.adjusted()
        return f"{exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN).normalize():f}"

    @property
    def size(self) -> int:
        """How many values a grid has of it. Misconfigured without a step."""
        if self.count is None:
            raise Misconfigured("A grid needs a step for every range.")
        return self.count

    def value(self, place: int) -> str:
        """The value at a place of the grid, `0 <= place < size`."""
        return f"{self.low + place * (self.step or 0):f}"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these values."""

    options: tuple[str, ...]

    def at(self, share: float) -> str:
        """The value at a share, 0 <= share < 1."""
        return self.options[min(int(share * len(self.options)), len(self.options) - 1)]

    @property
    def size(self) -> int:
        """How many values a grid has of it."""
        return len(self.options)

    def value(self, place: int) -> str:
        """The value at a place of the grid, `0 <= place < size`."""
        return self.options[place]


@dataclass(frozen=True, slots=True)
class Space:
    """Parameters that vary, by name, in alphabetical order. Values are texts, as `--set` takes them."""

    dimensions: Mapping[str, Range | Choice]

    def random(self, seed: int, number: int) -> dict[str, str]:
        """Trial `number`: each value from the SHA-256 of seed, number and name."""
        return {name: one.at(uniform(seed, number, name)) for name, one in self.dimensions.items()}

    def grid(self, number: int) -> dict[str, str]:
        """Trial `number` of the grid; the last parameter changes fastest."""
        found = {}
        for name, one in reversed(list(self.dimensions.items())):
            number, place = divmod(number, one.size)
            found[name] = one.value(place)
        return dict(sorted(found.items()))

    def quasi(self, seed: int, number: int) -> dict[str, str]:
        """Point `number` of a scrambled Sobol sequence (Owen 1995; Joe and Kuo 2008)."""
        from scipy.stats import qmc

        sobol = qmc.Sobol(len(self.dimensions), scramble=True, rng=seed).fast_forward(number)
        shares = sobol.random(1)[0].tolist()
        return {name: one.at(share) for (name, one), share in zip(self.dimensions.items(), shares, strict=True)}

    @property
    def size(self) -> int:
        """How many trials the grid has. Misconfigured where a range has no step."""
        return math.prod(one.size for one in self.dimensions.values())

    def as_json(self) -> dict[str, Any]:
        """For the study; `space_of` reads it back."""
        return {
            name: list(one.options)
            if isinstance(one, Choice)
            else {
                "low": str(one.low),
                "high": str(one.high),
                **({} if one.step is None else {"step": str(one.step)}),
                **({"log": True} if one.log else {}),
            }
            for name, one in self.dimensions.items()
        }


def uniform(seed: int, number: int, name: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}/{number}/{name}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


def read_space(path: Path, kind: type[Parameters]) -> Space:
    """The space of a TOML file; Misconfigured names a parameter that the strategy has not, or a range that is none."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise Misconfigured(f"{path} cannot be read as a space: {fault}.") from None
    return space_of(table.get("parameters", table), kind, str(path))


def space_of(table: Any, kind: type[Parameters], source: str = "The space") -> Space:
    """The space of a table; Misconfigured says what is wrong with it."""
    if not isinstance(table, dict) or not table:
        raise Misconfigured(f"{source} names no parameter: write [parameters] and one line for each.")
    found: dict[str, Range | Choice] = {}
    for name in sorted(table):
        if name not in kind.model_fields:
            known = ", ".join(kind.model_fields)
            raise Misconfigured(f"{source}: there is no parameter {name!r}. The parameters are: {known}.")
        found[name] = _dimension(table[name], f"{source}: {name}")
    return Space(found)


def _dimension(value: Any, source: str) -> Range | Choice:
    if isinstance(value, list):
        if not value:
            raise Misconfigured(f"{source} has no value to choose from.")
        if wrong := [one for one in value if isinstance(one, float) and not math.isfinite(one)]:
            raise Misconfigured(f"{source}: {wrong[0]} is no number: take it out of the list.")
        return Choice(tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in value))
    if not isinstance(value, dict) or not {"low", "high"} <= set(value):
        raise Misconfigured(f"{source} must be a list of values, or {{ low = ..., high = ... }}, got {value!r}.")
    if unknown := set(value) - {"low", "high", "step", "log"}:
        raise Misconfigured(f"{source} has {sorted(unknown)[0]!r}; it can have low, high, step and log.")
    try:
        low, high = Decimal(str(value["low"])), Decimal(str(value["high"]))
        step = Decimal(str(value["step"])) if "step" in value else None
    except ArithmeticError:
        raise Misconfigured(f"{source}: low, high and step must be numbers, got {value!r}.") from None
    for word, number in (("low", low), ("high", high), ("step", step)):
        _sound(number, f"{source}: {word}")
    whole = isinstance(value["low"], int) or str(value["low"]).lstrip("-").isdigit()
    whole = whole and (isinstance(value["high"], int) or str(value["high"]).lstrip("-").isdigit())
    if step is None and whole and not value.get("log"):
        step = Decimal(1)
    if not low < high or (step is not None and step <= 0):
        raise Misconfigured(f"{source}: low must be below high and step above zero, got {value!r}.")
    if value.get("log") and (low <= 0 or step is not None):
        given = f"low is {low}" if step is None else f"step is {step}"
        raise Misconfigured(f"{source}: a logarithmic range starts above zero and has no step, but {given}.")
    if step is not None and high - low >= MOST_VALUES * step:
        raise Misconfigured(
            f"{source}: from {low} to {high} in steps of {step} there are more than {MOST_VALUES:,} values: "
            "bring low and high closer together, or take a larger step."
        )
    return Range(low, high, step, bool(value.get("log")))


def _sound(number: Decimal | None, source: str) -> None:
    """Misconfigured for what is no number, and for one that no parameter can have."""
    if number is None:
        return
    if not number.is_finite():
        raise Misconfigured(f"{source} must be a number, got {number}.")
    if number and abs(number.adjusted()) > MOST_POWER:
        raise Misconfigured(
            f"{source} must be zero or between 1e-{MOST_POWER} and 1e{MOST_POWER} in size, got {str(number)[:40]}."
        )

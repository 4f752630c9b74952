"""What seeds came to, a line for every hundred in a file, so that a later run goes on where one has ended."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.simulation.run import Outcome


@dataclass(slots=True)
class Part:
    """Seeds that were played, and what they came to."""

    seeds: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    orders: int = 0
    takeovers: int = 0
    most_unprotected_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.seeds.append(outcome.seed)
        self.broken += [outcome.seed] if outcome.breaches else []
        self.orders += outcome.orders
        self.takeovers += outcome.takeovers
        self.most_unprotected_s = max(self.most_unprotected_s, outcome.most_unprotected_s)

    def text(self) -> str:
        """A line of figures."""
        return (
            f"{len(self.seeds)} seeds, {len(self.broken)} broken, {self.orders} orders, {self.takeovers} takeovers, "
            f"longest without a stop {self.most_unprotected_s:.1f} s"
        )


class Results:
    """All parts so far. `path` None keeps them in memory only."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._parts: list[Part] = []
        if path is not None and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            self._parts = [Part(**{**row, "seeds": _seeds(row["seeds"])}) for row in map(json.loads, lines)]

    def left(self, seeds: Iterable[int]) -> list[int]:
        """Those that were not played yet, or broke something when they were played last."""
        total = self.total()
        done = set(total.seeds) - set(total.broken)
        return [seed for seed in seeds if seed not in done]

    def keep(self, part: Part) -> None:
        """Keep it, at once."""
        self._parts.append(part)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**asdict(part), "seeds": _spans(part.seeds)}) + "\n")

    def total(self) -> Part:
        """Everything. A seed that was played again counts as it came out last."""
        total, broken = Part(), dict[int, bool]()
        for part in self._parts:
            broken |= {seed: seed in part.broken for seed in part.seeds}
            total.orders += part.orders
            total.takeovers += part.takeovers
            total.most_unprotected_s = max(total.most_unprotected_s, part.most_unprotected_s)
        total.seeds, total.broken = list(broken), [seed for seed, is_broken in broken.items() if is_broken]
        return total


def _spans(seeds: list[int]) -> list[list[int]]:
    """Consecutive seeds as [first, last]."""
    spans: list[list[int]] = []
    for seed in seeds:
        if spans and seed == spans[-1][1] + 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    return spans


def _seeds(spans: list[list[int]]) -> list[int]:
    return [seed for first, last in spans for seed in range(first, last + 1)]

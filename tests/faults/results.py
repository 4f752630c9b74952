"""What rounds came to, a line each in a file, so that a later run goes on where one has ended."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

#: What a finding begins with, when it breaks one of the promises that are counted.
KINDS = ("lost", "doubled", "wrong figures", "false synced", "fenced order")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a round. `faults` is empty when every guarantee held; each begins with its kind or is none of `KINDS`."""

    number: int
    name: str
    recovery_s: float
    executions: int
    altered: int
    faults: list[str]
    memory_mb: dict[str, int]
    #: Seconds of each part of the round.
    took_s: dict[str, float] = field(default_factory=dict)
    #: What differed last before the books agreed; empty when they agreed at once.
    agreed_last: str = ""

    @property
    def seconds(self) -> float:
        """How long all of it took."""
        return sum(self.took_s.values())


class Results:
    """The outcomes of one seed. `path` None keeps them in memory only."""

    def __init__(self, path: Path | None, seed: int) -> None:
        """Reads what is there: lines of another seed are left alone, of a round that was played again the last counts."""
        self._path = path
        self.seed = seed
        self.by_number: dict[int, Outcome] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                if row.pop("seed") == seed:
                    self.by_number[row["number"]] = Outcome(**row)

    def open_of(self, numbers: Sequence[int]) -> list[int]:
        """Those that were not played yet, or broke a promise."""
        return [number for number in numbers if number not in self.by_number or self.by_number[number].faults]

    def add(self, outcome: Outcome) -> None:
        """Keep it, at once."""
        self.by_number[outcome.number] = outcome
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"seed": self.seed, **asdict(outcome)}) + "\n")

    def summary(self) -> str:
        """One sentence over all rounds."""
        outcomes = list(self.by_number.values())
        if not outcomes:
            return "no rounds"
        faults = [fault for outcome in outcomes for fault in outcome.faults]
        counts = {kind: sum(fault.startswith(f"{kind}: ") for fault in faults) for kind in KINDS}
        counts["other"] = len(faults) - sum(counts.values())
        recoveries = sorted(outcome.recovery_s for outcome in outcomes)
        broken = sum(bool(outcome.faults) for outcome in outcomes)
        return (
            f"{len(outcomes)} rounds of seed {self.seed}, {sum(outcome.executions for outcome in outcomes)} orders, {broken} broken ("
            + ", ".join(f"{kind} {count}" for kind, count in counts.items())
            + f"); recovery median {recoveries[len(recoveries) // 2]:.1f} s, longest {recoveries[-1]:.1f} s; "
            f"{sum(outcome.seconds for outcome in outcomes) / len(outcomes):.1f} s a round"
        )

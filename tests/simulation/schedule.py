"""What is done to the system: a list of disturbances drawn from a seed, which can be shortened."""

import random
from dataclasses import dataclass

#: Disturbances end here; the rest of a run is calm, so that everything can come to rest.
CALM_FROM_S = 45.0
END_S = 62.0

#: Kinds that strike a process, those that strike a store or the network, and what the market does.
STRIKES = ("crash", "freeze", "stop")
OUTAGES = (
    *("postgres fails", "postgres hangs", "postgres full", "redis fails", "redis hangs"),
    *(
        "requests lost",
        "answers lost",
        "exchange busy",
        "pushes lost",
        "pushes doubled",
        "slow",
        "refused",
        "streams stall",
    ),
)
MOMENTS = (
    *("redis flushed", "streams cut", "second instance", "wall clock steps"),
    *("stop removed", "stop removed", "stop hit", "stop hit"),
)
ROLES = ("bot", "listener", "guard")


@dataclass(frozen=True)
class Disturbance:
    """One of them: at what time, what, to whom, for how long."""

    number: int
    at_s: float
    kind: str
    role: str = ""
    for_s: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        length = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"[{self.number}] {self.at_s:5.1f} s: {self.kind}{f' {self.role}' if self.role else ''}{length}"


#: A bar closes every so often, and the bot sends its orders within this time after it.
BAR_S = 5.0
_BATCH_S = 1.2


def disturbances(seed: int) -> list[Disturbance]:
    """Those of this seed, by time."""
    draw = random.Random(f"schedule {seed}")
    found = [_one(draw, number) for number in range(draw.randint(2, 8))]
    return sorted(found, key=lambda one: one.at_s)


def _one(draw: random.Random, number: int) -> Disturbance:
    at_s = draw.uniform(1.0, CALM_FROM_S - 2.0)
    group = draw.random()
    if group < 0.45:
        kind, role = draw.choice(STRIKES), draw.choices(ROLES, (6, 2, 2))[0]
        if role == "bot" and draw.random() < 0.7:
            # In the middle of a batch of orders most can go wrong.
            at_s = at_s // BAR_S * BAR_S + draw.uniform(0.0, _BATCH_S)
        for_s = draw.uniform(0.2, 3.0)
        if kind == "freeze":
            for_s = draw.choice((0.3, draw.uniform(1.0, 4.0), draw.uniform(4.0, 9.0), draw.uniform(5.0, 30.0)))
        return Disturbance(number, at_s, kind, role, min(for_s, CALM_FROM_S - at_s))
    if group < 0.75:
        for_s = min(draw.uniform(0.5, 20.0), CALM_FROM_S - at_s)
        return Disturbance(number, at_s, draw.choice(OUTAGES), "", for_s, draw.uniform(0.05, 0.9))
    return Disturbance(number, at_s, draw.choice(MOMENTS), "", 0.0, draw.uniform(-1.0, 1.0))

"""What is done to the system: a list of disturbances drawn from a seed, which can be shortened."""

import random
from dataclasses import dataclass

#: Most runs are disturbed this long, one in twenty longer; what follows is calm, so that everything can come to rest.
SHORT_S, LONG_S = 10.0, 45.0
LONG_EVERY = 20
#: A run lasts so long at least after its last disturbance.
CALM_S = 1.5

#: Kinds that strike a process, those that strike a store or the network, and what the market does.
STRIKES = ("crash", "freeze", "stop")
OUTAGES = (
    *("postgres fails", "postgres hangs", "postgres full", "postgres restored", "redis fails", "redis hangs"),
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
BAR_S = 2.0
_BATCH_S = 1.2


def calm_from_s(seed: int) -> float:
    """When the disturbances of this seed have ended."""
    return LONG_S if seed % LONG_EVERY == 0 else SHORT_S


def disturbances(seed: int) -> list[Disturbance]:
    """Those of this seed, by time."""
    draw, calm_s = random.Random(f"schedule {seed}"), calm_from_s(seed)
    most = 8 if calm_s == LONG_S else 4
    found = [_one(draw, number, calm_s) for number in range(draw.randint(1, most))]
    return sorted(found, key=lambda one: one.at_s)


def _one(draw: random.Random, number: int, calm_s: float) -> Disturbance:
    # Mostly not before there is anything to lose: a bot that is struck at its start opens nothing for a while.
    at_s = draw.uniform(1.0 if draw.random() < 0.15 else 2.5, calm_s - 1.0)
    group = draw.random()
    if group < 0.45:
        kind, role = draw.choice(STRIKES), draw.choices(ROLES, (6, 2, 2))[0]
        if role == "bot" and draw.random() < 0.7:
            # In the middle of a batch of orders most can go wrong.
            at_s = at_s // BAR_S * BAR_S + draw.uniform(0.0, _BATCH_S)
        for_s = draw.uniform(0.2, 3.0)
        if kind == "freeze":
            for_s = draw.choice((0.3, draw.uniform(1.0, 4.0), draw.uniform(4.0, 9.0), draw.uniform(5.0, 30.0)))
        return Disturbance(number, at_s, kind, role, min(for_s, calm_s - at_s))
    if group < 0.75:
        for_s = min(draw.uniform(0.5, 20.0), calm_s - at_s)
        return Disturbance(number, at_s, draw.choice(OUTAGES), "", for_s, draw.uniform(0.05, 0.9))
    return Disturbance(number, at_s, draw.choice(MOMENTS), "", 0.0, draw.uniform(-1.0, 1.0))

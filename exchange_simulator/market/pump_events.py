"""Pumps, dumps and flash crashes: moves of about an hour that stand out from the random walk.

Each is a shape in log price that starts and ends at zero, so it leaves no trace afterwards. Altcoins pump once in six
days, on a day that a shuffle of the six assigns by the coin's group: with 20 or more altcoins, some pump every day.
Majors never do. Every symbol dumps occasionally, and the whole market crashes and recovers a few times per year.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange_simulator.market.catalogue import TABLE, Known, digest
from exchange_simulator.market.random_walk import Floats, generator

CELL_DAYS = 6
DAY_MINUTES = 1440
_ALTS = [name for name, row in TABLE.items() if not row.major]


class Surge(NamedTuple):
    """A move of `peak` (log) that starts at `start` (minutes since the epoch) and ends after `rise + decay` minutes.

    A second leg of `more` follows `pause` minutes after the first peak and takes `leg` minutes. The peak then decays as
    (1 - elapsed fraction of the decay time) ** power.
    """

    start: int
    rise: int
    peak: float
    decay: int
    power: float
    more: float = 0.0
    pause: int = 0
    leg: int = 1
    seed: int = 0

    def shape(self, minutes: NDArray[np.int64]) -> Floats:
        """Log price added in these minutes."""
        after = (minutes - self.start).astype(np.float64)
        up = self.peak * np.interp(after, np.arange(self.rise + 1), _stairs(self.seed, self.rise))
        if self.more:
            up += self.more * _smoothstep((after - self.rise - self.pause) / self.leg)
        return up * (1 - np.clip((after - self.rise) / self.decay, 0, 1)) ** self.power

    def heat(self, minutes: NDArray[np.int64]) -> Floats:
        """Additional trading activity in these minutes: 1 at the peak, 0 before the surge and long after it."""
        after = (minutes - self.start).astype(np.float64)
        cooling = np.exp(-np.clip(after - self.rise, 0, None) / 120)
        return np.clip(after / self.rise * 2, 0, 1) * cooling * min(1.0, abs(self.peak) / 0.1)

    @property
    def end(self) -> int:
        """The first minute at which the shape is zero again."""
        return self.start + self.rise + self.decay


def around(seed: int, known: Known | None, day: int) -> list[Surge]:
    """The surges of a symbol (None: of the whole market) that are active during a day."""
    cell = day // CELL_DAYS
    name = known.symbol if known else "market"
    pumps = known is not None and not known.major
    first, last = day * DAY_MINUTES, (day + 1) * DAY_MINUTES
    found = [*_cell(seed, name, pumps, cell - 1), *_cell(seed, name, pumps, cell)]
    return [surge for surge in found if surge.start <= last and surge.end >= first]


@lru_cache(maxsize=4096)
def _cell(seed: int, name: str, pumps: bool, cell: int) -> tuple[Surge, ...]:
    rng = generator(seed, name, "surges", cell)
    surges = []
    if pumps:
        group = _ALTS.index(name) if name in TABLE else digest("group", name)
        day = int(generator(seed, "pump days", cell).permutation(CELL_DAYS)[group % CELL_DAYS])
        surges.append(_pump(rng, (cell * CELL_DAYS + day) * DAY_MINUTES + int(rng.integers(0, 1380))))
    if rng.random() < (0.3 if name != "market" else 0.25):
        surges.append(_dump(rng, cell * CELL_DAYS * DAY_MINUTES, 0.12 if pumps else 0.05))
    return tuple(surges)


def _pump(rng: np.random.Generator, start: int) -> Surge:
    size, kind, length, more = rng.random(4)
    rise = int(rng.integers(25, 50))
    peak = 0.035 + 0.15 * size if size < 0.2 else 0.085 + 0.13 * (size - 0.2) ** 2
    if kind < 0.40:  # gives most of it back the same day
        return Surge(start, rise, peak, 300 + int(length * 420), 2.2, seed=start)
    if kind < 0.72:  # holds, then declines over days
        return Surge(start, rise, peak, 4000 + int(length * 2600), 1.3, seed=start)
    return Surge(
        start, rise, peak, 5000 + int(length * 2200), 1.5, 0.08 + 0.26 * more, 40, 180 + int(length * 500), start
    )


def _dump(rng: np.random.Generator, first_minute: int, most: float) -> Surge:
    at, size, length = rng.random(3)
    start = first_minute + int(at * (CELL_DAYS * DAY_MINUTES - 1500))
    return Surge(
        start, int(rng.integers(15, 45)), -most * (0.35 + 0.65 * size), 120 + int(length * 900), 1.6, seed=start
    )


@lru_cache(maxsize=1024)
def _stairs(seed: int, minutes: int) -> Floats:
    """A rise from 0 to 1 in uneven steps, steepest in the middle."""
    steps = (0.3 + generator("stairs", seed).standard_gamma(0.7, minutes)) * np.hanning(minutes + 2)[1:-1]
    climb = np.concatenate(([0.0], np.cumsum(steps)))
    return np.asarray(climb / climb[-1])


def _smoothstep(share: Floats) -> Floats:
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)

"""The coarse half of the generator: price levels every four hours, over an unlimited time span.

Time is divided into blocks of 340 days. Inside a block the log price is a random walk whose volatility clusters,
trends, squeezes and breaks out; the walk gets a tiny drift so that it ends on an anchor that depends only on the block
number. So any block can be generated without its predecessors, and prices stay within a plausible range indefinitely.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from exchange_simulator.market.catalogue import Known, digest

Floats = NDArray[np.float64]

STEPS_A_DAY = 6
BLOCK_DAYS = 340
BLOCK_STEPS = BLOCK_DAYS * STEPS_A_DAY

FACTOR_DAILY = 0.024  # daily volatility of the market factor
_ANCHOR = 0.28  # spread of the block anchors, in log price
_CELL_STEPS = 60  # one squeeze and breakout in most ten-day cells
_HALF_HOURS = np.arange(48) / 2
_RHYTHM_48 = (
    0.72
    + 0.55 * np.exp(-(((_HALF_HOURS - 14.5) / 3.0) ** 2))
    + 0.22 * np.exp(-(((_HALF_HOURS - 1.0) / 1.5) ** 2))
    + 0.18 * np.exp(-(((_HALF_HOURS - 8.0) / 1.5) ** 2))
)
RHYTHM: Floats = np.interp(np.arange(1440) / 30, np.arange(49), np.append(_RHYTHM_48, _RHYTHM_48[0]))
"""Volatility by minute of the UTC day, around 1: busiest in the American morning, quiet before Asia opens."""
STEP_RHYTHM: Floats = np.sqrt((RHYTHM**2).reshape(STEPS_A_DAY, -1).mean(axis=1))


class Block(NamedTuple):
    """One symbol or the market factor over one block. Levels are log prices relative to the typical price."""

    level: Floats  # (BLOCK_STEPS + 1): at the start of each step, and at the end of the last
    sigma: Floats  # (BLOCK_STEPS): idiosyncratic volatility of the step
    beta: Floats  # (BLOCK_STEPS): weight of the market factor in the step
    activity: Floats  # (BLOCK_STEPS): volume relative to what current volatility suggests


def generator(*parts: object) -> np.random.Generator:
    """A random generator seeded by these parts."""
    return np.random.Generator(np.random.PCG64(digest(*parts)))


def factor_block(seed: int, number: int) -> Block:
    """The block of the market factor."""
    rng = generator(seed, "market", "block", number)
    slow = _persistent(rng, half_life=40, spread=0.36)
    fast = _persistent(rng, half_life=5, spread=0.42)
    sigma = FACTOR_DAILY / np.sqrt(STEPS_A_DAY) * np.exp(slow + fast - 0.15) * _rhythm()
    returns = sigma * (_tailed(rng) + _trends(rng, 0.22))
    level = _anchored(returns, _anchor(seed, "market", number), _anchor(seed, "market", number + 1))
    return Block(level, sigma, np.zeros(BLOCK_STEPS), np.exp(0.8 * (slow + fast)))


def symbol_block(seed: int, known: Known, number: int, factor: Block) -> Block:
    """The block of one symbol: its share of market moves and its idiosyncratic moves."""
    rng = generator(seed, known.symbol, "block", number)
    mood = _persistent(rng, half_life=30, spread=0.35) + _persistent(rng, half_life=5, spread=0.25)
    market_mood = np.log(factor.activity)
    usual = known.idio / np.sqrt(STEPS_A_DAY)
    sigma = usual * np.exp(mood + 0.35 * market_mood - 0.1) * _rhythm()
    beta = np.full(BLOCK_STEPS, known.beta)
    shocks = _tailed(rng) + _trends(rng, 0.25)
    surge = np.ones(BLOCK_STEPS)
    _squeezes(rng, sigma, beta, shocks, surge, calm=known.major)

    market = beta * np.diff(factor.level)
    own = sigma * shocks
    level = _anchored(market + own, _anchor(seed, known.symbol, number), _anchor(seed, known.symbol, number + 1))
    moved = np.abs(market + own) / np.hypot(sigma, beta * factor.sigma)
    weekend = np.where((np.arange(BLOCK_STEPS) // STEPS_A_DAY + number * BLOCK_DAYS + 3) % 7 >= 5, 0.75, 1.0)
    noise = np.exp(0.22 * rng.standard_normal(BLOCK_STEPS))
    activity = (0.65 + 0.45 * moved) * surge * weekend * noise
    return Block(level, sigma, beta, activity)


def _squeezes(
    rng: np.random.Generator, sigma: Floats, beta: Floats, shocks: Floats, surge: Floats, *, calm: bool
) -> None:
    """Writes quiet periods of three to five days, each ending in a breakout on high volume, into a block."""
    for first in range(0, BLOCK_STEPS - _CELL_STEPS + 1, _CELL_STEPS):
        happens, length, offset, size, follows = rng.random(5)
        quiet = 18 + int(length * 12)
        start = first + int(offset * (_CELL_STEPS - quiet - 8))
        if happens > 0.8:
            continue
        stop = start + quiet
        after = slice(stop, min(stop + 6, BLOCK_STEPS))
        sigma[start:stop] *= 0.45
        beta[start:stop] *= 0.55
        shocks[start:stop] *= 0.8
        # The breakout is sized relative to the preceding quiet period, so the bands are still narrow when it occurs.
        level = float(np.median(np.hypot(sigma[start:stop], beta[start:stop] * 0.009)))
        up = 1.0 if size < 0.75 else -1.0
        jump = up * level * (5.0 if calm else 6.5) * (0.8 + 0.5 * rng.random())
        sigma[stop] = max(sigma[stop], 1.6 * level)
        shocks[stop] = jump / sigma[stop]
        surge[stop] *= 2.6
        surge[after] *= 1.4
        beta[stop] *= 0.6
        trend = slice(stop + 1, min(stop + 1 + 24, BLOCK_STEPS))
        shocks[trend] += up * (0.55 if follows < 0.55 else -0.45)


def _persistent(rng: np.random.Generator, half_life: float, spread: float) -> Floats:
    """A stationary AR(1) series over a block: standard deviation `spread`, shocks halve in `half_life` steps."""
    keep = 0.5 ** (1 / half_life)
    shocks = rng.standard_normal(BLOCK_STEPS) * spread * np.sqrt(1 - keep * keep)
    value = float(rng.standard_normal()) * spread
    values = []
    for shock in shocks.tolist():
        value = keep * value + shock
        values.append(value)
    return np.array(values)


def _tailed(rng: np.random.Generator) -> Floats:
    """Student's t with 5 degrees of freedom, scaled to variance 1."""
    return np.asarray(rng.standard_t(5, BLOCK_STEPS) * np.sqrt(3 / 5))


def _trends(rng: np.random.Generator, spread: float) -> Floats:
    """Drift in units of volatility, piecewise constant over phases of two days on average."""
    changes = rng.random(BLOCK_STEPS) < 1 / 12
    phases = np.cumsum(changes)
    return (rng.standard_normal(int(phases[-1]) + 1) * spread)[phases]


def _rhythm() -> Floats:
    return np.tile(STEP_RHYTHM, BLOCK_DAYS)


def _anchor(seed: int, name: str, number: int) -> float:
    return float(generator(seed, name, "anchor", number).standard_normal()) * _ANCHOR


def _anchored(returns: Floats, first: float, last: float) -> Floats:
    tilt = (last - first - returns.sum()) / len(returns)
    level = np.concatenate(([first], first + np.cumsum(returns + tilt)))
    level[-1] = last
    return level

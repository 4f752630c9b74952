"""Starting a sweep: from the words of the command line to a study that workers can join."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpha.errors import Misconfigured
from backtester.command import Request, prepare
from backtester.record import code_fingerprint
from research.data_pack import keep_here, pack
from research.evaluate import OBJECTIVES
from research.folds import WalkForward
from research.space import Space, read_space
from research.studies import Studies
from research.worker import BULK, Sweep

SAMPLERS = (*BULK, "tpe")
MOST_TRIALS = 10_000_000


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What the command line asks for. `backtest` names strategy, data, range and costs as `alpha backtest` does."""

    name: str
    backtest: Request
    space: Path
    trials: int
    sampler: str
    objective: str
    seed: int
    walk_forward: WalkForward


def start(studies: Studies, request: SweepRequest) -> Sweep:
    """Make the study. Misconfigured says in a sentence what is wrong with the request."""
    if request.sampler not in SAMPLERS:
        raise Misconfigured(f"--sampler {request.sampler} does not exist. There are {', '.join(SAMPLERS)}.")
    if request.objective not in OBJECTIVES:
        raise Misconfigured(f"--objective {request.objective} does not exist. There are {', '.join(OBJECTIVES)}.")
    ready = prepare(request.backtest)
    kind = type(ready.strategy)
    space = read_space(request.space, kind.parameters_type)
    trials = _count(space, request)
    terms = ready.terms
    request.walk_forward.folds(terms.from_ms, terms.to_ms)  # refused here rather than by every worker
    market = pack(ready.data)
    keep_here(market)
    config: dict[str, Any] = {
        "strategy": f"{kind.__module__}:{kind.__name__}",
        "space": space.as_json(),
        "fixed": dict(_fixed(request.backtest, ready.parameters)),
        "trials": trials,
        "sampler": request.sampler,
        "objective": request.objective,
        "seed": request.seed,
        "from_ms": terms.from_ms,
        "to_ms": terms.to_ms,
        "cash": str(terms.cash),
        "costs": {
            "taker_fee": str(terms.costs.taker_fee),
            "slippage_bps": str(terms.costs.slippage_bps),
            "maker_fee": str(terms.costs.maker_fee),
            "by_symbol": {symbol: str(bps) for symbol, bps in terms.costs.by_symbol.items()},
        },
        "resume_after_ms": terms.resume_after_ms,
        "walk_forward": {
            "train_days": request.walk_forward.train_days,
            "test_days": request.walk_forward.test_days,
            "embargo_days": request.walk_forward.embargo_days,
            "anchored": request.walk_forward.anchored,
        },
        "market": market.name,
        "code": code_fingerprint(kind.__module__),
        "data": request.backtest.data.name,
    }
    studies.create(request.name, config, market, trials, chunked=request.sampler in BULK)
    return Sweep(studies, request.name, bots=request.backtest.bots)


def _count(space: Space, request: SweepRequest) -> int:
    trials = request.trials
    if request.sampler == "grid":
        trials = min(space.size, trials) if trials else space.size
    elif trials < 1:
        raise Misconfigured(
            f"--trials {trials} leaves the sampler {request.sampler} nothing to try: give a number, or --sampler grid."
        )
    if trials > MOST_TRIALS:
        raise Misconfigured(
            f"The sweep {request.name} would have {trials:,} trials; it can have {MOST_TRIALS:,}: set --trials, or "
            "narrow the space."
        )
    return trials


def _fixed(request: Request, parameters: Any) -> list[tuple[str, str]]:
    """What `--set` and `--symbols` fixed, as texts."""
    from alpha.strategy.parameters import parse_overrides

    fixed = dict(parse_overrides(list(request.overrides)))
    symbols = getattr(parameters, "symbols", None)
    if request.symbols is not None and symbols:
        fixed["symbols"] = '["' + '", "'.join(symbols) + '"]'
    return sorted(fixed.items())

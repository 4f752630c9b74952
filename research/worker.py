"""A worker of a sweep: takes chunks of trials, or asks the sampler for the next one, until the study is done.

`python -m research.worker URL NAME` is one; `alpha sweep` starts several, `alpha sweep join` one or more on another machine.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import optuna

from alpha.errors import AlphaError, Misconfigured
from alpha.indicators.memo import remembered
from backtester.command import find_strategy
from backtester.market import MarketData
from backtester.record import code_fingerprint
from backtester.venue import Costs
from research.data_pack import keep_here, known_here, unpack
from research.evaluate import Evaluator, SweepTerms, Trial
from research.folds import WalkForward
from research.space import Choice, Space, space_of
from research.studies import LEASE_S, Studies, distribution_of

BEAT_S = 10.0
BULK = ("random", "qmc", "grid")


class Sweep:
    """A study as every worker sees it: the evaluator over its data, the space, the configuration."""

    def __init__(self, studies: Studies, name: str, *, bots: Any = None, check_code: bool = True) -> None:
        from pathlib import Path

        self.studies, self.name = studies, name
        self.number, self.config = studies.find(name)
        config = self.config
        kind = find_strategy(config["strategy"], Path("bots.toml") if bots is None else bots)
        here = code_fingerprint(kind.__module__)
        if check_code and here != config["code"]:
            raise Misconfigured(
                f"The code here is {here}, the sweep was started with {config['code']}: check out the same version."
            )
        self.market = self._market(config["market"])
        self.space: Space = space_of(config["space"], kind.parameters_type)
        self.folds = WalkForward(**config["walk_forward"]).folds(config["from_ms"], config["to_ms"])
        self.evaluator = Evaluator(kind, self.market, terms_of(config), self.folds)
        self.trials: int = config["trials"]
        self.seed: int = config["seed"]

    def _market(self, name: str) -> MarketData:
        packed = known_here(name)
        if packed is None:
            packed = self.studies.market(name)
            market = unpack(packed)
            keep_here(packed)
            return market
        return unpack(packed)

    def parameters(self, number: int) -> dict[str, str]:
        """The values of a trial, for samplers that are functions of its number."""
        if self.config["sampler"] == "grid":
            return self.space.grid(number)
        if self.config["sampler"] == "qmc":
            return self.space.quasi(self.seed, number)
        return self.space.random(self.seed, number)


def terms_of(config: dict[str, Any]) -> SweepTerms:
    """What all trials of a study share."""
    costs = config["costs"]
    return SweepTerms(
        config["from_ms"],
        config["to_ms"],
        Decimal(config["cash"]),
        Costs(
            Decimal(costs["taker_fee"]),
            Decimal(costs["slippage_bps"]),
            Decimal(costs["maker_fee"]),
            {symbol: Decimal(bps) for symbol, bps in costs["by_symbol"].items()},
        ),
        config["resume_after_ms"],
        config["objective"],
        config["fixed"],
    )


def work(sweep: Sweep, owner: str, stopping: Callable[[], bool] = lambda: False, lease_s: float = LEASE_S) -> int:
    """Do trials until none is left or `stopping`; how many were done."""
    with remembered():
        return (
            _bulk(sweep, owner, stopping, lease_s)
            if sweep.config["sampler"] in BULK
            else _asked(sweep, owner, stopping)
        )


def _bulk(sweep: Sweep, owner: str, stopping: Callable[[], bool], lease_s: float) -> int:
    done = 0
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(sweep, owner, ended, min(BEAT_S, lease_s / 4)), daemon=True)
    beating.start()
    try:
        while not stopping():
            chunk = sweep.studies.claim(sweep.number, owner, lease_s)
            if chunk is None:
                break
            first, count = chunk
            trials = [sweep.evaluator.trial(number, sweep.parameters(number)) for number in range(first, first + count)]
            if sweep.studies.finish(sweep.number, first, owner, trials, sweep.space):
                done += count
    finally:
        ended.set()
        beating.join()
    return done


def _beat(sweep: Sweep, owner: str, ended: threading.Event, every_s: float) -> None:
    while not ended.wait(every_s):
        try:
            sweep.studies.beat(sweep.number, owner)
        except AlphaError:
            continue  # the storage is briefly unavailable; when a lease expires, the chunk is done twice and kept once


def _asked(sweep: Sweep, owner: str, stopping: Callable[[], bool]) -> int:
    """Trials that the sampler chooses from those before: not the same with another number of workers."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=None, constant_liar=True, n_startup_trials=min(20, sweep.trials // 4 + 1))
    with sweep.studies.storage() as storage:
        study = optuna.load_study(study_name=sweep.name, storage=storage, sampler=sampler)
        return _optimised(sweep, study, owner, stopping)


def _optimised(sweep: Sweep, study: optuna.Study, owner: str, stopping: Callable[[], bool]) -> int:
    done = 0

    def one(asked: optuna.Trial) -> float:
        nonlocal done
        parameters: dict[str, str] = {}
        for name, dimension in sweep.space.dimensions.items():
            kind = distribution_of(dimension)
            if isinstance(dimension, Choice):
                parameters[name] = str(asked.suggest_categorical(name, dimension.options))
            else:
                assert isinstance(kind, optuna.distributions.FloatDistribution)
                value = asked.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)
                parameters[name] = dimension.nearest(value)
        trial: Trial = sweep.evaluator.trial(asked.number, parameters)
        sweep.studies.record(sweep.number, owner, trial)
        done += 1
        if trial.why:
            raise optuna.TrialPruned(trial.why)
        return trial.value

    states = (
        optuna.trial.TrialState.COMPLETE,
        optuna.trial.TrialState.PRUNED,
    )
    callback = optuna.study.MaxTrialsCallback(sweep.trials, states=states)

    def end(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
        if stopping() or sweep.studies.progress(sweep.number, sweep.trials).stopped:
            study.stop()

    if len(study.get_trials(deepcopy=False, states=states)) < sweep.trials:
        study.optimize(one, callbacks=[callback, end])
    return done


def owner_name() -> str:
    """A name for this worker that no other has."""
    return f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"


def main() -> int:
    """Work for the study that the arguments name; SIGTERM ends it after the chunk under way."""
    url, name = sys.argv[1:3]
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    lease_s = float(os.environ.get("SWEEP_LEASE_S", LEASE_S))
    try:
        work(Sweep(Studies(url), name), owner_name(), ending.is_set, lease_s)
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

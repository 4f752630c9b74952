"""Sweeps in PostgreSQL: any number of workers gives one study, a killed one loses nothing, noise is called noise."""

import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import psycopg
import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured, Retry
from alpha_cli.main import main
from backtester.candle_files import write_file
from backtester.command import Request
from demo.postgres import EmbeddedPostgres
from research.data_pack import Packed, pack, unpack
from research.database import prepare
from research.evaluate import Evaluator
from research.folds import WalkForward
from research.report import write
from research.start import SweepRequest, start
from research.studies import PASSWORD, Studies, check_address
from research.verdict import judge
from research.worker import Sweep, work
from tests.support.toy_strategies import market, random_bars
from tests.support.world import patience

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a-password-of-the-tests"
TOY = "tests.support.toy_strategies:Crossing"
_names = itertools.count()


@pytest.fixture(scope="session")
def studies_url(postgres_server: EmbeddedPostgres) -> str:
    return prepare(postgres_server.settings(), SECRET)


@pytest.fixture
def studies(studies_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Studies:
    monkeypatch.setenv(PASSWORD, SECRET)
    monkeypatch.setenv("ALPHA_CACHE", str(tmp_path / "cache" / "candles"))
    return Studies(studies_url)


@pytest.fixture
def asked(tmp_path: Path) -> SweepRequest:
    (tmp_path / "data").mkdir()
    for number in range(2):
        write_file(tmp_path / "data" / f"X{number}USDT.parquet", random_bars(number, 24 * 120, f"X{number}USDT"))
    (tmp_path / "space.toml").write_text(
        "[parameters]\nfast = { low = 2, high = 12 }\nslow = { low = 14, high = 60 }\nstop = { low = 0.01, high = 0.1 }\n"
    )
    request = Request(
        TOY, tmp_path / "data", None, None, (), "all", "10000", "0.00055", "2", "0.0001", None, ROOT / "bots.toml"
    )
    name = f"sweep{next(_names)}"
    return SweepRequest(name, request, tmp_path / "space.toml", 40, "random", "sharpe", 1, WalkForward(40, 20, 1))


def begin(studies: Studies, asked: SweepRequest) -> Sweep:
    return start(studies, asked)


def test_one_worker_two_workers_and_bulk_rows_that_optuna_reads(studies: Studies, asked: SweepRequest) -> None:
    sweep = begin(studies, asked)
    assert work(sweep, "alone") == 40
    again = begin(studies, replace(asked, name=asked.name + "-again"))
    first = Sweep(studies, again.name)
    while (one := work_a_chunk(first, "one")) | (two := work_a_chunk(again, "two")):
        assert one or two
    mine, theirs = studies.trials(sweep.number), studies.trials(again.number)
    assert [trial.number for trial in mine] == list(range(40))
    assert [(t.parameters, t.value, t.trades, t.returns.tolist()) for t in mine] == [
        (t.parameters, t.value, t.trades, t.returns.tolist()) for t in theirs
    ]
    with studies.storage() as storage:
        study = optuna.load_study(study_name=sweep.name, storage=storage)
        assert [trial.number for trial in study.trials] == list(range(40))
        assert study.best_value == max(trial.value for trial in mine)
        best = max(mine, key=lambda trial: trial.value)
        assert study.best_params["fast"] == float(best.parameters["fast"])


def work_a_chunk(sweep: Sweep, owner: str) -> bool:
    """One chunk of trials."""
    chunk = sweep.studies.claim(sweep.number, owner)
    if chunk is None:
        return False
    first, count = chunk
    trials = [sweep.evaluator.trial(number, sweep.parameters(number)) for number in range(first, first + count)]
    assert sweep.studies.finish(sweep.number, first, owner, trials, sweep.space)
    return True


@pytest.mark.long
def test_a_killed_workers_trials_are_done_by_another_each_once(studies: Studies, asked: SweepRequest) -> None:
    sweep = begin(studies, replace(asked, trials=64))
    alone = begin(studies, replace(asked, trials=64, name=asked.name + "-alone"))
    work(alone, "alone")
    command = [sys.executable, "-m", "research.worker", studies.url, sweep.name]
    environment = {**os.environ, PASSWORD: SECRET, "SWEEP_LEASE_S": "1"}
    victim = subprocess.Popen(command, env=environment, cwd=ROOT)
    deadline = time.monotonic() + 60 * patience()
    while not claimed(studies, sweep.number):
        assert time.monotonic() < deadline
        assert victim.poll() is None
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    age(studies, sweep.number)
    other = subprocess.run(command, env=environment, cwd=ROOT, check=False)
    assert other.returncode == 0
    age(studies, sweep.number)
    work(sweep, "last", lease_s=1)
    found, expected = studies.trials(sweep.number), studies.trials(alone.number)
    assert [trial.number for trial in found] == list(range(64))
    assert [(t.parameters, t.value) for t in found] == [(t.parameters, t.value) for t in expected]
    assert studies.progress(sweep.number, 64).done == 64


def claimed(studies: Studies, number: int) -> bool:
    with psycopg.connect(studies.url, password=SECRET) as connection:
        row = connection.execute(
            "SELECT count(*) FROM alpha_chunks WHERE study_id = %s AND owner IS NOT NULL", (number,)
        ).fetchone()
    return bool(row and row[0])


def age(studies: Studies, number: int) -> None:
    """Let the heartbeats of unfinished chunks be old."""
    with psycopg.connect(studies.url, password=SECRET) as connection:
        connection.execute(
            "UPDATE alpha_chunks SET beat_at = now() - interval '1 hour' WHERE study_id = %s AND NOT done", (number,)
        )


def test_a_chunk_that_was_taken_over_is_not_written_twice(studies: Studies, asked: SweepRequest) -> None:
    sweep = begin(studies, replace(asked, trials=4))
    first, count = studies.claim(sweep.number, "slow") or (0, 0)
    trials = [sweep.evaluator.trial(number, sweep.parameters(number)) for number in range(first, first + count)]
    age(studies, sweep.number)
    assert studies.claim(sweep.number, "quick") == (first, count)
    assert studies.finish(sweep.number, first, "quick", trials, sweep.space)
    assert not studies.finish(sweep.number, first, "slow", trials, sweep.space)
    assert len(studies.trials(sweep.number)) == count


def test_noise_is_called_noise(studies: Studies, asked: SweepRequest, tmp_path: Path) -> None:
    sweep = begin(studies, replace(asked, trials=60))
    work(sweep, "alone")
    trials = studies.trials(sweep.number)
    verdict = judge(trials, sweep.evaluator, sweep.config["from_ms"])
    assert verdict.deflated < 0.95
    assert not verdict.significant
    assert "noise" in verdict.words
    write(sweep, trials, verdict, tmp_path / "report")
    page = (tmp_path / "report" / "sweep.html").read_text()
    assert "cannot be told from noise" in page
    assert page.count('class="heat"') == 3


def test_nothing_of_a_test_window_takes_part_in_its_choice(studies: Studies, asked: SweepRequest) -> None:
    sweep = begin(studies, replace(asked, trials=20))
    work(sweep, "alone")
    trials = studies.trials(sweep.number)
    whole = judge(trials, sweep.evaluator, sweep.config["from_ms"])
    cut = sweep.folds[1].train_to_ms
    first = sweep.config["from_ms"] // 86_400_000
    for trial in trials:
        trial.returns.setflags(write=False)
    changed = []
    for trial in trials:
        returns = trial.returns.copy()
        returns[cut // 86_400_000 - first :] += 0.01 * (trial.number % 5)
        changed.append(replace(trial, returns=returns))
    other = judge(changed, sweep.evaluator, sweep.config["from_ms"])
    assert [fold.number for fold in other.folds[:2]] == [fold.number for fold in whole.folds[:2]]


def test_other_data_and_other_code_are_refused(
    studies: Studies, asked: SweepRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = begin(studies, replace(asked, trials=2))
    packed = studies.market(sweep.config["market"])
    with pytest.raises(Misconfigured, match="other data"):
        unpack(Packed(packed.name[::-1], packed.content))
    monkeypatch.setattr("research.worker.code_fingerprint", lambda _: "0" * 16)
    with pytest.raises(Misconfigured, match="same version"):
        Sweep(studies, sweep.name)


def test_a_packed_market_is_the_market() -> None:
    data = market(random_bars(1, 200), random_bars(2, 200, "YUSDT"))
    found = unpack(pack(data))
    assert pack(found).name == pack(data).name
    assert found.bars["YUSDT"].close.tolist() == data.bars["YUSDT"].close.tolist()
    assert found.funding["XUSDT"].rate == data.funding["XUSDT"].rate
    other = market(random_bars(1, 200), random_bars(3, 200, "YUSDT"))
    assert pack(other).name != pack(data).name


def test_tpe_keeps_every_trial_and_stops_in_time(studies: Studies, asked: SweepRequest) -> None:
    sweep = begin(studies, replace(asked, trials=8, sampler="tpe"))
    work(sweep, "alone")
    assert len(studies.trials(sweep.number)) == 8


def test_stopped_is_stopped(studies: Studies, asked: SweepRequest) -> None:
    sweep = begin(studies, asked)
    studies.stop(sweep.number)
    assert work(sweep, "alone") == 0
    assert studies.progress(sweep.number, 40).stopped


def test_a_parameter_that_the_strategy_refuses_is_a_trial_without_a_result(sweep_data: Evaluator) -> None:
    trial = sweep_data.trial(0, {"fast": "nonsense"})
    assert "fast" in trial.why
    assert trial.trades == 0


@pytest.fixture
def sweep_data(studies: Studies, asked: SweepRequest) -> Evaluator:
    return begin(studies, replace(asked, trials=1)).evaluator


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://127.0.0.1/optuna", "postgresql"),
        ("postgresql://optuna:secret@127.0.0.1/optuna", "password"),
        ("postgresql://optuna@db.example.com/optuna", "tunnel"),
        ("postgresql://optuna@db.example.com/optuna?sslmode=require", "verify-full"),
    ],
)
def test_a_study_goes_over_no_open_network(url: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        check_address(url)
    assert check_address("postgresql://optuna@db.example.com/optuna?sslmode=verify-full")


def test_the_role_of_studies_reaches_no_trading_database(
    studies: Studies, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: DatabaseSettings = postgres_server.settings()
    trading = studies.url.rsplit("/", 1)[0] + f"/{settings.postgres_db}"
    with pytest.raises(Retry, match="permission denied"), Studies(trading).connect():
        pass
    monkeypatch.setenv(PASSWORD, "wrong-password")
    with pytest.raises(Retry, match="password"), studies.connect():
        pass


def test_the_commands(
    studies: Studies, asked: SweepRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--storage", studies.url]
    words = ["--strategy", TOY, "--space", str(asked.space), "--data", str(asked.backtest.data), "--symbols", "all"]
    windows = ["--train", "40d", "--test", "20d", "--trials", "12", "--report", str(tmp_path / "out")]
    assert main(["sweep", asked.name, *words, *windows, *common]) == 0
    assert main(["sweep", "status", asked.name, *common]) == 0
    assert main(["sweep", "best", asked.name, *common]) == 0
    assert main(["sweep", "report", asked.name, *common]) == 0
    assert main(["sweep", "stop", asked.name, *common]) == 0
    assert main(["sweep", "join", studies.url, asked.name]) == 0
    said = capsys.readouterr().out
    assert "done, 12 of 12 trials" in said
    assert "Deflated Sharpe ratio" in said
    assert (tmp_path / "out" / "sweep.html").exists()
    assert main(["sweep", asked.name, *words, *common]) == 2
    assert main(["sweep", "status", "nobody", *common]) == 2


def test_a_sampler_that_may_try_nothing_is_refused(studies: Studies, asked: SweepRequest) -> None:
    with pytest.raises(Misconfigured, match="--trials 0 leaves the sampler random nothing to try"):
        begin(studies, replace(asked, trials=0, sampler="random"))

"""`alpha sweep`: many parameter sets, on as many machines as there are, judged out of sample."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from alpha.model.assumed_slippage import ASSUMED_SLIPPAGE_BPS

if TYPE_CHECKING:
    from research.worker import Sweep

STORAGE = "SWEEP_STORAGE"
_LOOK_S = 0.5
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage", envvar=STORAGE, help="Address of the studies; without: an own PostgreSQL of this machine."
    ),
]
Bots = Annotated[Path, typer.Option("--bots", envvar="ALPHA_BOTS_FILE", help="The registry of bots.")]


class NameFirst(typer.core.TyperGroup):
    """`alpha sweep NAME ...` is `alpha sweep run NAME ...`: a first word that is no command is a name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `run` in front of a name."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    sweep = typer.Typer(help="Parameter sweeps, judged out of sample.", no_args_is_help=True, cls=NameFirst)
    sweep.command("run")(run)
    sweep.command("join")(join)
    sweep.command("status")(status)
    sweep.command("stop")(stop)
    sweep.command("best")(best)
    sweep.command("report")(report)
    sweep.command("prepare")(prepare)
    app.add_typer(sweep, name="sweep")


def run(
    name: Annotated[str, typer.Argument(help="A name for the sweep.")],
    strategy: Annotated[str, typer.Option("--strategy", help="A bot of bots.toml or module:Class.")],
    space: Annotated[Path, typer.Option("--space", help="TOML: [parameters], one line for each.")],
    data: Annotated[Path, typer.Option("--data", help="The folder of candles, one file a symbol.")],
    trials: Annotated[int, typer.Option("--trials", min=0, help="How many; 0 with a grid: all of it.")] = 200,
    workers: Annotated[int, typer.Option("--workers", min=0, max=256, help="Processes here; 0: others will join.")] = 1,
    sampler: Annotated[str, typer.Option("--sampler", help="random, qmc, grid or tpe.")] = "random",
    objective: Annotated[str, typer.Option("--objective", help="sharpe, sortino, return or calmar.")] = "sharpe",
    train: Annotated[str, typer.Option("--train", help="Training window: 180d, 26w.")] = "180d",
    test: Annotated[str, typer.Option("--test", help="Test window.")] = "30d",
    embargo: Annotated[str, typer.Option("--embargo", help="Days left out between them.")] = "1d",
    anchored: Annotated[
        bool, typer.Option("--anchored/--rolling", help="Every training window starts with the data.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="What the draws come from.")] = 1,
    from_: Annotated[str | None, typer.Option("--from", help="First bar, UTC.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, exclusive, UTC.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A fixed parameter: key=value.")] = None,
    symbols: Annotated[str | None, typer.Option("--symbols", help="Symbols, or all.")] = None,
    cash: Annotated[str, typer.Option("--cash", help="Starting equity in USDT.")] = "10000",
    fee: Annotated[str, typer.Option("--fee", help="Taker fee, as a fraction of the value.")] = "0.00055",
    slippage_bps: Annotated[str, typer.Option("--slippage-bps", help="Slippage in basis points.")] = str(
        ASSUMED_SLIPPAGE_BPS
    ),
    funding: Annotated[str, typer.Option("--funding", help="Rate every 8 hours where the data have none.")] = "0.0001",
    resume_days: Annotated[
        int | None, typer.Option("--resume-days", min=0, max=36_500, help="The operator resumes after a halt.")
    ] = None,
    holes: Annotated[
        str,
        typer.Option(
            "--holes", help="A symbol with a hole: refuse; longest: its longest part without one; parts: each."
        ),
    ] = "refuse",
    out: Annotated[Path | None, typer.Option("--report", help="A folder for sweep.html and sweep.json.")] = None,
    storage: Storage = None,
    bots: Bots = Path("bots.toml"),
) -> None:
    """Start a sweep and work on it; walk-forward, so that what it reports was not chosen on."""
    from backtester.command import Request
    from research.folds import WalkForward, days_of
    from research.start import SweepRequest, start

    request = Request(
        strategy,
        data,
        from_,
        to,
        tuple(set_ or ()),
        symbols,
        cash,
        fee,
        slippage_bps,
        funding,
        resume_days,
        bots,
        holes=holes,
    )
    windows = WalkForward(days_of(train, "--train"), days_of(test, "--test"), days_of(embargo, "--embargo"), anchored)
    with _studies(storage) as studies:
        sweep = start(studies, SweepRequest(name, request, space, trials, sampler, objective, seed, windows))
        typer.echo(f"Sweep {name}: {sweep.trials} trials, {len(sweep.folds)} folds. Others join with")
        typer.echo(f"  alpha sweep join {studies.url} {name}")
        _work(sweep, workers)
        if workers:
            _show(sweep, out)


def join(
    url: Annotated[str, typer.Argument(help="Address of the studies: through a tunnel, or with sslmode=verify-full.")],
    name: Annotated[str, typer.Argument(help="The sweep.")],
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, help="Processes here.")] = 1,
    bots: Bots = Path("bots.toml"),
) -> None:
    """Work for a sweep that was started elsewhere. Other code or other data than the sweep's are refused."""
    from research.studies import Studies
    from research.worker import Sweep

    _work(Sweep(Studies(url), name, bots=bots), workers)


def status(name: Annotated[str, typer.Argument(help="The sweep.")], storage: Storage = None) -> None:
    """How far a sweep is."""
    with _studies(storage) as studies:
        number, config = studies.find(name)
        found = studies.progress(number, config["trials"])
    state = "stopped" if found.stopped else "done" if found.done >= found.wanted else "running"
    typer.echo(
        f"{name}: {state}, {found.done} of {found.wanted} trials ({found.failed} without a result), {found.workers} workers."
    )


def stop(name: Annotated[str, typer.Argument(help="The sweep.")], storage: Storage = None) -> None:
    """Give out no further trials; those under way are finished."""
    with _studies(storage) as studies:
        studies.stop(studies.find(name)[0])
    typer.echo(f"{name}: stopped. What was finished stays; alpha sweep report {name} judges it.")


def best(
    name: Annotated[str, typer.Argument(help="The sweep.")],
    count: Annotated[int, typer.Option("--count", min=1, max=1000, help="How many.")] = 5,
    storage: Storage = None,
) -> None:
    """The best trials in sample: what a sweep without a test would have believed."""
    with _studies(storage) as studies:
        number, _ = studies.find(name)
        trials = [trial for trial in studies.trials(number) if not trial.why]
    for trial in sorted(trials, key=lambda one: one.value, reverse=True)[:count]:
        values = " ".join(f"{key}={value}" for key, value in trial.parameters.items())
        typer.echo(
            f"{trial.number:>6}  {trial.value:+.3f}  {trial.total_return * 100:+.1f} %  {trial.trades} trades  {values}"
        )
    typer.echo("In sample. What it is worth out of sample: alpha sweep report.")


def report(
    name: Annotated[str, typer.Argument(help="The sweep.")],
    out: Annotated[Path | None, typer.Option("--report", help="A folder for sweep.html and sweep.json.")] = None,
    storage: Storage = None,
    bots: Bots = Path("bots.toml"),
) -> None:
    """Judge what is finished, out of sample."""
    from research.worker import Sweep

    with _studies(storage) as studies:
        _show(Sweep(studies, name, bots=bots), out)


def prepare() -> None:
    """Make the database and the role of the studies on the PostgreSQL of `.env`, for sweeps over several machines."""
    from alpha.config.loader import load
    from alpha.config.services import DatabaseSettings
    from research.database import READER, READER_PASSWORD, password_of_environment
    from research.database import prepare as make
    from research.studies import ROLE

    reader = os.environ.get(READER_PASSWORD, "")
    url = make(load(DatabaseSettings), password_of_environment(), reader)
    typer.echo(f"Ready: {STORAGE}={url}")
    if reader:
        typer.echo(f"The dashboard's page: DASHBOARD_STUDIES={url.replace(ROLE, READER, 1)}")


def _work(sweep: "Sweep", workers: int) -> None:
    """Start the workers, show how far the study is, and end them with this process."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from research.data_pack import known_here
    from research.worker import owner_name, work

    if workers <= 1 or known_here(sweep.config["market"]) is None:
        if workers:
            work(sweep, owner_name())
        return
    command = [sys.executable, "-m", "research.worker", sweep.studies.url, sweep.name]
    running = [subprocess.Popen(command) for _ in range(workers)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns) as bars:
            task = bars.add_task(sweep.name, total=sweep.trials)
            while any(one.poll() is None for one in running):
                bars.update(task, completed=sweep.studies.progress(sweep.number, sweep.trials).done)
                time.sleep(_LOOK_S)
            bars.update(task, completed=sweep.studies.progress(sweep.number, sweep.trials).done)
    finally:
        for one in running:
            if one.poll() is None:
                one.terminate()
        for one in running:
            one.wait(60)


def _show(sweep: "Sweep", out: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from research.report import figure_rows, write
    from research.verdict import judge

    trials = sweep.studies.trials(sweep.number)
    verdict = judge(trials, sweep.evaluator, sweep.config["from_ms"])
    table = Table(title=f"Sweep {sweep.name}", title_justify="left", show_header=False)
    for name, value in figure_rows(verdict):
        table.add_row(name, value)
    console = Console()
    console.print(table)
    console.print(verdict.words)
    if out is not None:
        write(sweep, trials, verdict, out)
        console.print(f"Written: {out / 'sweep.html'}, sweep.json")
    sweep.studies.keep_verdict(sweep.number, verdict, None if out is None else str((out / "sweep.html").resolve()))


@contextmanager
def _studies(storage: str | None) -> Iterator[Any]:
    """The studies at an address, or those of an own PostgreSQL that runs as long as the command."""
    from research.studies import Studies

    if storage:
        yield Studies(storage)
        return
    from research.database import new_password
    from research.database import prepare as make
    from research.studies import PASSWORD

    server, secret = _own_server()
    server.take_over()
    server.start()
    try:
        os.environ.setdefault(PASSWORD, secret or new_password())
        yield Studies(make(server.settings(), os.environ[PASSWORD]))
    finally:
        server.stop()


def _own_server() -> tuple[Any, str]:
    """PostgreSQL from its wheel, in the state folder: off the trading cluster."""
    import secrets

    from demo.postgres import EmbeddedPostgres

    folder = Path(os.environ.get("ALPHA_RESEARCH_STATE", ".state/research"))
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "password"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24), encoding="utf-8")
    password = secret.read_text(encoding="utf-8")
    return EmbeddedPostgres(folder / "postgres", password), password

"""`alpha model`: train models, look at them, let one trade or take it off."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alpha.errors import Misconfigured
from alpha.postgres.sql import queries

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from alpha.scoring.manifest import Artefact

SQL = queries(__file__)

Models = Annotated[Path, typer.Option("--models", envvar="MODELS_DIR", help="The folder of artefacts.")]
Data = Annotated[Path, typer.Option("--data", help="The folder of candles, one file a symbol.")]
DEFAULT = Path("models")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    model = typer.Typer(help="Models: train, judge, promote, retire.", no_args_is_help=True)
    model.command("train")(train)
    model.command("show")(show)
    model.command("register")(register_artefact)
    model.command("promote")(promote)
    model.command("retire")(retire)
    model.command("verify")(verify)
    model.command("skew")(skew)
    model.command("prove")(prove)
    app.add_typer(model, name="model")


def show(
    name: Annotated[str | None, typer.Argument(help="The model; without it all of them.")] = None,
    version: Annotated[str | None, typer.Argument(help="Its version, or the first digits of it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The typed rows as JSON.")] = False,
) -> None:
    """Models on record; one of them with its live figures beside those of training."""
    from alpha_cli.commands import operate
    from operations.commands import BY_NAME, Query

    query = BY_NAME["model"]
    assert isinstance(query, Query)
    asyncio.run(operate.show(query, [word for word in (name, version) if word], as_json))


def promote(
    name: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str | None, typer.Argument(help="Its version, or the first digits of it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before doing it.")] = False,
) -> None:
    """Let a shadow trade. Refused for a null model, and before its days as a shadow are over."""
    _steer("model_promote", name, version, yes=yes)


def retire(
    name: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str | None, typer.Argument(help="Its version, or the first digits of it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before doing it.")] = False,
) -> None:
    """Take a model out of shadow and trading."""
    _steer("model_retire", name, version, yes=yes)


def _steer(name: str, model: str, version: str | None, *, yes: bool) -> None:
    from alpha_cli.commands import operate
    from operations.commands import BY_NAME, Command

    command = BY_NAME[name]
    assert isinstance(command, Command)
    raise typer.Exit(asyncio.run(operate.carry_out(command, [word for word in (model, version) if word], yes, False)))


def register_artefact(
    name: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str, typer.Argument(help="Its version, or the first digits of it.")],
    models: Models = DEFAULT,
) -> None:
    """Put an artefact on record as a shadow: bots that name it score with it and do not trade on it."""
    from alpha.scoring.features import FeatureSet
    from alpha.scoring.manifest import find_artefact
    from alpha.scoring.refusals import needs_ticks

    artefact = find_artefact(models, name, version)
    features = FeatureSet(artefact.manifest.features, artefact.manifest.interval)
    if features.tick_features:
        raise Misconfigured(f"Not registered: {needs_ticks(name, features.tick_features)}.")
    asyncio.run(_register(artefact))


async def _register(artefact: "Artefact") -> None:
    from alpha.config.loader import load
    from alpha.scoring.manifest import record_of
    from alpha_cli.commands.operate import TERMINAL, user
    from operations import models
    from operations.audit_log import Attempt, new_id
    from operations.audited_commands import AuditedCommands
    from operations.command_result import CommandResult
    from operations.context import OperationsSettings, open_operations

    issuer, name = user(), artefact.manifest.name
    async with open_operations(load(OperationsSettings), "alpha") as platform:
        words = {"words": f"{name} {artefact.short}"}
        attempt = Attempt(new_id("terminal"), "terminal", issuer, "owner", "", "model_register", "", words)

        async def register() -> CommandResult:
            stage = await models.register(platform, artefact.version, record_of(artefact.manifest), attempt.by)
            return CommandResult(True, f"{name} {artefact.short} is on record: {stage}, {artefact.manifest.verdict}.")

        async def tell(text: str) -> None:
            sys.stderr.write(f"{text}\n")

        result = await AuditedCommands(platform, TERMINAL).run(attempt, register, tell)
    sys.stdout.write(f"{result.text}\n")


def skew(
    name: Annotated[str, typer.Argument(help="The model.")],
    data: Data,
    version: Annotated[
        str | None, typer.Option("--version", help="Its version; without it the one that trades.")
    ] = None,
) -> None:
    """Compute the features of stored scores again, from recorded candles: all must be equal. Ends with 1 where one is not."""
    differing, text = asyncio.run(_skew(name, version, data))
    sys.stdout.write(f"{text}\n")
    if differing:
        raise typer.Exit(1)


async def _skew(name: str, version: str | None, data: Path) -> tuple[int, str]:
    from alpha.config.loader import load
    from operations import models
    from operations.context import OperationsSettings, open_operations
    from research.models.skew import compare_features

    async with open_operations(load(OperationsSettings), "alpha") as platform:
        row = (await models.model_detail(platform, name, version)).row
        manifest = await platform.history.value(SQL["manifest"], row.version)
        stored = await platform.history.rows(
            SQL["scored"],
            row.version,
            models.MOST_ROWS,
        )
        found = compare_features(manifest["features"], manifest["interval"], stored, data)
        await models.note_skew(platform, row.version, found.rows, found.differing, found.text)
    return found.differing, found.text


def needs_training_packages() -> None:
    """Misconfigured, with what to do, where the packages of the extra `train` are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("lightgbm", "onnx", "onnxmltools", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise Misconfigured(
            f"Training needs {', '.join(missing)}. Install them: python locks/install.py locks/train.lock."
        )


def train(
    config: Annotated[Path, typer.Option("--config", help="What is trained: models/NAME.toml.")],
    data: Data,
    models: Models = DEFAULT,
    ticks: Annotated[
        Path | None, typer.Option("--ticks", help="Recorded ticks, for features such as imbalance(12).")
    ] = None,
) -> None:
    """Train a model, judge it out of sample and write its artefact; one that is worth nothing is marked null."""
    needs_training_packages()
    from backtester.candle_files import read_folder
    from research.models.config import read_config
    from research.models.order_flow import Ticks
    from research.models.train import save
    from research.models.train import train as run

    wanted = read_config(config)
    known = read_folder(data, wanted.symbols)
    slippage = asyncio.run(_measured_slippage()) if isinstance(wanted.costs.slippage_bps, str) else None
    recorded = None
    if ticks is not None:
        from tick_recorder.read import read_gaps, read_ticks

        recorded = Ticks(ticks, read_ticks, read_gaps)
    trained = run(wanted, known, models, slippage_bps=slippage, ticks=recorded, say=_say)
    folder = save(trained, models)
    metrics = trained.manifest.metrics
    sys.stdout.write(
        f"{trained.manifest.verdict}: {trained.manifest.why}\n"
        f"AUC {metrics.auc.value:.4f} [{metrics.auc.low:.4f}, {metrics.auc.high:.4f}], {metrics.trades} trades, net "
        f"{metrics.net.value * 100:+.2f} % [{metrics.net.low * 100:+.2f}, {metrics.net.high * 100:+.2f}], buy and hold "
        f"{metrics.hold * 100:+.2f} %.\n{folder}\n"
    )


def verify(
    name: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str, typer.Argument(help="Its version, or the first digits of it.")],
    models: Models = DEFAULT,
) -> None:
    """Check an artefact's hashes and replay its reference rows."""
    needs_training_packages()
    from alpha.scoring.local import Session
    from alpha.scoring.manifest import find_artefact

    session = Session(find_artefact(models, name, version))
    sys.stdout.write(f"{name} {session.artefact.version}: unchanged, {session.manifest.verdict}.\n")


def prove(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many random walks.")] = 200,
    effect: Annotated[float, typer.Option("--effect", help="A planted effect; 0: none.")] = 0.0,
) -> None:
    """Train on made markets whose truth is known: on random walks no model may pass."""
    needs_training_packages()
    from research.models.proof import prove as run

    passed = run(seeds, effect, _say)
    sys.stdout.write(f"{passed} of {seeds} passed.\n")
    if passed and not effect:
        raise typer.Exit(1)


async def _measured_slippage() -> float:
    """The mean slippage of our market orders so far, in basis points; Misconfigured while there are fewer than 30."""
    from alpha.config.loader import load
    from operations.context import OperationsSettings, open_operations

    async with open_operations(load(OperationsSettings), "alpha") as platform:
        rows = await platform.history.rows(SQL["slippage"])
    orders, mean = int(rows[0]["orders"]), rows[0]["mean"]
    if orders < 30:
        raise Misconfigured(
            f"Slippage was measured on {orders} market orders; 30 are needed. Give costs.slippage_bps a number."
        )
    return max(0.0, round(float(mean), 3))


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")

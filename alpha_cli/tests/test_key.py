"""`alpha key`: swaps either key of a bot, in place, once it is proven to be of the same account."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alpha.registry import Registry
from alpha_cli.commands.key import _holders
from alpha_cli.installation.layout import READ_WITH_TRADING_KEY, key_pairs
from alpha_cli.installation.write import Installation, read_env
from alpha_cli.main import build
from tests.support.world import BOTS, ROOT, Simulator

FURTHER = (
    *("--account", "newer:secret-newer:0:of=key-ss"),
    *("--account", "reads:secret-reads:0:of=key-ss,read-only"),
    *("--account", "foreign:secret-foreign:0:of=key-lx,read-only"),
)
OLD = (BOTS[0].key, BOTS[0].secret)


@pytest.fixture
async def checkout(tmp_path: Path) -> AsyncIterator[Path]:
    """A checkout without keys, on an exchange with several keys for ShortSeller's account."""
    simulator = Simulator(tmp_path, options=FURTHER)
    await simulator.start()
    for name in ("bots.toml", ".env.example"):
        shutil.copy(ROOT / name, tmp_path)
    settings = "".join(f"{name}={value}\n" for name, value in simulator.environment().items())
    (tmp_path / ".env").write_text(settings)
    yield tmp_path
    simulator.process.stop()


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


async def key(folder: Path, *typed: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run the command for ShortSeller without a restart; returns the exit code and its output."""
    words = ["key", "shortseller", "--folder", str(folder), "--no-restart", *options]
    run = CliRunner().invoke
    done = await asyncio.to_thread(run, build(words), words, "".join(f"{line}\n" for line in typed))
    return done.exit_code, f"{done.output} {done.exception}"


async def test_where_secrets_are_files_each_key_changes_for_those_who_hold_it(
    checkout: Path, registry: Registry
) -> None:
    bot = registry.find("shortseller")
    installation = Installation(checkout, registry)
    installation.write(dict(zip(key_pairs(bot)[0], OLD, strict=True)))
    append(checkout / ".env", f"{READ_WITH_TRADING_KEY}={bot.id},lxalgo_001\n")

    def placed(service: str, variable: str) -> str:
        return (installation.folder / service / variable.lower()).read_text()

    for typed, why in ((("newer", "secret-newer"), "Read-Only"), (("foreign", "secret-foreign"), "account")):
        code, said = await key(checkout, *typed, options=("--read-only",))
        assert code != 0
        assert why in said
    code, said = await key(checkout, "reads", "secret-reads", options=("--read-only",))
    assert code == 0, said
    assert placed("websocket_listener", bot.read_key_variable) == "reads"
    assert placed("shortseller", bot.key_variable) == OLD[0]
    assert read_env(checkout / ".env")[READ_WITH_TRADING_KEY] == "lxalgo_001", "the choice of before is over"
    code, said = await key(checkout, "newer", "secret-newer")
    assert code == 0, said
    for service in ("shortseller", "risk_guard"):
        assert placed(service, bot.key_variable) == "newer"
    assert placed("trade_sync_service", bot.read_key_variable) == "reads"


async def test_where_a_plain_env_has_the_keys_a_second_one_goes_beside_the_first(
    checkout: Path, registry: Registry
) -> None:
    bot = registry.find("shortseller")
    lines = "".join(f"{name}={value}\n" for name, value in zip(key_pairs(bot)[0], OLD, strict=True))
    append(checkout / ".env", lines)
    code, said = await key(checkout, "reads", "secret-reads", options=("--read-only",))
    assert code == 0, said
    env = read_env(checkout / ".env")
    assert (env[bot.key_variable], env[bot.read_key_variable]) == (OLD[0], "reads")
    assert not (checkout / "secrets").exists()


def test_those_who_hold_the_key_that_changes_are_started_anew(registry: Registry) -> None:
    bot = registry.find("shortseller")
    trading, reading = (dict.fromkeys(pair, "x") for pair in key_pairs(bot))
    both = {**trading, **reading}
    readers = {"websocket_listener", "trade_sync_service"}
    assert set(_holders(bot, both, read_only=False)) == {"shortseller", "risk_guard"}
    assert set(_holders(bot, both, read_only=True)) == readers
    assert set(_holders(bot, trading, read_only=False)) == {"shortseller", "risk_guard", *readers}
    assert set(_holders(bot, reading, read_only=True)) == {*readers, "risk_guard"}

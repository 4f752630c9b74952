"""`alpha init`: on a fresh checkout, on one with a plain `.env`, and again on an installation in use."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alpha.registry import Registry
from alpha_cli.installation.layout import READ_WITH_TRADING_KEY, key_pairs, tokens
from alpha_cli.installation.write import Installation, read_env
from alpha_cli.main import build

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("bots.toml", ".env.example"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def init(folder: Path, *typed: str, options: tuple[str, ...] = ()) -> str:
    """Run the command with the operator's input; returns its output."""
    words = ["init", "--folder", str(folder), *options]
    done = CliRunner().invoke(build(words), words, input="".join(f"{line}\n" for line in typed))
    assert done.exit_code == 0, done.output
    return done.output


def test_enter_keeps_the_exchange_and_every_secret(checkout: Path, registry: Registry) -> None:
    keys = [f"of-{name}" for bot in registry.bots for pair in key_pairs(bot) for name in pair]
    init(checkout, "live", *keys, *(f"1:of-{name}" for name in tokens(registry)), "7")
    before = Installation(checkout, registry).read()
    assert {name: value for name, value in before.items() if value == f"of-{name}"}.keys() >= {
        name for bot in registry.bots for pair in key_pairs(bot) for name in pair
    }
    said = init(checkout, "", *[""] * (2 * len(registry.bots) + len(tokens(registry))), "")
    env = read_env(checkout / ".env")
    assert (env["BYBIT_DEMO"], env["BYBIT_TESTNET"], env["C2_TELEGRAM_ADMIN_IDS"]) == ("false", "false", "7")
    assert Installation(checkout, registry).read() == before
    assert "0 new or changed" in said
    assert "Read-Only" in said, "it says why there are two keys"


def test_what_the_command_centre_would_refuse_is_asked_for_again(checkout: Path, registry: Registry) -> None:
    nothing = ["", "", "", "", "", ""]
    wrong = ["no-token", "123:also wrong", "123456789:AA-x_y", *[""] * (len(tokens(registry)) - 1), "me", "7,", "7, 8"]
    said = init(checkout, "demo", *nothing, *wrong)
    assert said.count("is not a token (a token looks like") == 2
    assert said.count("is not a list of Telegram ids") == 2
    assert read_env(checkout / ".env")["C2_TELEGRAM_ADMIN_IDS"] == "7, 8"
    assert Installation(checkout, registry).read()["C2_TELEGRAM_BOT_TOKEN"] == "123456789:AA-x_y"


def test_without_a_second_key_the_one_that_trades_is_read_with_only_by_choice(
    checkout: Path, registry: Registry
) -> None:
    first, second, third = registry.bots
    listener = checkout / "secrets/websocket_listener"
    rest = ["", "", "", "", *[""] * len(tokens(registry)), ""]
    said = init(checkout, "demo", "key", "secret", "", "n", *rest)
    assert f"{first.id}: the listener and the trade sync have no key" in said
    assert not (listener / first.read_key_variable.lower()).exists()
    assert READ_WITH_TRADING_KEY not in read_env(checkout / ".env")
    said = init(checkout, "", "", "", "y", *rest)
    assert "hold the key that trades, as chosen" in said
    assert (listener / first.read_key_variable.lower()).read_text() == "key"
    assert not (listener / first.key_variable.lower()).exists()
    assert read_env(checkout / ".env")[READ_WITH_TRADING_KEY] == first.id
    # Enter keeps the choice, as does a run that asks nothing.
    assert "as chosen" in init(checkout, "", "", "", "", *rest)
    assert "as chosen" in init(checkout, options=("--yes",))
    # A second key ends that choice.
    said = init(checkout, "", "", "reads", "its-secret", *rest)
    assert READ_WITH_TRADING_KEY not in read_env(checkout / ".env")
    assert (listener / first.read_key_variable.lower()).read_text() == "reads"
    assert "as chosen" not in said
    assert second.id not in said
    assert third.id not in said


def test_secrets_of_a_plain_env_move_to_their_files(checkout: Path, registry: Registry) -> None:
    bot = registry.bots[0]
    text = (checkout / ".env.example").read_text()
    for name in ("POSTGRES_PASSWORD", bot.key_variable, bot.secret_variable, "C2_TELEGRAM_BOT_TOKEN"):
        text = text.replace(f"\n{name}=\n", f"\n{name}=of-{name}\n")
    (checkout / ".env").write_text(text + "MINE=1\n")
    init(checkout, options=("--yes",))
    known = Installation(checkout, registry).read()
    assert known["POSTGRES_PASSWORD"] == "of-POSTGRES_PASSWORD", "the database that runs goes by it"
    assert known[bot.key_variable] == f"of-{bot.key_variable}"
    assert "of-" not in (checkout / ".env").read_text()
    assert read_env(checkout / ".env")["MINE"] == "1"
    assert (checkout / "secrets/risk_guard" / bot.key_variable.lower()).read_text() == f"of-{bot.key_variable}"

import stat
from pathlib import Path

import pytest

from alpha.registry import Registry
from alpha_cli.installation.layout import READ_WITH_TRADING_KEY, READERS, files, generated, given, key_pairs
from alpha_cli.installation.write import Installation, change_env, read_env, write_env


def test_what_exists_is_kept_and_what_is_given_is_placed(tmp_path: Path, registry: Registry) -> None:
    first = Installation(tmp_path, registry)
    first.write({"SHORTSELLER_BYBIT_API_KEY": "the-key"})
    before = first.read()
    changed = Installation(tmp_path, registry).write(
        {"SHORTSELLER_BYBIT_API_KEY": "another", "LXALGO_BYBIT_API_KEY": ""}
    )
    assert changed == ["SHORTSELLER_BYBIT_API_KEY"]
    after = first.read()
    assert {**before, "SHORTSELLER_BYBIT_API_KEY": "another"} == after
    assert (tmp_path / "secrets/shortseller/shortseller_bybit_api_key").read_text() == "another"


def test_nobody_but_the_owner_gets_into_the_folder(tmp_path: Path, registry: Registry) -> None:
    Installation(tmp_path, registry).write({})
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_every_password_is_strong_and_its_own(tmp_path: Path, registry: Registry) -> None:
    installation = Installation(tmp_path, registry)
    installation.write({})
    made = [installation.read()[name] for name in generated(registry)]
    assert len(set(made)) == len(made)
    assert min(map(len, made)) >= 32


@pytest.mark.parametrize("folder", ["telegram_manager", "postgres", "redis", "migrate", "dashboard", "postgres_backup"])
def test_keys_of_the_exchange_reach_only_those_who_trade_or_read_with_them(folder: str, registry: Registry) -> None:
    known = {name: name for bot in registry.bots for name in (bot.key_variable, bot.secret_variable)}
    placed = files(registry, known)
    assert not [name for name in placed if name.startswith(f"{folder}/")]
    assert {name for name in placed if name.startswith("shortseller/")} == {
        "shortseller/shortseller_bybit_api_key",
        "shortseller/shortseller_bybit_api_secret",
    }


def test_a_key_that_trades_goes_to_its_bot_the_guard_and_who_tries_it_alone(registry: Registry) -> None:
    known = {name: f"of-{name}" for name in given(registry)}
    placed = files(registry, known)
    for bot in registry.bots:
        (key, _), (read_key, _) = key_pairs(bot)
        holders = {name.split("/")[0] for name, value in placed.items() if value == f"of-{key}"}
        assert holders == {bot.container, "risk_guard", "doctor"}, "the doctor runs once, when it is asked to"
        readers = {name for name, value in placed.items() if value == f"of-{read_key}"}
        assert readers == {f"{reader}/{read_key.lower()}" for reader in (*READERS, "doctor")}
    assert {name for name in placed if name.startswith("export/")} == set(), "who exports sees no key"


def test_a_choice_to_read_with_the_key_that_trades_stands_in_the_settings(tmp_path: Path, registry: Registry) -> None:
    bot, key = registry.bots[0], "websocket_listener/shortseller_bybit_read_api_key"
    installation = Installation(tmp_path, registry)
    installation.write({bot.key_variable: "the-key", bot.secret_variable: "the-secret"})
    assert not (installation.folder / key).exists(), "nobody's key stands in for another by itself"
    (tmp_path / ".env").write_text(f"{READ_WITH_TRADING_KEY}={bot.id}\n")
    installation.write({})
    assert (installation.folder / key).read_text() == "the-key"
    installation.write({bot.read_key_variable: "reads", bot.read_secret_variable: "its-secret"})
    assert (installation.folder / key).read_text() == "reads"


def test_the_settings_file_keeps_its_comments_and_what_was_set_before(tmp_path: Path) -> None:
    example, env = tmp_path / ".env.example", tmp_path / ".env"
    example.write_text("# A comment.\nBYBIT_DEMO=true\nLOG_LEVEL=info\n")
    env.write_text("LOG_LEVEL=debug\nMINE=1\n")
    write_env(env, example, {"BYBIT_DEMO": "false"})
    lines = env.read_text().splitlines()
    assert lines[:3] == ["# A comment.", "BYBIT_DEMO=false", "LOG_LEVEL=debug"]
    assert {"MINE=1", "ALPHA_SECRETS=files"} <= set(lines)
    assert stat.S_IMODE(env.stat().st_mode) == 0o600


def test_a_value_in_env_is_changed_and_every_other_line_stays(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# keys\nA_KEY=old\nOTHER = kept\n\nEMPTY=\n#A_KEY=a comment\n")
    assert read_env(path) == {"A_KEY": "old", "OTHER": "kept"}
    change_env(path, {"A_KEY": "new", "FURTHER": "1"})
    assert path.read_text() == "# keys\nA_KEY=new\nOTHER = kept\n\nEMPTY=\n#A_KEY=a comment\nFURTHER=1\n"
    assert path.stat().st_mode & 0o777 == 0o600

import stat
from pathlib import Path

import pytest

from alpha.installation.layout import READERS, files, generated, read_variables
from alpha.installation.write import Installation, change_env, read_env, write_env
from alpha.registry import Registry


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


def test_a_key_that_trades_stays_with_bot_and_guard_where_there_is_one_that_reads(registry: Registry) -> None:
    known = {name: f"trades-{name}" for bot in registry.bots for name in (bot.key_variable, bot.secret_variable)}
    known |= {name: f"reads-{name}" for name in read_variables(registry.find("shortseller"))}
    holders = {name.split("/")[0] for name, value in files(registry, known).items() if value.startswith("trades-SHORT")}
    assert holders == {"shortseller", "risk_guard", "doctor"}, (
        "the doctor runs once, when asked, and tries the key itself"
    )
    placed = files(registry, known)
    for reader in READERS:
        assert placed[f"{reader}/shortseller_bybit_api_key"] == "reads-SHORTSELLER_BYBIT_READ_API_KEY"
        assert placed[f"{reader}/lxalgo_bybit_api_key"] == "trades-LXALGO_BYBIT_API_KEY"
    half = {name: value for name, value in known.items() if not name.endswith("READ_API_SECRET")}
    assert files(registry, half)["websocket_listener/shortseller_bybit_api_key"].startswith("trades-")


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
    change_env(path, {"A_KEY": "new"})
    assert path.read_text() == "# keys\nA_KEY=new\nOTHER = kept\n\nEMPTY=\n#A_KEY=a comment\n"
    assert path.stat().st_mode & 0o777 == 0o600

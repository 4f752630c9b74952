from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from alpha.config.exchange import ExchangeSettings
from alpha.config.gates import refuse_live
from alpha.config.keys import BotKeys, load_guarding_keys, load_reading_keys
from alpha.config.loader import Settings, load
from alpha.config.services import DatabaseSettings, HealthSettings, LogSettings
from alpha.errors import Misconfigured
from alpha.model.account import Environment
from alpha.registry import load_registry

ROOT = Path(__file__).resolve().parents[3]


def exchange(**values: Any) -> ExchangeSettings:
    return load(ExchangeSettings, env_file=None, **values)


def test_a_missing_value_names_its_variable_and_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("POSTGRES_PASSWORD", raising=False)
    with pytest.raises(Misconfigured, match=r"POSTGRES_PASSWORD is not set.*alpha init"):
        load(DatabaseSettings, env_file=tmp_path / ".env")


def test_a_wrong_type_names_its_variable_and_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTH_PORT", "ten")
    with pytest.raises(Misconfigured, match=r"HEALTH_PORT is 'ten'"):
        load(HealthSettings, env_file=None)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD", "hunter2")
    monkeypatch.setenv("POSTGRES_PORT", "0")
    with pytest.raises(Misconfigured) as fault:
        load(DatabaseSettings, env_file=None)
    assert "hunter2" not in str(fault.value)
    monkeypatch.setenv("POSTGRES_PORT", "5432")
    assert "hunter2" not in repr(load(DatabaseSettings, env_file=None))


def test_a_secret_comes_from_the_file_that_its_variable_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("from a file\n")
    monkeypatch.delenv("POSTGRES_PASSWORD", raising=False)
    monkeypatch.setenv("POSTGRES_PASSWORD_FILE", str(secret))
    assert load(DatabaseSettings, env_file=None).postgres_password.get_secret_value() == "from a file"


def test_a_container_finds_its_secrets_without_being_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("alpha.config.loader.CONTAINER_SECRETS", tmp_path)
    monkeypatch.setenv("POSTGRES_PASSWORD", "")
    (tmp_path / "postgres_password").write_text("mounted")
    (tmp_path / "postgres_host").write_text("not a secret, not read")
    settings = load(DatabaseSettings, env_file=None)
    assert settings.postgres_password.get_secret_value() == "mounted"
    assert settings.postgres_host == "127.0.0.1"


def test_an_unreadable_secret_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTGRES_PASSWORD_FILE", str(tmp_path / "absent"))
    with pytest.raises(Misconfigured, match="POSTGRES_PASSWORD_FILE names"):
        load(DatabaseSettings, env_file=None)


def test_a_prefix_starts_the_name_of_every_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="SHORTSELLER_BYBIT_API_KEY is not set"):
        load(BotKeys, prefix="SHORTSELLER_", env_file=None)
    secret = tmp_path / "key"
    secret.write_text("k")
    monkeypatch.setenv("SHORTSELLER_BYBIT_API_KEY_FILE", str(secret))
    monkeypatch.setenv("SHORTSELLER_BYBIT_API_SECRET", "s")
    assert load(BotKeys, prefix="SHORTSELLER_", env_file=None).bybit_api_key.get_secret_value() == "k"


def test_who_only_reads_takes_the_key_that_only_reads_and_the_guard_the_one_that_trades(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bot = load_registry(ROOT / "bots.toml").find("shortseller")

    def reading() -> str:
        return load_reading_keys(bot, env_file=None).bybit_api_key.get_secret_value()

    def guarding() -> tuple[str, bool]:
        keys, trades = load_guarding_keys(bot, env_file=None)
        return keys.bybit_api_key.get_secret_value(), trades

    for load_them in (reading, guarding):
        with pytest.raises(Misconfigured, match=bot.read_key_variable):
            load_them()
    monkeypatch.setenv(bot.read_key_variable, "reads")
    with pytest.raises(Misconfigured, match=f"{bot.read_secret_variable} is not set"):
        reading()
    monkeypatch.setenv(bot.read_secret_variable, "secret")
    assert (reading(), guarding()) == ("reads", ("reads", False))
    monkeypatch.setenv(bot.key_variable, "trades")
    with pytest.raises(Misconfigured, match=f"{bot.secret_variable} is not set"):
        guarding()
    monkeypatch.setenv(bot.secret_variable, "secret")
    assert (reading(), guarding()) == ("reads", ("trades", True))
    monkeypatch.delenv(bot.read_key_variable)
    monkeypatch.delenv(bot.read_secret_variable)
    assert reading() == "trades", "the manual's one key for all"


def test_demo_and_testnet_together_are_refused() -> None:
    with pytest.raises(Misconfigured, match="BYBIT_DEMO and BYBIT_TESTNET are both true"):
        exchange(bybit_demo=True, bybit_testnet=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.bybit.com",
        "https://API.BYBIT.COM./x",
        "https://api.bytick.com",
        "https://u@api.bybit.nl:443",
        "http://api.bybit.com#@127.0.0.1",
        "https://api.bybit-tr.com",
    ],
)
def test_a_host_of_bybit_is_refused_as_simulated_exchange(url: str) -> None:
    with pytest.raises(Misconfigured, match="BYBIT_REST_URL names"):
        exchange(bybit_rest_url=url, bybit_ws_url="ws://127.0.0.1:1")


def test_the_environment_follows_the_switches() -> None:
    assert exchange().environment() is Environment.DEMO
    assert exchange(bybit_demo=False).environment() is Environment.LIVE
    assert exchange(bybit_demo=False).environment(demo=True) is Environment.DEMO
    assert exchange(bybit_demo=False, bybit_testnet=True).environment() is Environment.TESTNET
    simulated = exchange(bybit_rest_url="http://127.0.0.1:1/", bybit_ws_url="ws://127.0.0.1:1")
    assert simulated.environment() is Environment.SIMULATED
    assert simulated.bybit_rest_url == "http://127.0.0.1:1"


def test_real_money_needs_the_bot_named_and_a_largest_order() -> None:
    bot = load_registry(Path(__file__).resolve().parents[3] / "bots.toml").find("shortseller")
    keys = load(BotKeys, env_file=None, bybit_api_key="k", bybit_api_secret="s")
    with pytest.raises(Misconfigured, match="ALPHA_LIVE_TRADING does not name it"):
        refuse_live(exchange(bybit_demo=False), keys, bot)
    with pytest.raises(Misconfigured, match="ALPHA_LIVE_MAX_ORDER_USDT is not set"):
        refuse_live(exchange(bybit_demo=False, alpha_live_trading="shortseller_001"), keys, bot)
    refuse_live(
        exchange(bybit_demo=False, alpha_live_trading=" shortseller_001 , x", alpha_live_max_order_usdt="100"),
        keys,
        bot,
    )
    refuse_live(exchange(), keys, bot)


@pytest.mark.parametrize("written", ["INFO", "Info", " info "])
def test_a_choice_is_taken_in_any_case(written: str) -> None:
    assert load(LogSettings, env_file=None, log_level=written).log_level == "info"


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "1e21"])
def test_a_number_that_nobody_means_is_refused(text: str) -> None:
    class Limits(Settings):
        largest_usdt: Decimal = Decimal(1)

    with pytest.raises(Misconfigured, match=f"LARGEST_USDT.*{text}.*between 1e-20 and 1e20 in size"):
        load(Limits, env_file=None, largest_usdt=text)


def test_a_number_may_have_its_thousands_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_PORT", "6,432")
    monkeypatch.setenv("POSTGRES_PASSWORD", "x")
    assert load(DatabaseSettings, env_file=None).postgres_port == 6432
    settings = load(ExchangeSettings, env_file=None, alpha_live_max_order_usdt="1,000.50")
    assert settings.alpha_live_max_order_usdt == "1000.50"
    with pytest.raises(Misconfigured, match="POSTGRES_PORT"):
        load(DatabaseSettings, env_file=None, postgres_port="6,43", postgres_password="x")

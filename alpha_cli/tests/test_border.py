"""User input is read the same way everywhere, and the answer is one sentence on any terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alpha.config.exchange import ExchangeSettings
from alpha.config.keys import BotKeys
from alpha.config.loader import load
from alpha.config.services import LogSettings
from alpha.errors import Misconfigured
from alpha.log_folders import check_env
from alpha_cli.main import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what `--env-file` leaves in this process after the test."""
    monkeypatch.setenv("ALPHA_ENV_FILE", "")


def test_the_doctor_reads_the_file_that_was_named_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("BYBIT_REST_URL", "BYBIT_WS_URL", "SHORTSELLER_BYBIT_API_KEY", "POSTGRES_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    here, named = "http://127.0.0.1:9", "http://127.0.0.1:10"
    for path, url in ((tmp_path / ".env", here), (tmp_path / "x.env", named)):
        path.write_text(
            f"BYBIT_REST_URL={url}\nBYBIT_WS_URL={url.replace('http', 'ws')}\nPOSTGRES_PASSWORD=x\nPOSTGRES_PORT=9\n"
            f"REDIS_PASSWORD=x\nREDIS_PORT=9\nALPHA_BOTS_FILE={ROOT / 'bots.toml'}\n"
        )
    monkeypatch.chdir(tmp_path)
    assert main(["--env-file", "x.env", "doctor", "--json"]) == 1
    said = capsys.readouterr().out
    assert named in said
    assert here + "/" not in said.replace(named, "")
    assert f'"{here}' not in said


def test_init_and_key_read_and_write_the_file_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bots.toml", ".env.example"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=of-here\n")
    (tmp_path / "x.env").write_text("POSTGRES_PASSWORD=of-x\nBYBIT_TESTNET=true\nBYBIT_DEMO=false\n")
    monkeypatch.chdir(tmp_path)
    assert main(["--env-file", "x.env", "init", "--yes"]) == 0
    assert (tmp_path / ".env").read_text() == "POSTGRES_PASSWORD=of-here\n"
    assert "of-x" in (tmp_path / "secrets/installation.json").read_text()
    assert "BYBIT_TESTNET=true" in (tmp_path / "x.env").read_text()
    assert main(["--env-file", "x.env", "key", "momentum"]) == 1
    assert "has a key of momentum_001 yet" in capsys.readouterr().err
    assert main(["--env-file", "nowhere.env", "doctor"]) == 2
    assert "nowhere.env, which is not a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "KEY=ab$cd", "KEY=ab${cd}", "KEY=   # comment", "KEY=#comment", "KEY=abc\t# comment", "KEY='abc", 'KEY="abc',
        "KEY=\"a$b\"", "KEY='a${b}'", "KEY='abc'def", "KEY=a\\b", "KEY", "KEY: value", "1KEY=a", "KEY=a\u200bb", "KEY=a\u00a0b",
        "KEY=abc'", "K\x00=1",
    ],
)  # fmt: skip
def test_a_line_that_both_would_read_differently_is_refused_with_the_way_to_write_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    path = tmp_path / ".env"
    path.write_text(f"GOOD=1\n{line}\n", encoding="utf-8")
    assert check_env(path) == 1
    said = capsys.readouterr().err
    assert "line 2: " in said
    assert "abc" not in said.replace("KEY='...'", ""), "a value is never shown"
    assert len(said.splitlines()) == 1


def test_what_both_read_alike_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ".env"
    path.write_text("# c\n\nA=1\nB = 2\nexport C=3\nD='a$b #c'\nE=\"x y\" # z\nF=a#b\nG=x y # z\nH=\r\n", newline="")
    assert check_env(path) == 0
    assert check_env(ROOT / ".env.example") == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "named"),
    [("abc\u200bdef", "ZERO WIDTH SPACE"), ("abc def", "SPACE"), ("abcд", "CYRILLIC"), ("a\x07", r"U\+0007")],
)
def test_a_pasted_key_with_a_character_that_nobody_sees_is_named_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, value: str, named: str
) -> None:
    monkeypatch.setenv("MOMENTUM_BYBIT_API_KEY", value)
    monkeypatch.setenv("MOMENTUM_BYBIT_API_SECRET", "good")
    with pytest.raises(Misconfigured, match=named) as caught:
        load(BotKeys, prefix="MOMENTUM_", env_file=None)
    assert str(caught.value).startswith("MOMENTUM_BYBIT_API_KEY ")
    assert "abc" not in str(caught.value)


def test_words_in_any_case_and_numbers_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    assert load(LogSettings, env_file=None).log_level == "info"
    monkeypatch.setenv("ALPHA_LIVE_MAX_ORDER_USDT", "1,000")
    assert load(ExchangeSettings, env_file=None).alpha_live_max_order_usdt == "1000"
    monkeypatch.setenv("ALPHA_LIVE_MAX_ORDER_USDT", "1,00")
    with pytest.raises(Misconfigured, match=r"ALPHA_LIVE_MAX_ORDER_USDT is '1,00': "):
        load(ExchangeSettings, env_file=None)
    monkeypatch.setenv("ALPHA_LIVE_MAX_ORDER_USDT", "100")
    monkeypatch.setenv("BYBIT_REST_URL", "ftp://x")
    with pytest.raises(Misconfigured, match="must begin with http") as caught:
        load(ExchangeSettings, env_file=None)
    assert "^" not in str(caught.value), "a regular expression is no sentence"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_no_terminal_ends_a_command(encoding: str) -> None:
    words = "from alpha.terminal import make_safe; make_safe(); print('10 \\u2192 20 \\u2705 \\u65e5')"
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", words],
        cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"10 -> 20 [ok] ?\n"


def test_an_export_takes_any_name_of_a_bot() -> None:
    from alpha_cli.bot_names import bot_id

    assert {bot_id(name) for name in ("momentum", "Momentum", "momentum_001", "mo")} == {"momentum_001"}
    assert bot_id("former_007") == "former_007"

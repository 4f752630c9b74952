"""`alpha observe` on the simulated exchange: an account's history, compared, with a key that only reads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from alpha.bybit.session import Credentials
from alpha.errors import Misconfigured
from alpha_cli.main import main
from alpha_cli.observe.key import ask_for_key, read_key_file
from alpha_cli.observe.run import Books
from exchange_simulator.tests.clients.process import Simulator, running
from tests.support.account_history import ARGUMENTS, make_history

ROOT = Path(__file__).resolve().parents[2]


def observe(exchange: Simulator, folder: Path, key: str) -> "subprocess.CompletedProcess[str]":
    (folder / "key").write_text(key, encoding="utf-8")
    command = ["observe", "--key-file", str(folder / "key"), "--exchange", exchange.rest_url, "--once"]
    return subprocess.run(
        [sys.executable, "-m", "alpha_cli", *command, "--state", str(folder / "state")],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_books_of_an_account_with_a_history(tmp_path: Path) -> None:
    made = make_history(tmp_path / "exchange.db", days=20, orders_sent=150)
    with running(*ARGUMENTS, "--data", str(tmp_path / "exchange.db")) as exchange:
        done = observe(exchange, tmp_path, "reading-key\nreading-secret\n")
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.search(r"Your books since 2025-01-01: ([\d,]+) fills, ([\d,]+) funding payments,", done.stdout)
        assert found is not None, done.stdout
        assert sum(int(number.replace(",", "")) for number in found.groups()) == made
        assert "differences: 0\n" in done.stdout
        assert "Dashboard: http://127.0.0.1:" in done.stdout
        # neither the terminal nor any file of the record has the secret
        assert "reading-secret" not in done.stdout + done.stderr
        kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file() and "postgres" not in path.parts]
        assert kept
        assert not [path for path in kept if b"reading-secret" in path.read_bytes()]

        trading = observe(exchange, tmp_path, "KEY=trading-key\nSECRET=trading-secret\n")
        assert (trading.returncode, trading.stdout) == (1, "")
        assert trading.stderr.startswith("This key may trade, and watching needs none of that.")
        wrong = observe(exchange, tmp_path, "reading-key\nanother-secret\n")
        assert wrong.returncode == 2
        assert "the signature does not match" in wrong.stderr
        assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one-line\n", "must hold two lines"),
        ("a\nb\nc\n", "it has 3"),
        ("key\u200b\nsecret\n", "invisible character"),
        ("key with blank\nsecret\n", "without blanks"),
    ],
)
def test_a_file_that_is_no_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured, match=said):
        read_key_file(tmp_path / "key")


def test_a_missing_file_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["observe", "--key-file", str(tmp_path / "none")]) == 2
    assert (
        capsys.readouterr().err
        == f"--key-file names {tmp_path / 'none'}, which cannot be read: No such file or directory.\n"
    )


def test_without_a_file_the_key_is_asked_for_and_the_secret_is_not_shown() -> None:
    asked: list[Credentials] = []
    app = typer.Typer()

    @app.command()
    def ask() -> None:
        asked.append(ask_for_key())

    shown = CliRunner().invoke(app, input="a-key\na-secret\n")
    assert (asked[0].key, asked[0].secret) == ("a-key", "a-secret")
    assert "a-secret" not in shown.output


def test_books_that_differ_or_were_not_compared_say_so() -> None:
    assert Books(3, 1, 1, {}, "", 2, "").line().endswith("P&L 0 USDT, differences: 2")
    assert Books(3, 1, 1, {}, "", None, "").line().endswith("differences: not compared")

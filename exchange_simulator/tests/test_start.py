"""The command line: valid options, and one clear sentence for invalid ones."""

import gzip
import signal
import socket
import subprocess
import sys
import urllib.request
from decimal import Decimal
from pathlib import Path

import pytest

from exchange_simulator.__main__ import main
from exchange_simulator.keys import BadAccount, parse_account
from exchange_simulator.options import BadOption, parse


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "exchange_simulator", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--replay", "/no/such/folder"], "/no/such/folder"),
        (["--account", "lonely"], "lonely"),
        (["--account", "key:secret:lots"], "lots"),
        (["--account", "key:secret:1:dance"], "dance"),
        (["--account", "a:b", "--account", "a:c"], "'a'"),
        (["--port", "70000"], "70000"),
        (["--speed", "slow"], "slow"),
        (["--speed", "0"], "--speed"),
        (["--start", "soon"], "soon"),
        (["--start", "1999-01-01"], "1999-01-01"),
        (["--path", "sideways"], "sideways"),
        (["--symbols", "btc usdt"], "btc usdt"),
        (["--leverage", "0"], "--leverage"),
        (["--shrug"], "--shrug"),
        (["--data", "/no/such/folder/file.sqlite"], "/no/such/folder/file.sqlite"),
    ],
)
def test_a_start_that_cannot_be_ends_with_one_sentence_and_code_2(
    arguments: list[str], names: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["exchange_simulator", "--port", "0", *arguments])
    assert main() == 2
    said = capsys.readouterr().err
    assert names in said
    assert said.count("\n") == 1


def test_the_process_itself_ends_with_code_2_and_without_a_traceback() -> None:
    ended = run("--port", "0", "--replay", "/no/such/folder")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stderr


def test_a_secret_never_shows_in_a_refusal() -> None:
    for text in ("key:hush:lots", "key:hush:1:dance"):
        with pytest.raises(BadAccount) as caught:
            parse_account(text)
        assert "hush" not in str(caught.value)


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run("--port", port)
    assert ended.returncode == 2
    assert port in ended.stderr


def test_a_warmup_beyond_the_recording_is_refused(tmp_path: Path) -> None:
    lines = ["start_ms,open,high,low,close,volume"]
    lines += [f"{1_700_006_400_000 + 300_000 * n},100.0,101.0,99.0,100.0,5" for n in range(10)]
    (tmp_path / "BTCUSDT.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(BadOption, match="--warmup"):
        parse(["--replay", str(tmp_path)], {})
    assert parse(["--replay", str(tmp_path), "--warmup", "4"], {}).setup.start_ms == 1_700_006_400_000 + 4 * 300_000


def test_accounts_come_from_the_environment_as_well() -> None:
    keys = parse(["--account", "c:d:5"], {"SIM_ACCOUNTS": "a:b:200 ro:s::read-only,of=a"}).keys
    assert [key.api_key for key in keys] == ["a", "ro", "c"]
    assert keys[0].deposit == Decimal(200)
    assert keys[1].uid == keys[0].uid
    assert keys[1].read_only


def test_a_key_has_the_same_user_id_in_every_run() -> None:
    assert parse_account("bot:x").uid == parse_account("bot:y").uid
    assert parse_account("bot:x").uid != parse_account("other:x").uid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_exchange_prints_its_addresses_and_a_signal_ends_it_with_code_0(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange_simulator", "--port", "0", "--account", "a:b"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        rest, stream = (process.stdout.readline().split()[-1] for _ in range(2))
        assert rest.removeprefix("http") == stream.removeprefix("ws")
        with urllib.request.urlopen(f"{rest}/v5/market/time") as answer:
            assert answer.status == 200
        process.send_signal(number)
        assert process.wait(timeout=20) == 0

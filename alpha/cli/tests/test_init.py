"""`alpha init`, run again on an installation that is in use."""

import shutil
from pathlib import Path

from typer.testing import CliRunner

from alpha.cli.main import build
from alpha.installation.layout import asked
from alpha.installation.write import Installation, read_env
from alpha.registry import Registry

ROOT = Path(__file__).resolve().parents[3]


def test_enter_keeps_the_exchange_and_every_secret(tmp_path: Path, registry: Registry) -> None:
    for name in ("bots.toml", ".env.example"):
        shutil.copy(ROOT / name, tmp_path)

    def init(*typed: str) -> None:
        words = ["init", "--folder", str(tmp_path)]
        done = CliRunner().invoke(build(words), words, input="\n".join(typed) + "\n")
        assert done.exit_code == 0, done.output

    secrets = [f"value-{number}" for number in range(len(asked(registry)))]
    init("live", *secrets, "7")
    before = Installation(tmp_path, registry).read()
    init("", *[""] * len(secrets), "")
    env = read_env(tmp_path / ".env")
    assert (env["BYBIT_DEMO"], env["BYBIT_TESTNET"], env["C2_TELEGRAM_ADMIN_IDS"]) == ("false", "false", "7")
    assert Installation(tmp_path, registry).read() == before

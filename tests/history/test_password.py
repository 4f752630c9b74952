"""`alpha password rotate` changes the passwords everywhere, and the next run completes an interrupted one."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.postgres.database import connect
from alpha.postgres.migrate import MigrateSettings, run
from alpha.registry import Registry
from alpha_cli.installation import rotate
from alpha_cli.installation.rotate import with_password
from alpha_cli.installation.write import Installation, read_env
from alpha_cli.main import main
from demo.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
OLD = "the-old-password"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A dedicated server, since roles are server-wide."""
    postgres = EmbeddedPostgres(tmp_path / "postgres", OLD, durable=False)
    postgres.start()
    asyncio.run(run(load(MigrateSettings, env_file=None, **postgres.settings().model_dump())))
    yield postgres
    postgres.stop()


def checkout(folder: Path, *, in_files: bool) -> Path:
    folder.mkdir()
    for name in ("bots.toml", ".env.example"):
        shutil.copy(ROOT / name, folder)
    (folder / ".env").write_text(f"# mine\nPOSTGRES_PASSWORD={OLD}\n")
    if in_files:
        assert main(["init", "--folder", str(folder), "--yes"]) == 0
    return folder


def rotated(folder: Path, server: EmbeddedPostgres) -> int:
    return main(["password", "rotate", "--folder", str(folder), "--port", str(server.port), "--no-restart"])


def opens(settings: DatabaseSettings, user: str, password: str) -> bool:
    async def attempt() -> bool:
        as_user = settings.model_copy(update={"postgres_user": user})
        try:
            await (await connect(with_password(as_user, password), "tests")).close()
        except Misconfigured:
            return False
        return True

    return asyncio.run(attempt())


@pytest.mark.parametrize("in_files", [False, True])
def test_every_password_is_new_everywhere(
    server: EmbeddedPostgres, tmp_path: Path, registry: Registry, in_files: bool
) -> None:
    folder = checkout(tmp_path / "checkout", in_files=in_files)
    assert rotated(folder, server) == 0
    known = Installation(folder, registry).read() if in_files else read_env(folder / ".env")
    assert known["POSTGRES_PASSWORD"] != OLD
    assert not opens(server.settings(), "trading_user", OLD)
    assert opens(server.settings(), "trading_user", known["POSTGRES_PASSWORD"])
    guard = known["ALPHA_GUARD_DB_PASSWORD"] if in_files else known["POSTGRES_PASSWORD"]
    assert opens(server.settings(), "alpha_guard", guard)
    if in_files:
        assert (folder / "secrets/postgres/postgres_password").read_text() == known["POSTGRES_PASSWORD"]
        assert (folder / "secrets/risk_guard/postgres_password").read_text() == guard
    assert not (folder / "secrets/rotation.json").exists()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_one_that_was_cut_off_is_finished_by_the_next(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    folder = checkout(tmp_path / "checkout", in_files=False)

    class PowerCut(BaseException):
        pass

    def ends(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        if cut == "before":
            patch.setattr(rotate, "verifier", ends)
        else:
            patch.setattr("alpha_cli.commands.password.change_env", ends)
        with pytest.raises(PowerCut):
            rotated(folder, server)
    assert opens(server.settings(), "trading_user", OLD) == (cut == "before")
    assert rotated(folder, server) == 0
    assert opens(server.settings(), "trading_user", read_env(folder / ".env")["POSTGRES_PASSWORD"])


def test_a_password_that_the_database_does_not_know_is_explained(
    server: EmbeddedPostgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkout(tmp_path / "checkout", in_files=False)
    (folder / ".env").write_text("POSTGRES_PASSWORD=guessed\n")
    assert rotated(folder, server) == 2
    assert "keeps the password that it was made with" in capsys.readouterr().err
    assert opens(server.settings(), "trading_user", OLD)

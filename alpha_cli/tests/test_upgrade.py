"""`alpha upgrade`: build, migrate, up, in this order, and nothing after a failed step."""

import os
from pathlib import Path

import pytest

from alpha_cli.main import main

#: Records its arguments; fails at the step named by FAILS; PostgreSQL runs if RUNS says so.
_DOCKER = """#!/bin/sh
echo "$*" >>"$NOTES"
case "$*" in
  *" ps "*) echo "$RUNS" ;;
esac
case "$*" in
  *" $FAILS"*) echo "it failed" >&2; exit 1 ;;
esac
"""
FILE = "compose -f docker-compose.production.yml"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "docker").write_text(_DOCKER)
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("RUNS", "postgres risk_guard")
    monkeypatch.setenv("FAILS", "nothing")
    (tmp_path / "docker-compose.production.yml").touch()
    return tmp_path


def steps(checkout: Path) -> list[str]:
    return [line.removeprefix(f"{FILE} ") for line in (checkout / "notes").read_text().splitlines()]


def test_the_migrations_run_before_anything_is_replaced(checkout: Path) -> None:
    assert main(["upgrade", "--folder", str(checkout)]) == 0
    assert steps(checkout) == ["build", "ps --services --status running", "run --rm -T --no-deps migrate", "up -d"]


def test_without_a_running_postgresql_the_migration_brings_it(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNS", "")
    assert main(["upgrade", "--folder", str(checkout)]) == 0
    assert "run --rm -T migrate" in steps(checkout)


@pytest.mark.parametrize(
    ("fails", "said"), [("build", "could not be built"), ("run", "The migration failed"), ("up", "Not everything")]
)
def test_nothing_comes_after_a_step_that_failed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: str, said: str
) -> None:
    monkeypatch.setenv("FAILS", fails)
    assert main(["upgrade", "--folder", str(checkout)]) == 1
    assert said in capsys.readouterr().err
    assert steps(checkout)[-1].startswith(fails)
    assert ("up -d" in steps(checkout)) == (fails == "up")


def test_elsewhere_than_in_a_checkout_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", "--folder", str(tmp_path)]) == 2
    assert "run this in the checkout" in capsys.readouterr().err

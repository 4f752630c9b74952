"""Every row of the tables in docs/strategies.md is what its command prints."""

import re
import shlex
from pathlib import Path

import pytest

from alpha_cli.main import main
from tests.docs import strategies

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
ROW = re.compile(r"^\| [^|]+ \|(?P<figures>.+)\| `alpha (?P<command>[^`]+)` \|$")


def documented() -> list[tuple[str, list[str]]]:
    """Command and figures of each row."""
    rows = []
    for line in (ROOT / "docs" / "strategies.md").read_text().splitlines():
        if found := ROW.match(line):
            rows.append((found["command"], [cell.strip() for cell in found["figures"].split("|")]))
    return rows


def test_the_tables_have_rows_to_compare() -> None:
    assert len(documented()) >= 16


@pytest.mark.long
@pytest.mark.skipif(not DATA.exists(), reason="the recorded candles are not on this machine")
@pytest.mark.parametrize(("command", "figures"), documented())
def test_a_documented_row_is_what_its_command_prints(
    command: str, figures: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(shlex.split(command.replace("$DATA", str(DATA)))) == 0
    printed = capsys.readouterr().out
    assert [figure for figure in figures if f" {figure} " not in printed] == []


@pytest.mark.long
@pytest.mark.skipif(not DATA.exists(), reason="the recorded candles are not on this machine")
def test_the_page_is_what_its_generator_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "strategies.md"
    page.write_text(strategies.PAGE.read_text())
    monkeypatch.setattr(strategies, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["strategies", str(DATA)])
    monkeypatch.chdir(ROOT)
    strategies.main()
    assert page.read_text() == (ROOT / "docs" / "strategies.md").read_text()

"""The documents say what is so."""

import subprocess
import sys
from pathlib import Path

from alpha.config.regions import REGIONS
from tests.docs.configuration import PAGE, page

ROOT = Path(__file__).resolve().parents[2]


def test_the_configuration_reference_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.configuration"


def test_every_setting_says_what_it_is() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert rows
    assert not [row for row in rows if row.endswith("|  |")]


def test_the_documents_build_without_a_broken_link(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "true"},
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "site/index.html").exists()


def test_the_table_of_regions_is_the_one_of_the_program() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    for name, region in REGIONS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert f"`{region.rest}`" in row, name
        assert f"`{region.streams}`" in row, name

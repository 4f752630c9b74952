"""The documents say what is so."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import schemdraw

from alpha.config.regions import REGIONS
from tests.docs import diagrams, llms
from tests.docs.configuration import PAGE, PARTS, page, settings_models
from tests.docs.diagrams import DIAGRAMS
from tests.docs.reference import FOLDER, PAGES, metrics

ROOT = Path(__file__).resolve().parents[2]


def test_the_configuration_reference_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.docs.configuration"


@pytest.mark.parametrize("name", PAGES)
def test_each_generated_reference_is_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run: python -m tests.docs.reference"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_each_diagram_is_as_its_source_draws_it(name: str) -> None:
    schemdraw.use("svg")
    drawn = (diagrams.FOLDER / f"{name}.svg").read_bytes()
    assert drawn == DIAGRAMS[name]().svg(), "run: python -m tests.docs.diagrams"


def test_no_diagram_is_left_as_code_and_every_one_is_shown() -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")}
    assert not [str(path) for path, text in pages.items() if "```mermaid" in text or "```dot" in text]
    for name in DIAGRAMS:
        assert any(f"diagrams/{name}.svg" in text for text in pages.values()), name


def test_every_metric_says_what_it_is() -> None:
    rows = metrics()
    assert {"websocket_listener", "trade_sync_service", "risk_guard", "tick_recorder"} <= {row[0] for row in rows}
    assert all(text for *_, text in rows)


def test_every_settings_model_is_in_the_reference() -> None:
    for module in ROOT.glob("*/**/settings.py"):
        parts = module.relative_to(ROOT).with_suffix("").parts
        if not parts[0].startswith(".") and "tests" not in parts:
            importlib.import_module(".".join(parts))
    listed = {f"{prefix}{name}".upper() for _, _, kind, prefix in PARTS for name in kind.model_fields}
    for model in settings_models():
        if "tests" in model.__module__:
            continue
        own = {name.upper() for name in model.model_fields}
        missing = {name for name in own if name not in listed and f"SHORTSELLER_{name}" not in listed}
        assert not missing, f"{model.__name__} is not in tests/docs/configuration.py: {sorted(missing)}"


def test_every_setting_says_what_it_is() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert rows
    assert not [row for row in rows if row.endswith("|  |")]


@pytest.mark.slow
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


def test_every_command_of_the_comparison_runs_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\.venv/bin/python -m pytest -q -n 0 (\S+)(?: -k (\S+))?$", text, re.MULTILINE)
    assert len(commands) >= text.count("\n## "), "each case has a command"
    for path, words in commands:
        tests = re.findall(r"def (test_\w+)", (ROOT / path).read_text(encoding="utf-8"))
        assert [name for name in tests if words in name], f"{path} has no test of {words!r}"


def test_programs_that_read_documents_get_every_page() -> None:
    listed, whole = llms.short(), llms.full()
    pages = llms.pages()
    assert len(pages) > 20
    assert listed.startswith(f"# Alpha\n\n> {llms.SUMMARY}")
    for _, title, path in pages:
        assert f"- [{title}](" in listed
        assert path.read_text(encoding="utf-8").strip() in whole
    assert llms.first_sentence("# Head\n\nA `b` [c](d.md): e.\n") == "A b c"


def test_every_decision_has_its_number_and_its_day() -> None:
    text = (ROOT / "docs/decisions.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)\n(.*)$", text, re.MULTILINE)
    numbers = [int(heading.split(".")[0]) for heading, _ in headings]
    assert numbers == list(range(1, len(headings) + 1))
    assert not [heading for heading, day in headings if not re.fullmatch(r"\*\d{4}-\d\d-\d\d\*", day)]

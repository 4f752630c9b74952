"""The generated references: `python -m tests.docs.reference` writes the pages of docs/reference/."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from alpha_cli.main import SECTIONS, build
from operations.commands import COMMANDS, QUERIES

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "reference"
_NOTE = "Written by `python -m tests.docs.reference`; a test compares it with its source.\n"
#: Constructors of metrics, and the helpers around them, to the metric's type.
_KINDS = {
    **dict.fromkeys(("Gauge", "GaugeMetricFamily", "_gauge"), "gauge"),
    **dict.fromkeys(("Counter", "CounterMetricFamily", "_counter"), "counter"),
    **dict.fromkeys(("Histogram", "HistogramMetricFamily", "_histogram"), "histogram"),
}


def cell(text: str, *, code: bool = False) -> str:
    """Text for a cell of a Markdown table; as code, without entities, which would show."""
    plain = " ".join(text.split()).replace("|", "\\|")
    return f"`{plain}`" if code and plain else plain.replace("<", "&lt;")


def cli_page() -> str:
    """The `alpha` command with every subcommand, its arguments and options."""
    root = typer.main.get_command(build([]))
    context = typer.Context(root, info_name="alpha")
    names = [name for _, group in SECTIONS for name in group]
    names += sorted(set(root.list_commands(context)) - set(names))  # type: ignore[attr-defined]
    parts = [
        f"# The alpha command\n\n{_NOTE}\nEvery command has `--help`; `--env-file` before it names the settings.\n"
    ]
    for name in names:
        command = root.get_command(context, name)  # type: ignore[attr-defined]
        if command is not None and not command.hidden:
            parts += _command(f"alpha {name}", command, typer.Context(command, info_name=name, parent=context))
    return "\n".join(parts)


def _command(path: str, command: Any, context: Any) -> Iterator[str]:
    about = " ".join((command.help or "").split("\f")[0].split())
    subcommands = getattr(command, "commands", {})
    yield f"{'##' if path.count(' ') == 1 else '###'} {path}\n\n{about}\n"
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or parameter.name == "help":
            continue
        record = parameter.get_help_record(context)
        if record is None:
            record = (parameter.make_metavar(context), getattr(parameter, "help", None) or "")
        rows.append(f"| {cell(record[0], code=True)} | {cell(record[1])} |")
    if rows:
        yield "| parameter | meaning |\n|---|---|\n" + "\n".join(rows) + "\n"
    for name, sub in sorted(subcommands.items()):
        if not sub.hidden:
            yield from _command(f"{path} {name}", sub, type(context)(sub, info_name=name, parent=context))


def telegram_page() -> str:
    """The commands of the table that Telegram and the terminal share."""
    parts = [f"# Telegram commands\n\n{_NOTE}\nIn the terminal each is `alpha NAME` with the same words.\n"]
    for title, rows in (("Questions", QUERIES), ("Commands", COMMANDS)):
        lines = [
            f"| `/{row.name}` | {cell(row.summary)} | {cell(row.usage, code=True)} | {cell(row.example, code=True)} | {row.role.name.lower()} |"
            for row in rows
        ]
        head = "| command | what it does | usage | example | role |\n|---|---|---|---|---|\n"
        parts.append(f"## {title}\n\n{head}" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def metrics() -> list[tuple[str, str, str, str]]:
    """Every metric of the product: service, name, type, help; read from the calls that make them."""
    found: set[tuple[str, str, str, str]] = set()
    for path in sorted(ROOT.glob("*/**/*.py")):
        parts = path.relative_to(ROOT).parts
        if parts[0].startswith(".") or "tests" in parts:
            continue
        text = path.read_text(encoding="utf-8")
        if "prometheus_client" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                found |= {(parts[0], *row) for row in _made(node)}
            elif isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict):
                found |= {(parts[0], *row) for row in _tabled(node)}
    return sorted(found)


def _made(call: ast.Call) -> Iterator[tuple[str, str, str]]:
    name = getattr(call.func, "id", "")
    words = [argument.value for argument in call.args[:2] if isinstance(argument, ast.Constant)]
    if name in _KINDS and len(words) == 2:
        yield str(words[0]), _KINDS[name], str(words[1])


def _tabled(table: ast.AnnAssign) -> Iterator[tuple[str, str, str]]:
    """Metrics listed as `gauges: dict = {name: (help, value)}`; the listener's, which share a prefix."""
    kind = {"gauges": "gauge", "counters": "counter"}.get(getattr(table.target, "id", ""))
    assert isinstance(table.value, ast.Dict)
    for key, value in zip(table.value.keys, table.value.values, strict=True):
        if kind and isinstance(key, ast.Constant) and isinstance(value, ast.Tuple):
            text = value.elts[0]
            assert isinstance(text, ast.Constant)
            yield f"listener_{key.value!s}", kind, str(text.value)


def metrics_page() -> str:
    """The metrics by service."""
    parts = [
        f"# Metrics\n\n{_NOTE}\nEach service serves `/metrics` beside `/healthz` on its health port. Counters are exposed "
        "with the suffix `_total`.\n"
    ]
    rows = metrics()
    for service in dict.fromkeys(row[0] for row in rows):
        lines = [f"| `{name}` | {kind} | {cell(text)} |" for owner, name, kind, text in rows if owner == service]
        parts.append(f"## {service}\n\n| metric | type | meaning |\n|---|---|---|\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


PAGES = {"cli.md": cli_page, "telegram.md": telegram_page, "metrics.md": metrics_page}


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

"""`alpha render`: writes the files derived from `bots.toml`."""

import sys
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def render(
        check: bool = typer.Option(False, "--check", help="Write nothing; exit with 1 when a file is not current."),
        root: Path = typer.Option(Path(), "--root", help="The folder of the house."),
    ) -> None:
        """Write the Docker proxy's allow-list, the Redis users and the bots' compose services from bots.toml."""
        raise typer.Exit(_render(root, check))


def _render(root: Path, check: bool) -> int:
    from alpha.registry import check_folders, load_registry
    from alpha_cli.rendering.production import render, stale

    registry = load_registry(root / "bots.toml")
    check_folders(registry, root)
    old = stale(render(registry, root), root)
    for file in old:
        sys.stdout.write(f"{file.path} {'is not current: run alpha render' if check else 'written'}.\n")
        if not check:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            (root / file.path).write_text(file.text, encoding="utf-8")
    if not old:
        sys.stdout.write("All rendered files are current.\n")
    return 1 if old and check else 0

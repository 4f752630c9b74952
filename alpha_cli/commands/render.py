"""`alpha render`: writes the files derived from `bots.toml`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from alpha_cli.rendering.production import Rendered

STACK = "docker-stack.yml"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def render(
        check: bool = typer.Option(False, "--check", help="Write nothing; exit with 1 when a file is not current."),
        root: Path = typer.Option(Path(), "--root", help="The folder of the house."),
        swarm: bool = typer.Option(False, "--swarm", help=f"Write {STACK} for Docker Swarm instead."),
        images: str = typer.Option(
            "",
            "--images",
            help="With --swarm: where the nodes pull our images, for example registry.example.com/alpha/.",
        ),
        profile: list[str] = typer.Option(
            [], "--profile", help="With --swarm: a profile of the compose file to include."
        ),
        encrypted: bool = typer.Option(True, help="With --swarm: encrypt the traffic between the nodes (IPsec)."),
    ) -> None:
        """Write the Docker proxy's allow-list, the Redis users and the bots' compose services from bots.toml."""
        raise typer.Exit(_stack(root, check, images, profile, encrypted) if swarm else _render(root, check))


def _render(root: Path, check: bool) -> int:
    from alpha.registry import check_folders, load_registry
    from alpha_cli.rendering.production import render

    registry = load_registry(root / "bots.toml")
    check_folders(registry, root)
    return _write(render(registry, root), root, check, "alpha render")


def _stack(root: Path, check: bool, images: str, profiles: list[str], encrypted: bool) -> int:
    from alpha.config.loader import env_file_in
    from alpha.registry import load_registry
    from alpha.strategy.parameters import read_environment
    from alpha_cli.rendering.production import Rendered
    from alpha_cli.rendering.swarm import OURS, SwarmOptions, swarm_stack

    registry = load_registry(root / "bots.toml")
    place = f"{images.rstrip('/')}/" if images else OURS
    options = SwarmOptions(place, profiles, encrypted)
    text = swarm_stack(registry, root, read_environment(env_file_in(root)), options)
    return _write([Rendered(Path(STACK), text)], root, check, "alpha render --swarm")


def _write(files: "list[Rendered]", root: Path, check: bool, command: str) -> int:
    from alpha_cli.rendering.production import stale

    old = stale(files, root)
    for file in old:
        sys.stdout.write(f"{file.path} {f'is not current: run {command}' if check else 'written'}.\n")
        if not check:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            (root / file.path).write_text(file.text, encoding="utf-8")
    if not old:
        sys.stdout.write("All rendered files are current.\n")
    return 1 if old and check else 0

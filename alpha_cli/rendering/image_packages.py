"""Derives each image's packages from the imports: an image contains nothing its service does not import.

A changed page of the command centre therefore leaves the images of bots, guard and listener unchanged.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from alpha.errors import Misconfigured

#: Entry modules per image. The row `strategies` applies to every bot, which adds its own folder.
ROOTS = {
    "database": ("database.backup.__main__", "alpha.postgres.migrate", "alpha.log_folders"),
    "websocket_listener": ("websocket_listener.__main__",),
    "trade_sync_service": ("trade_sync_service.__main__", "alpha_cli.commands.sync", "alpha_cli.main"),
    "risk_guard": ("risk_guard.__main__",),
    "telegram_manager": ("telegram_manager.__main__", "alpha_cli.main", "alpha_cli.commands.operate"),
    "dashboard": ("dashboard.__main__",),
    "api_server": ("api_server.__main__",),
    "tick_recorder": ("tick_recorder.__main__", "alpha_cli.commands.ticks", "alpha_cli.main"),
    "analysis_service": ("analysis_service.__main__",),
    "model_server": ("model_server.__main__",),
    "exchange_simulator": ("exchange_simulator.__main__",),
    "strategies": (
        "bot_runner.__main__",
        "bot_runner.worker_freeze",
        "bot_runner.main",
        "alpha.strategy.parameters",
        "alpha.indicators",
        "alpha.runtime.start",
    ),
    "alpha_cli": (
        "database",  # its migrations: the doctor compares them with the applied ones
        "alpha_cli.main",
        "alpha_cli.commands.doctor",
        "alpha_cli.commands.db",
        "alpha_cli.commands.export",
        "alpha_cli.commands.key",
        "alpha_cli.commands.init",
        "alpha_cli.commands.access_code",
    ),
}
#: What every image runs besides: its entry point, which waits for the schema, and its health check.
EVERYWHERE = ("alpha.postgres.schema", "alpha.healthcheck")
_NOTE = "# Rendered from the imports by `alpha render`; docker/Dockerfile copies these packages. `alpha` means its own modules."


def image_packages(root: Path) -> str:
    """The text of docker/packages.txt for the repository at `root`: one row per image, its packages in order."""
    rows = [f"{image}: {' '.join(packages_of(root, (*EVERYWHERE, *starts)))}" for image, starts in ROOTS.items()]
    return "\n".join((_NOTE, *rows)) + "\n"


def packages_of(root: Path, starts: tuple[str, ...]) -> list[str]:
    """The packages that these modules import, directly or transitively, as folders of the repository.

    Packages inside `alpha` count separately. Raises Misconfigured for a module that does not exist.
    """
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        path = _file(root, module)
        if path is None:
            raise Misconfigured(f"docker/packages.txt cannot be rendered: there is no module {module}.")
        found.add(module)
        waiting += (imported for imported in _imports(root, path) if imported not in found)
    return sorted({_package(module) for module in found})


def _package(module: str) -> str:
    parts = module.split(".")
    if parts[0] != "alpha":
        return parts[0]
    return "/".join(parts[:2]) if len(parts) > 2 else "alpha"


def _file(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(root: Path, path: Path) -> Iterator[str]:
    """The repository modules that one module imports, inside functions too: lazily loaded code must be present."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if _file(root, name.name))
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if _file(root, node.module):
                yield node.module
            yield from (
                f"{node.module}.{name.name}" for name in node.names if _file(root, f"{node.module}.{name.name}")
            )

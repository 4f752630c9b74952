"""`alpha mcp`: the Model Context Protocol server on standard input and output, for an assistant on this machine."""

import asyncio
from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add `alpha mcp` to `app`."""

    @app.command("mcp")
    def mcp(
        propose: bool = typer.Option(
            False, "--propose", help="Let it propose commands, which a person confirms in Telegram."
        ),
    ) -> None:
        """Serve the queries to an assistant over standard input and output. It can change nothing."""
        documents = Path(__file__).resolve().parents[2] / "docs"
        asyncio.run(_serve(propose, documents if documents.is_dir() else None))


async def _serve(propose: bool, documents: Path | None) -> None:
    from alpha.config.loader import load
    from alpha.errors import Misconfigured

    try:
        from api_server.mcp_server import build
    except ModuleNotFoundError as fault:
        raise Misconfigured(f"alpha mcp needs the package {fault.name}: install locks/api.lock.") from None
    from alpha_cli.commands.operate import user
    from operations.context import OperationsSettings, open_operations

    name = f"terminal:{user()}" if propose else None
    async with open_operations(load(OperationsSettings), "alpha_mcp") as platform:
        server = build(platform, lambda: name, documents)
        await server.run_stdio_async()

"""`alpha token`: tokens of the API's clients."""

import asyncio
import sys
from typing import Any

import typer


def register(app: typer.Typer) -> None:
    """Add `alpha token` to `app`."""
    token = typer.Typer(help="Tokens of the API's clients: make, list, revoke.", no_args_is_help=True)
    app.add_typer(token, name="token")

    @token.command("create")
    def create(
        client: str = typer.Argument(help="Whose it is, for example grafana."),
        scope: list[str] = typer.Option(
            ["read"], "--scope", help="read, audit or propose; may be given several times."
        ),
        days: int = typer.Option(90, "--days", help="After how many days it ends."),
    ) -> None:
        """Make a token. It is shown once."""
        from operations import api_tokens

        made = asyncio.run(_with(lambda platform, by: api_tokens.create(platform, client, scope, days, by)))
        sys.stdout.write(f"{made}\n")
        sys.stderr.write("Keep it now: it is not shown again. Send it as `Authorization: Bearer ...`.\n")

    @token.command("list")
    def listed(as_json: bool = typer.Option(False, "--json", help="The typed rows as JSON.")) -> None:
        """All tokens, without their secret parts."""
        from alpha_cli.show_page import print_json, print_page
        from operations import api_tokens
        from operations.page import Cell, Column, Page, Table

        rows = asyncio.run(_with(lambda platform, by: api_tokens.tokens(platform)))
        if as_json:
            print_json(rows)
            return
        table = Table(
            (Column("id"), Column("client"), Column("scopes"), Column("ends"), Column("state")),
            [
                [
                    Cell(row.token_id),
                    Cell(row.client),
                    Cell(", ".join(row.scopes)),
                    Cell(f"{row.expires_at:%Y-%m-%d}"),
                    Cell("revoked" if row.revoked_at else "valid"),
                ]
                for row in rows
            ],
            empty="No token has been made.",
        )
        print_page(Page("API tokens", [table]))

    @token.command("revoke")
    def revoke(token_id: str = typer.Argument(help="The id that `alpha token list` shows.")) -> None:
        """Revoke a token at once."""
        from operations import api_tokens

        client = asyncio.run(_with(lambda platform, by: api_tokens.revoke(platform, token_id, by)))
        sys.stdout.write(f"The token {token_id} of {client} is revoked.\n")


async def _with(work: Any) -> Any:
    from alpha.config.loader import load
    from alpha_cli.commands.operate import user
    from operations.context import OperationsSettings, open_operations

    async with open_operations(load(OperationsSettings), "alpha") as platform:
        return await work(platform, f"terminal:{user()}")

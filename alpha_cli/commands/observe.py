"""`alpha observe`: record and watch an account of your own with a read-only key, without Docker and without settings."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from alpha.config.regions import GLOBAL, REGIONS

KEPT = 730


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("observe")(observe)


def observe(
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="A file with the API key and its secret, a line each; else asks.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The key is of Demo Trading.")] = False,
    testnet: Annotated[bool, typer.Option("--testnet", help="The key is of Bybit's testnet.")] = False,
    region: Annotated[
        str, typer.Option("--region", help="The Bybit site of the account: global, nl, tr, kz, ge, ae, id, eu or jp.")
    ] = GLOBAL,
    exchange: Annotated[
        str | None,
        typer.Option("--exchange", metavar="URL", help="A simulated exchange, such as http://127.0.0.1:8900."),
    ] = None,
    days: Annotated[
        int, typer.Option("--days", min=1, max=KEPT, help="How far back to read; Bybit keeps two years, demo 7 days.")
    ] = KEPT,
    once: Annotated[bool, typer.Option("--once", help="End when the books are compared; 1 if they differ.")] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="The port of the dashboard; a free one without it.")
    ] = None,
    state: Annotated[Path, typer.Option("--state", help="Where the record is kept.")] = Path(".state/observe"),
) -> None:
    """Record an account with a read-only key: every fill, Bybit's own figures beside ours, a dashboard. Trades nothing."""
    # Imported here: the embedded stores are heavy.
    from alpha.bybit.hosts import hosts_of
    from alpha.config.exchange import ExchangeSettings
    from alpha.config.loader import load
    from alpha.config.services import LogSettings
    from alpha.logs import configure
    from alpha_cli.observe.key import ask_for_key, read_key_file
    from alpha_cli.observe.run import ObserveRun, Wanted
    from alpha_cli.observe.run import observe as start

    configure("observe", load(LogSettings, env_file=None, log_level="error"))
    chosen = {"BYBIT_DEMO": str(demo).lower(), "BYBIT_TESTNET": str(testnet).lower(), "BYBIT_REGION": region}
    if exchange is not None:
        address = exchange.rstrip("/")
        chosen |= {"BYBIT_REST_URL": address, "BYBIT_WS_URL": address.replace("http", "ws", 1)}
    values = {name.lower(): value for name, value in chosen.items()}
    hosts = hosts_of(load(ExchangeSettings, env_file=None, **values))
    if note := REGIONS[hosts.region].note:
        typer.echo(note, err=True)
    key = read_key_file(key_file) if key_file is not None else ask_for_key()
    run = ObserveRun(Wanted(state, days, port, once), hosts, chosen, Path(__file__).resolve().parents[2])
    raise typer.Exit(asyncio.run(start(run, key)))

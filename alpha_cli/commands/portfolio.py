"""`alpha portfolio`: several strategies side by side over the same days."""

from pathlib import Path
from typing import Annotated

import typer

from alpha.model.assumed_slippage import ASSUMED_SLIPPAGE_BPS


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("portfolio")(portfolio)


def portfolio(
    parts: Annotated[list[str], typer.Argument(help="Strategy and its folder: momentum=data/4h shortseller=data/5m.")],
    from_: Annotated[str | None, typer.Option("--from", help="First bar, UTC.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="End, exclusive, UTC.")] = None,
    resume_days: Annotated[
        int | None, typer.Option("--resume-days", min=0, max=36_500, help="The operator resumes after a halt.")
    ] = None,
    one_account: Annotated[
        bool, typer.Option("--one-account", help="All on one account: one clock, sizes and limits from one equity.")
    ] = False,
    holes: Annotated[
        str,
        typer.Option(
            "--holes", help="A symbol with a hole: refuse; longest: its longest part without one; parts: each."
        ),
    ] = "refuse",
    bots: Annotated[Path, typer.Option("--bots", envvar="ALPHA_BOTS_FILE", help="The registry of bots.")] = Path(
        "bots.toml"
    ),
) -> None:
    """Back-test several strategies, each on its own account or all on one: joined curve, correlation, contribution, weights of
    equal risk."""
    from dataclasses import replace

    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from alpha.errors import Misconfigured
    from backtester.command import Request, carry_out, prepare
    from research.one_account import together
    from research.portfolio import portfolio as join

    requests = {}
    for part in parts:
        name, equals, folder = part.partition("=")
        if not equals:
            raise Misconfigured(f"{part!r} must be written STRATEGY=FOLDER, such as momentum=data/4h.")
        if name in requests:
            raise Misconfigured(f"{name!r} is named twice. Name each strategy once, with one folder.")
        request = Request(
            name, Path(folder), from_, to, (), "all" if name in {"momentum", "lxalgo"} else None, "10000", "0.00055", str(ASSUMED_SLIPPAGE_BPS), "0.0001",
            resume_days, bots, holes=holes,
        )  # fmt: skip
        requests[name] = request
    made = None
    if one_account:
        ready = {name: prepare(request) for name, request in requests.items()}
        terms = [one.terms for one in ready.values()]
        shared = replace(terms[0], from_ms=max(one.from_ms for one in terms), to_ms=min(one.to_ms for one in terms))
        made = together({name: (one.strategy, one.data) for name, one in ready.items()}, shared)
        results = dict(made.results)
    else:
        results = {name: carry_out(request).result for name, request in requests.items()}
    found = join(results)
    table = Table(title=f"{len(found.days)} days in common", title_justify="left")
    for column in ("", "weight", "contribution", "share of the risk", "weight of equal risk", *found.names):
        table.add_column(column, justify="left" if not column else "right")
    for place, name in enumerate(found.names):
        cells = [f"{found.correlation[place, other]:.2f}" for other in range(len(found.names))]
        table.add_row(
            name, f"{found.weights[place]:.2f}", f"{found.contribution[place]:+.1f} %", f"{found.risk_share[place]:.2f}",
            f"{found.parity[place]:.2f}", *cells,
        )  # fmt: skip
    console = Console()
    console.print(table)
    if made is not None:
        path = np.concatenate(([float(shared.cash)], made.equity))
        fall = float((1 - path / np.maximum.accumulate(path)).max())
        console.print(
            f"On one account: {shared.cash:f} becomes {made.end_equity:.2f} USDT ({(made.end_equity / shared.cash - 1) * 100:+.1f} %), "
            f"deepest fall {fall * 100:.1f} %. The figures above and below are of each one's own part."
        )
    console.print(
        f"Together {(found.joined[-1] - 1) * 100:+.1f} %, Sharpe ratio {found.sharpe:.2f}, deepest fall {found.drawdown * 100:.1f} %. "
        "Weights are a report; nothing trades them."
    )

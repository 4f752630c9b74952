"""Runs the queries of `database/README.md` on a sample: `python -m tests.history.readme` regenerates their output.

In the file each ```sql block is followed by a ```text block with exactly what psql prints.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from alpha.config.services import DatabaseSettings
from alpha.model.fill_order import unit_key
from alpha.postgres.database import connect
from alpha.postgres.fills import insert_fills
from alpha.postgres.migrate import migrate, register_bots, set_passwords
from alpha.registry import load_registry
from demo.postgres import EmbeddedPostgres, binaries
from tests.history.roles import PASSWORDS
from tests.support.fill_generator import START, as_fill, streams

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "database" / "README.md"
SAMPLE_FILLS = 9_000
SAMPLE_DAYS = 92
_BLOCK = re.compile(r"```sql\n(?P<query>.*?)```\n+```text\n(?P<output>.*?)```", re.DOTALL)


async def make_sample(settings: DatabaseSettings) -> None:
    """Fill a migrated database with three months of three bots, hourly equity and two transfers."""
    connection = await connect(settings, "sample")
    rows = []
    accounts: dict[str, int] = {}
    for bot, symbol, raws in streams(11, SAMPLE_FILLS, SAMPLE_DAYS):
        if bot not in accounts:
            accounts[bot] = await connection.fetchval(
                "SELECT trading.register_account('demo', $1, $2)", str(len(accounts)), bot
            )
        rows += [as_fill(raw, accounts[bot], bot, symbol) for raw in raws]
    rows.sort(key=lambda fill: (fill.exec_time, fill.seq, unit_key(fill)))
    open_at_the_end = rows[: len(rows) - 5]
    for at in range(0, len(open_at_the_end), 1_000):
        await insert_fills(connection, open_at_the_end[at : at + 1_000])
    for bot, account in accounts.items():
        await connection.execute(
            "INSERT INTO trading.equity_snapshots VALUES ($1, $2, 200000, 200000, 200000, 0)", account, START
        )
        nets = await connection.fetch(
            "SELECT day, cumulative_net FROM trading.bot_daily_performance WHERE bot_id = $1", bot
        )
        for row in nets:
            moved = (
                Decimal(5_000)
                if bot == "lxalgo_001" and row["day"] >= (START + timedelta(days=40)).date()
                else Decimal(0)
            )
            equity = round(Decimal(200_000) + moved + row["cumulative_net"], 2)
            for hour, swing in ((6, -12), (12, 8), (18, 0)):
                await connection.execute(
                    "INSERT INTO trading.equity_snapshots VALUES ($1, $2::date::timestamp AT TIME ZONE 'UTC' + $3, $4, $4, $4, 0)",
                    account,
                    row["day"],
                    timedelta(hours=hour),
                    equity + swing,
                )
    await connection.execute(
        "INSERT INTO trading.transfers VALUES ($1, 't1', '', 'TRANSFER_IN', 'USDT', 5000, 205000, $2)",
        accounts["lxalgo_001"],
        START + timedelta(days=40, hours=1),
    )
    await connection.execute("ANALYZE")
    await connection.close()


def answer(settings: DatabaseSettings, query: str) -> str:
    """psql's output for role alpha_readonly."""
    result = subprocess.run(
        [str(binaries() / "psql"), "-X", "-q", "-P", "pager=off", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        check=False,
        input=query,
        capture_output=True,
        text=True,
        env={
            "PGHOST": settings.postgres_host, "PGPORT": str(settings.postgres_port), "PGDATABASE": settings.postgres_db,
            "PGUSER": "alpha_readonly", "PGPASSWORD": PASSWORDS["alpha_readonly"], "PGTZ": "UTC", "LC_ALL": "C.UTF-8",
        },
    )  # fmt: skip
    if result.returncode != 0:
        raise AssertionError(f"{query}\n{result.stderr}")
    return "\n".join(line.rstrip() for line in result.stdout.strip("\n").splitlines()) + "\n"


def queries(text: str) -> list[tuple[str, str]]:
    """Query and output pairs, in the order of the file."""
    return [(match["query"], match["output"]) for match in _BLOCK.finditer(text)]


def main() -> int:
    """Regenerate the outputs."""
    with tempfile.TemporaryDirectory(prefix="alpha-sample-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", "sample", durable=False)
        server.start()
        try:
            asyncio.run(_migrated(server.settings()))
            text = README.read_text(encoding="utf-8")
            settings = server.settings()
            text = _BLOCK.sub(
                lambda match: f"```sql\n{match['query']}```\n\n```text\n{answer(settings, match['query'])}```", text
            )
            README.write_text(text, encoding="utf-8")
        finally:
            server.stop("immediate")
    return 0


async def _migrated(settings: DatabaseSettings) -> None:
    connection = await connect(settings, "sample")
    await migrate(connection)
    await register_bots(connection, load_registry(ROOT / "bots.toml"))
    await set_passwords(connection, PASSWORDS)
    await connection.close()
    await make_sample(settings)


if __name__ == "__main__":
    sys.exit(main())

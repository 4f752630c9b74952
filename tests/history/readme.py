"""The queries of `database/README.md`: `python -m tests.history.readme` writes their answers anew, from the demo's database.

In the file each ```sql block is followed by a ```text block with what psql printed on a run of the demo, long answers cut. The
figures of two runs differ, so tests run each query on a generated sample and compare the columns.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from alpha.config.services import DatabaseSettings
from alpha.model.fill_order import unit_key
from alpha.postgres.database import connect
from alpha.postgres.fills import insert_fills
from demo.postgres import binaries
from tests.history.roles import PASSWORDS
from tests.support.fill_generator import START, as_fill, streams

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "database" / "README.md"
SAMPLE_FILLS = 3_000
SAMPLE_DAYS = 92
#: An answer of more rows is cut to its first ones, and the count at its end says how many there were.
MOST_ROWS = 12
CUT = " ..."
_MARK = "=== next query ==="
_COUNT = re.compile(r"\((\d+) rows?\)")
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


class Table(NamedTuple):
    """What psql printed: names of the columns, the rows shown, the number of all rows."""

    columns: list[str]
    rows: list[list[str]]
    total: int
    is_cut: bool


def table_of(output: str) -> Table:
    """Parse psql's aligned output. Raises ValueError when its last line is not a count of rows."""
    lines = output.splitlines()
    count = _COUNT.fullmatch(lines[-1])
    if count is None:
        raise ValueError(f"An answer ends with a count of rows, not with {lines[-1]!r}.")
    shown = [line for line in lines[2:-1] if line != CUT]
    return Table(_cells(lines[0]), [_cells(line) for line in shown], int(count[1]), CUT in lines)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]


def cut(output: str) -> str:
    """The first rows of a long answer, with psql's count of all rows below them."""
    lines = output.splitlines()
    if len(lines) - 3 > MOST_ROWS:
        lines[MOST_ROWS:-1] = [CUT]
    return "\n".join(lines) + "\n"


def queries(text: str) -> list[tuple[str, str]]:
    """Query and output pairs, in the order of the file."""
    return [(match["query"], match["output"]) for match in _BLOCK.finditer(text)]


def other_columns(settings: DatabaseSettings) -> list[str]:
    """The queries of the README that return other columns on this database than the README shows."""
    found = queries(README.read_text(encoding="utf-8"))
    return [query for query, output in found if table_of(answer(settings, query)).columns != table_of(output).columns]


def ask_demo(asked: Sequence[str]) -> list[str]:
    """psql's output for each query, from the database of the demo that runs, or ran last, in DEMO_STATE."""
    with tempfile.TemporaryDirectory(prefix="alpha-readme-") as folder:
        script = Path(folder) / "queries.sql"
        script.write_text("".join(f"{query}\\echo {_MARK}\n" for query in asked), encoding="utf-8")
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "demo.psql",
                "-X",
                "-q",
                "-P",
                "pager=off",
                "-v",
                "ON_ERROR_STOP=1",
                "-f",
                str(script),
            ],
            check=True,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PGTZ": "UTC"},
        )
    outputs = result.stdout.split(_MARK)[:-1]
    return ["\n".join(line.rstrip() for line in output.strip("\n").splitlines()) + "\n" for output in outputs]


def main() -> int:
    """Write the answers of the demo's database into the README."""
    text = README.read_text(encoding="utf-8")
    outputs = iter(ask_demo([query for query, _ in queries(text)]))
    written = _BLOCK.sub(lambda match: f"```sql\n{match['query']}```\n\n```text\n{cut(next(outputs))}```", text)
    README.write_text(written, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The tables of docs/strategies.md, written from what their commands print: `python -m tests.docs.strategies DATA`.

`DATA` is the folder with the recorded candles. The figures of every row with a command are replaced by what the command gives
today, and the table that qualifies them is written anew. A long test runs the same commands and compares.
"""

import re
import shlex
import sys
from pathlib import Path

from backtester.command import Outcome, Request, carry_out
from backtester.metrics import measure
from backtester.terminal import money, number, percent, qualifying_rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "strategies.md"
ROW = re.compile(r"^\| (?P<what>[^|]+) \|(?P<figures>.+)\| `alpha (?P<command>[^`]+)` \|$")
BEGIN, END = "<!-- qualified: begin -->", "<!-- qualified: end -->"
HEAD = "| What | t | Mean of a trade, 90 % | Chance of a loss | Best five trades | BTC held | Coins held | Costs doubled | At 20 bps | Command |"


def outcome_of(command: str, data: str) -> Outcome:
    """The back-test that a command of the page runs."""
    words = shlex.split(command.replace("$DATA", data))
    options: dict[str, list[str]] = {}
    place = 2
    while place < len(words):
        flag = words[place]
        taken = 1 if flag == "--no-costs" else 2
        options.setdefault(flag, []).append(words[place + 1] if taken == 2 else "")
        place += taken
    free = "--no-costs" in options
    one = {flag: values[-1] for flag, values in options.items()}
    resume = one.get("--resume-days")
    return carry_out(
        Request(
            words[1], Path(one["--data"]), one.get("--from"), one.get("--to"), options.get("--set", []), one.get("--symbols"),
            "10000", "0" if free else "0.00055", "0" if free else "2", "0" if free else "0.0001",
            None if resume is None else int(resume), ROOT / "bots.toml", "0" if free else "0.0002",
        )
    )  # fmt: skip


def figures(outcome: Outcome) -> list[str]:
    """The cells of a row of figures."""
    found = measure(outcome.result)
    return [
        percent(found.return_pct), str(found.trades), percent(found.winners_pct, sign=False), number(found.profit_factor),
        percent(found.drawdown_pct), money(found.gross), money(-found.fees), money(found.funding),
    ]  # fmt: skip


def qualified(outcome: Outcome) -> list[str]:
    """The cells of a row of the table that qualifies them."""
    rows = dict(qualifying_rows(outcome.result, outcome.data, outcome.description))
    coins = next(value for name, value in rows.items() if name.startswith("Equal weight"))
    return [
        rows["t-statistic of trade returns"],
        rows["Mean return per trade, 90 % of bootstraps"],
        rows["Chance of a loss, by bootstrap"],
        rows["Best five trades"],
        rows["BTC held"],
        coins,
        rows["Net with all costs doubled"],
        rows["Net by slippage"].rsplit(" ", 1)[-1],
    ]


def main() -> None:
    """Write the page anew."""
    data = sys.argv[1]
    lines = PAGE.read_text(encoding="utf-8").split("\n")
    begin, end = lines.index(BEGIN), lines.index(END)
    known: dict[str, Outcome] = {}
    table = [BEGIN, "", HEAD, "|---" + "|---:" * 8 + "|---|"]
    done: set[str] = set()
    written = []
    for place, line in enumerate(lines):
        if begin <= place <= end:
            continue
        found = ROW.match(line)
        if found is None:
            written.append(line)
            continue
        command = found["command"]
        outcome = known.setdefault(command, outcome_of(command, data))
        written.append(f"| {found['what']} | {' | '.join(figures(outcome))} | `alpha {command}` |")
        if "--no-costs" not in command and command not in done:
            done.add(command)
            words = found["what"]
            what = f"{outcome.description.strategy}: {words if words[1:2].isupper() else words[:1].lower() + words[1:]}"
            table.append(f"| {what} | {' | '.join(qualified(outcome))} | `alpha {command}` |")
    written[begin:begin] = [*table, "", END]
    PAGE.write_text("\n".join(written), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The contract's tables have exactly the fields that the reference lists for each row."""

import re
from pathlib import Path

import pytest

from exchange_simulator.tests.clients import contract
from exchange_simulator.tests.clients.contract import Row

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "bybit-v5.md"
ROWS = {  # start and end of a row's field list in the reference; fields it names elsewhere
    "tickers": ("Linear/inverse row (all strings)", "Spot row lacks", contract.TICKER, ""),
    "orders": ("Order row (both)", "`category` is at", contract.ORDER, "cumFeeDetail"),
    "executions": ("Row: `symbol orderId orderLinkId side orderPrice", "REST rows have no", contract.EXECUTION, ""),
    "positions": ("Row: `positionIdx(int)", "(The docs sample", contract.POSITION, ""),
    "closed profit": ("Row (strings): `symbol orderId side qty", "- `side` is the", contract.CLOSED, ""),
    "wallet": (
        "`result.list[0]`: `accountType",
        "equity = walletBalance",
        contract.WALLET,
        "accountIMRateByMp accountMMRateByMp totalInitialMarginByMp totalMaintenanceMarginByMp",
    ),
    "transactions": ("Row (strings): `id symbol category", "`change =", contract.LEDGER, ""),
    "key": (
        "Fields: `id note apiKey",
        "| Check |",
        contract.KEY,
        "unified userIDInt64 inviterIDInt64 affiliateIDInt64",
    ),
    "trades": ("Rows: `execId symbol price size", "No cursor", contract.TRADE, ""),
}


def names(row: Row) -> set[str]:
    """The fields of a row and of its nested objects."""
    return {*row.kinds, *row.parts}.union(*(names(part) for part in row.parts.values()))


def listed(first: str, last: str) -> set[str]:
    """The field names in backquotes between two places of the reference, notes in brackets excluded."""
    text = REFERENCE.read_text()
    begin = text.index(first)
    quoted = re.findall(r"`([^`]+)`", text[begin : text.index(last, begin)])
    words = " ".join(re.sub(r"\{[^}]*\}|\([^)]*\)", "", part) for part in quoted).split()
    return {word for word in (word.strip("….,[]") for word in words) if re.fullmatch(r"[a-z][A-Za-z0-9]+", word)}


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference of Bybit's fields is not on this machine")
@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_exactly_the_fields_of_the_reference(name: str) -> None:
    first, last, row, elsewhere = ROWS[name]
    assert names(row) == listed(first, last) | set(elsewhere.split())

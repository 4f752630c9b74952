"""What is not documented is noted once, with an example that holds no secret, and changes nothing else."""

import pytest

from alpha import drift
from alpha.bybit import documented
from alpha.bybit.decode import (
    parse_closed_pnl,
    parse_instrument,
    parse_key_info,
    parse_ticker,
    parse_transaction,
    parse_wallet,
)
from alpha.bybit.documented import FIELDS, note_code
from alpha.bybit.rows import parse_execution, parse_order, parse_position
from alpha.drift import Drift, DriftKind, DriftNotes, shown
from exchange_simulator.tests.clients import contract
from tests.support import bybit_samples


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> DriftNotes:
    """Notes of this test alone."""
    fresh = DriftNotes()
    monkeypatch.setattr(documented, "NOTES", fresh)
    return fresh


CONTRACT = {
    "execution": (contract.EXECUTION, contract.EXECUTION_PUSH),
    "order": (contract.ORDER, contract.ORDER_PUSH),
    "position": (contract.POSITION, contract.POSITION_PUSH),
    "wallet": (contract.WALLET,),
    "wallet coin": (contract.COIN,),
    "instrument": (contract.INSTRUMENT,),
    "ticker": (contract.TICKER,),
    "closed-pnl": (contract.CLOSED,),
    "transaction-log": (contract.LEDGER,),
    "api-key": (contract.KEY,),
}


@pytest.mark.parametrize("kind", CONTRACT)
def test_every_field_of_the_contract_is_known(kind: str) -> None:
    for row in CONTRACT[kind]:
        assert not {*row.kinds, *row.parts} - FIELDS[kind]


def test_rows_as_documented_are_no_news(notes: DriftNotes) -> None:
    parse_execution(bybit_samples.EXECUTION_STREAM)
    parse_order(bybit_samples.ORDER_REST)
    parse_order(bybit_samples.ORDER_STREAM_STOP)
    parse_position(bybit_samples.POSITION_REST)
    parse_position(bybit_samples.POSITION_STREAM_FLAT)
    parse_wallet(bybit_samples.WALLET)
    parse_closed_pnl(bybit_samples.CLOSED_PNL)
    parse_transaction(bybit_samples.TRANSACTION)
    parse_key_info(bybit_samples.KEY_INFO)
    parse_ticker(bybit_samples.TICKER)
    parse_instrument(bybit_samples.INSTRUMENT)
    assert notes.take() == []


def test_a_new_field_and_a_new_value_are_noted_once_and_the_row_is_read(notes: DriftNotes) -> None:
    row = {**bybit_samples.EXECUTION_STREAM, "newField": 7, "execType": "Teleport"}
    for _ in range(3):
        assert parse_execution(row).exec_type == "Teleport"
    assert sorted(notes.take(), key=lambda note: note.kind) == [
        Drift(DriftKind.FIELD, "execution", "newField", "7"),
        Drift(DriftKind.VALUE, "execution", "execType=Teleport", "Teleport"),
    ]
    assert notes.take() == []
    assert notes.counts == {DriftKind.FIELD: 1, DriftKind.VALUE: 1}


def test_a_code_that_no_document_explains(notes: DriftNotes) -> None:
    for code in (10001, 110007, 170131, 404, 34040):
        note_code("order/create", code, "known")
    note_code("order/create", 990001, "Mercury is retrograde")
    assert notes.take() == [Drift(DriftKind.CODE, "order/create", "990001", "Mercury is retrograde")]


@pytest.mark.parametrize(
    ("name", "example", "kept"),
    [
        ("listenKey", "abc", "(not kept: the name suggests a secret)"),
        ("newThing", {"apiSecret": "abc", "size": 1}, "{'apiSecret': ***, 'size': 1}"),
        ("newThing", '{"token":"abc def","size":1}', '{"token":***,"size":1}'),
        ("newThing", "x" * 900, "x" * 200 + "..."),
        ("newThing", "a\x00b\nc", "a?b?c"),
    ],
)
def test_an_example_holds_no_secret_and_can_be_stored(name: str, example: object, kept: str) -> None:
    assert shown(name, example) == kept


def test_inventing_names_without_end_fills_nothing(notes: DriftNotes) -> None:
    for number in range(10_000):
        notes.note(DriftKind.FIELD, "order", f"field{number}", "")
    assert len(notes.take()) == drift.MOST_NOTES

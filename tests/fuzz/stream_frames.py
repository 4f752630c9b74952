"""Frames of the private and public streams: read, or refused in a sentence and kept; what is taken is sound."""

import copy
import json
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import msgspec

from alpha.bybit.messages import answer_of, decode
from alpha.clock import BusinessClock
from alpha.errors import Rejected
from alpha.model.account import Account, Environment
from tests.fuzz.strange import changed_json, mutated
from websocket_listener.account_state import AccountState
from websocket_listener.candles import Candles
from websocket_listener.dispatcher import Dispatcher
from websocket_listener.status import BotStatus
from websocket_listener.tests.rows import START_MS, execution_row
from websocket_listener.tests.test_rows import ORDER, POSITION
from websocket_listener.tickers import Tickers

_WALLET: dict[str, Any] = {
    "accountType": "UNIFIED", "totalEquity": "10000", "totalWalletBalance": "10000", "totalMarginBalance": "10000",
    "totalAvailableBalance": "9000", "totalPerpUPL": "0", "totalInitialMargin": "0", "totalMaintenanceMargin": "0",
    "accountIMRate": "0", "accountMMRate": "0", "accountLTV": "0",
    "coin": [{"coin": "USDT", "equity": "10000", "walletBalance": "10000", "unrealisedPnl": "0", "cumRealisedPnl": "1",
              "totalPositionIM": "0", "totalOrderIM": "0", "locked": "0", "bonus": "0", "usdValue": "10000"}],
}  # fmt: skip
_CANDLE = {
    "start": START_MS, "end": START_MS + 299_999, "interval": "5", "open": "1", "close": "2", "high": "3", "low": "0.5",
    "volume": "10", "turnover": "20", "confirm": True, "timestamp": START_MS + 300_000,
}  # fmt: skip
_TICKER = {"symbol": "BTCUSDT", "lastPrice": "100", "markPrice": "101", "bid1Price": "99", "ask1Price": "100.5"}
_ADL = {"s": "BTCUSDT", "b": 1000, "pr": "0.1", "i_pr": "0.3", "adl_tt": "0.3", "adl_sr": "0.2"}
PRIVATE: tuple[dict[str, Any], ...] = (
    {"topic": "execution", "id": "1", "creationTime": START_MS, "data": [execution_row(markPrice="37101.5")]},
    {"topic": "order", "id": "2", "creationTime": START_MS, "data": [ORDER]},
    {"topic": "position", "id": "3", "creationTime": START_MS, "data": [POSITION]},
    {"topic": "wallet", "id": "4", "creationTime": START_MS, "data": [_WALLET]},
    {"success": True, "ret_msg": "", "op": "subscribe", "conn_id": "x", "req_id": "1"},
    {"op": "pong", "args": ["1"], "conn_id": "x"},
)
PUBLIC: tuple[dict[str, Any], ...] = (
    {"topic": "tickers.BTCUSDT", "type": "snapshot", "ts": START_MS, "cs": 1, "data": _TICKER},
    {"topic": "kline.5.BTCUSDT", "type": "snapshot", "ts": START_MS, "data": [_CANDLE]},
    {"topic": "adlAlert.USDT", "type": "snapshot", "ts": START_MS, "data": [_ADL]},
)


class _Kept:
    """Stands for a writer: what is given to it is looked through at once."""

    def __init__(self, seen: Counter[str]) -> None:
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        def take(*given: object) -> None:
            self._seen[f"accepted by {name}"] += 1
            for one in given:
                _sound(one)

        return take


def _sound(value: object) -> None:
    """No number without an end and no text that PostgreSQL or Redis cannot keep goes further."""
    if isinstance(value, Decimal):
        assert value.is_finite(), value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _sound(getattr(value, name))
    elif isinstance(value, list | tuple):
        for one in value:
            _sound(one)


def _one_sentence(said: str, frame: str | bytes) -> None:
    assert "\n" not in said, frame


def frames(chance: random.Random, rounds: int, folder: Path) -> str:
    """Private and public frames: read, or kept whole with one sentence."""
    seen: Counter[str] = Counter()
    rejected = MagicMock()
    lost: list[str] = []
    database, live = _Kept(seen), _Kept(seen)
    status = BotStatus(live.put)
    account = Account(1, "shortseller_001", Environment.SIMULATED, "4711")
    tickers = Tickers(MagicMock(), MagicMock())

    async def nothing(*_: object) -> None: ...

    candles = Candles(MagicMock(), MagicMock(), lambda *_: None, nothing, nothing)
    candles.follow({("BTCUSDT", "5")})
    feed = _feed(account, live, database, status, rejected, lost)
    for number in range(rounds):
        if number % 1_000 == 999:
            # what one account's state may hold is not what thousands of invented symbols would make of it
            feed = _feed(account, live, database, status, rejected, lost)
        private = chance.random() < 0.7
        frame = _frame(chance, PRIVATE if private else PUBLIC)
        before = len(rejected.put.call_args_list)
        try:
            envelope = decode(frame)
        except Rejected as fault:
            _one_sentence(str(fault), frame)
            seen["refused"] += 1
            continue
        if not envelope.topic:
            answer_of(envelope)
            seen["answers"] += 1
        elif private:
            feed.data(envelope, frame)
        else:
            try:
                _public(tickers, candles, envelope)
            except (Rejected, IndexError) as fault:
                _one_sentence(str(fault), frame)
                seen["refused"] += 1
        for call in rejected.put.call_args_list[before:]:
            message = call.args[0]
            assert message.fault, frame
            seen["refused"] += 1
        rejected.put.reset_mock()
        lost.clear()
        candles._pending.clear()
    accepted = sum(count for name, count in seen.items() if name.startswith("accepted"))
    return f"{accepted} accepted, {seen['refused']} refused, {seen['answers']} answers"


def _feed(
    account: Account, live: Any, database: Any, status: BotStatus, rejected: MagicMock, lost: list[str]
) -> Dispatcher:
    book = AccountState("shortseller_001", live.put, {})
    feed = Dispatcher(account, book, live, database, status, rejected, BusinessClock(), lost.append)
    feed.legs.hedged["BTCUSDT"] = False
    return feed


def _public(tickers: Tickers, candles: Candles, envelope: Any) -> None:
    """As the listener's public feed hands them out."""
    if envelope.topic.startswith("tickers."):
        tickers.ticker(envelope)
    elif envelope.topic.startswith("kline."):
        candles.kline(envelope)
    elif envelope.topic.startswith("adlAlert."):
        tickers.adl(envelope)
    tickers.forget({"BTCUSDT"})
    tickers._changed.clear()


def _fresh(chance: random.Random, sample: dict[str, Any]) -> None:
    """Ids and sequences that were not sent before, or what is sent twice would be left out."""
    for row in sample["data"] if isinstance(sample.get("data"), list) else ():
        for name in ("execId", "orderId"):
            if name in row:
                row[name] = f"{name}-{chance.randrange(10**9)}"
        if "seq" in row:
            row["seq"] = chance.randrange(10**12)
        if "updatedTime" in row:
            row["updatedTime"] = str(START_MS + chance.randrange(10**9))


def _frame(chance: random.Random, samples: tuple[dict[str, Any], ...]) -> str | bytes:
    sample = copy.deepcopy(chance.choice(samples))
    _fresh(chance, sample)
    kind = chance.random()
    if kind < 0.5:
        sample = changed_json(chance, sample)
        text = json.dumps(sample)
    else:
        text = mutated(chance, json.dumps(sample)) if kind < 0.8 else json.dumps(sample)
    raw = text.encode("utf-8", "replace")
    if kind > 0.97:
        raw = raw + chance.randbytes(3)
    return raw if chance.random() < 0.5 else raw.decode("utf-8", "replace")

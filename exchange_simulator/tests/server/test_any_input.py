"""Any input gets one of Bybit's responses, never an internal error."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from exchange_simulator.app import App
from exchange_simulator.engine.model import Rules
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.keys import parse_account
from exchange_simulator.rest.server import ENDPOINTS
from exchange_simulator.tests.server.served import FLAT, KEY, SECRET, START_MS, Wall, market

TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "", "0", "1", "-1", "1e400", "1e-400", "NaN", "Infinity", "0x10", "²", "٣", "1" * 5000, "99999999999999999999",
            "49000", "51000", "0.1", "0.001", "0.0001", "Buy", "Sell", "Market", "Limit", "linear", "spot", "BTCUSDT",
            "BTC", "USDT", "5", "D", "M", "W", "5min", "true", "UNIFIED", "1:2", "1%3A2", "1:2:3", "Full", "Partial", "GTC",
            "PostOnly", "LastPrice", "IndexPrice", "\x00", "a" * 40,
        ]
    ),
)  # fmt: skip
SCALARS = st.one_of(TEXTS, st.integers(-(10**20), 10**20), st.booleans(), st.none(), st.floats())
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.lists(st.dictionaries(TEXTS, SCALARS, max_size=4), max_size=3)
)
LIKELY = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "qty": "0.1",
    "price": "49000",
}


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    exchange = Exchange(
        market(FLAT),
        [parse_account(f"{KEY}:{SECRET}:100000")],
        Setup(rules=Rules(), start_ms=START_MS, step_clock=True),
    )
    yield App(exchange, Wall())
    exchange.close()


def signed(text: str) -> dict[str, str]:
    stamp = str(Wall().now)
    sign = hmac.new(SECRET.encode(), f"{stamp}{KEY}5000{text}".encode(), hashlib.sha256).hexdigest()
    return {"X-BAPI-API-KEY": KEY, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": "5000", "X-BAPI-SIGN": sign}


@pytest.mark.parametrize("name", sorted(ENDPOINTS), ids=" ".join)
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_parameters_get_an_answer(app: App, name: tuple[str, str], data: st.DataObject) -> None:
    endpoint = ENDPOINTS[name]
    app.rest.limits.enabled = False
    sent: dict[str, Any] = {}
    for param in endpoint.params:
        if param.name in LIKELY and data.draw(st.integers(0, 3)):
            sent[param.name] = LIKELY[param.name]
        elif len(param.choices) > 0 and data.draw(st.integers(0, 1)):
            sent[param.name] = param.choices[data.draw(st.integers(0, len(param.choices) - 1))]
        elif data.draw(st.integers(0, 1)):
            values: st.SearchStrategy[Any] = VALUES if endpoint.method == "POST" else TEXTS
            sent[param.name] = data.draw(values)
    text = json.dumps(sent) if endpoint.method == "POST" else urlencode(sent)
    query, body = ("", text.encode()) if endpoint.method == "POST" else (text, b"")
    answer = app.rest.answer(endpoint, signed(text), query, body)
    assert isinstance(answer.code, int)
    assert isinstance(answer.result, dict)
    assert app.rest.respond(answer).body is not None

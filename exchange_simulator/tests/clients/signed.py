"""A minimal client: signs requests as Bybit documents and returns responses unprocessed."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx

from exchange_simulator.tests.clients.process import KEY, SECRET, Simulator


class Signed:
    """REST calls on one account."""

    def __init__(self, simulator: Simulator, key: str = KEY, secret: str = SECRET) -> None:
        self._http = httpx.Client(base_url=simulator.rest_url, timeout=20)
        self._key, self._secret = key, secret

    def __enter__(self) -> "Signed":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, query: Mapping[str, Any], *, signed: bool = True) -> httpx.Response:
        """Sends one request; parameters go into the query of a GET or the body of a POST."""
        text = json.dumps(query) if method == "POST" else urlencode(query)
        headers = {"Content-Type": "application/json"}
        if signed:
            stamp = str(time.time_ns() // 1_000_000)
            sign = hmac.new(self._secret.encode(), f"{stamp}{self._key}5000{text}".encode(), hashlib.sha256).hexdigest()
            headers |= {
                "X-BAPI-API-KEY": self._key,
                "X-BAPI-TIMESTAMP": stamp,
                "X-BAPI-RECV-WINDOW": "5000",
                "X-BAPI-SIGN": sign,
            }
        if method == "POST":
            return self._http.post(path, content=text, headers=headers)
        return self._http.get(f"{path}?{text}" if text else path, headers=headers)

    def result(self, method: str, path: str, query: Mapping[str, Any], *, signed: bool = True) -> dict[str, Any]:
        """The `result` of a call that must succeed."""
        answer = self.call(method, path, query, signed=signed).json()
        assert answer["retCode"] == 0, f"{method} {path} {dict(query)}: {answer['retCode']} {answer['retMsg']}"
        result: dict[str, Any] = answer["result"]
        return result


def auth_frame(key: str = KEY, secret: str = SECRET) -> str:
    """The login frame of the private stream."""
    expires = time.time_ns() // 1_000_000 + 10_000
    sign = hmac.new(secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
    return json.dumps({"op": "auth", "req_id": "a", "args": [key, expires, sign]})

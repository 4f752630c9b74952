"""Signatures for Bybit V5: HMAC-SHA256 over an exact string, in lower-case hex."""

import hashlib
import hmac


def sign(secret: str, text: str) -> str:
    """The lower-case hex HMAC-SHA256 of `text` under `secret`."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def rest_signature(key: str, secret: str, timestamp_ms: int, recv_window_ms: int, payload: str) -> str:
    """The signature of a REST call; `payload` is the query string, or the body, exactly as sent."""
    return sign(secret, f"{timestamp_ms}{key}{recv_window_ms}{payload}")


def ws_auth_args(key: str, secret: str, now_ms: int, valid_for_ms: int = 10_000) -> list[str | int]:
    """The `args` of the `auth` frame of a private WebSocket.

    `now_ms` is the exchange's clock as known here; the frame must arrive within `valid_for_ms`, and one second is
    too short on a slow connection.
    """
    expires = now_ms + valid_for_ms
    return [key, expires, sign(secret, f"GET/realtime{expires}")]

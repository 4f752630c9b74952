"""Signatures against vectors computed with OpenSSL."""

import pytest

from alpha.bybit.signing import rest_signature, ws_auth_args


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        (
            "category=linear&limit=50&symbol=BTCUSDT",
            "a4a39eac83ffd1e90bb95498e0b69ae8e1562be8aa87fc07488a73cece884f42",
        ),
        (
            '{"category":"linear","symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"0.001","price":"30000",'
            '"timeInForce":"GTC","orderLinkId":"t-1"}',
            "6cdc1260d256e88d89c9b1e6342075ebc10502fd844d369cf5be2939bdc205dd",
        ),
        ("", "2fc9e776b3f07b2ee447067e0f627438055b198bb14dba79e1a3d50e40a5bd8d"),
    ],
)
def test_a_rest_call_is_signed_over_time_key_window_and_payload(payload: str, signature: str) -> None:
    assert rest_signature("testkey", "testsecret", 1700000000000, 5000, payload) == signature


def test_a_login_is_signed_over_its_expiry() -> None:
    assert ws_auth_args("testkey", "testsecret", 1700000000000, 10_000) == [
        "testkey",
        1700000010000,
        "6a806639d27b1c24c3808a191e9d0274d0c9d3a04a160233856d65840dfda2c8",
    ]

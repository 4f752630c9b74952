"""A write whose TLS handshake failed was never sent, so it may be sent again; one that broke later must be looked up."""

import ssl

import pytest
import requests
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError, ProtocolError, SSLError

from alpha.bybit.transport import _never_sent

POOL = HTTPConnectionPool("127.0.0.1")


def wrapped(
    reason: Exception, kind: type[requests.exceptions.RequestException]
) -> requests.exceptions.RequestException:
    """As requests raises what urllib3 has met."""
    return kind(MaxRetryError(POOL, "/v5/order/create", reason))


@pytest.mark.parametrize(
    ("fault", "never"),
    [
        (
            wrapped(SSLError(ssl.SSLCertVerificationError("certificate has expired")), requests.exceptions.SSLError),
            True,
        ),
        (wrapped(SSLError(ssl.SSLError("decryption failed or bad record mac")), requests.exceptions.SSLError), False),
        (wrapped(ProtocolError("Connection aborted."), requests.exceptions.ConnectionError), False),
        (requests.exceptions.ConnectTimeout("no connection in time"), True),
        (requests.exceptions.ReadTimeout("no answer in time"), False),
    ],
)
def test_what_certainly_was_never_sent(fault: requests.exceptions.RequestException, never: bool) -> None:
    assert _never_sent(fault) is never

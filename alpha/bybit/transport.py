"""One HTTP exchange over pybit, in its own threads, with the outcome classified by `retry_policy`.

pybit is synchronous. Reads and writes have separate threads, so that an exit never queues behind hanging reads; each
thread has its own HTTP object. pybit's own retries and sleeps are disabled.
"""

import asyncio
import re
import ssl
import threading
import unicodedata
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import requests
from msgspec import Struct
from pybit.exceptions import FailedRequestError, InvalidRequestError
from urllib3.exceptions import NewConnectionError

from alpha.bybit.endpoints import Endpoint
from alpha.bybit.retry_policy import ErrorKind, kind_of_code, kind_of_status
from alpha.bybit.signing import rest_signature
from alpha.errors import Misconfigured
from alpha.imports import deferred
from alpha.lease import MOST_WINDOW_MS, Act, Fence

# The streams are a client of our own, and signatures are HMAC.
_UNUSED = ("Crypto", "Crypto.Hash", "Crypto.Hash.SHA256", "Crypto.PublicKey", "Crypto.PublicKey.RSA")
with deferred("websocket", *_UNUSED, "Crypto.Signature", "Crypto.Signature.PKCS1_v1_5"):
    from pybit.unified_trading import HTTP

READ_THREADS = 16
WRITE_THREADS = 4
_SERVER_CLOCK = re.compile(r"server_timestamp\[(\d{10,16})\]")


class Answer(Struct, frozen=True):
    """The outcome of one request. `time_ms` is the exchange's clock in the envelope, `result` the decoded `result`.

    `sent_ms` and `heard_ms` are this machine's steady clock around the request. `server_ms` is the exchange's clock as
    stated by a timestamp refusal (10002).
    """

    kind: ErrorKind
    ret_code: int
    message: str
    result: object
    time_ms: int | None
    headers: Mapping[str, str]
    sent_ms: int
    heard_ms: int
    server_ms: int | None = None


class Permit(Struct, frozen=True):
    """The fence to check at the instant a request is signed, and the kind of request."""

    fence: Fence
    act: Act


class Transport:
    """Sends single requests; never retries or sleeps, and never raises for network or exchange failures."""

    def __init__(
        self,
        endpoint_url: str,
        key: str | None,
        secret: str | None,
        *,
        clock_ms: Callable[[], int],
        now_ms: Callable[[], int],
        timeout_s: float = 10.0,
        recv_window_ms: int = MOST_WINDOW_MS,
    ) -> None:
        """`clock_ms` is the clock to sign with (the exchange's, as known here), `now_ms` a steady clock."""
        self._url = endpoint_url
        self._key = key
        self._secret = secret
        self._clock_ms = clock_ms
        self._now_ms = now_ms
        self._timeout_s = timeout_s
        self._recv_window_ms = recv_window_ms
        self._of_thread = threading.local()
        self._all: list[HTTP] = []
        self._lock = threading.Lock()
        self._reads = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="bybit-read")
        self._writes = ThreadPoolExecutor(WRITE_THREADS, thread_name_prefix="bybit-write")

    async def send(self, endpoint: Endpoint, params: Mapping[str, object], permit: Permit | None = None) -> Answer:
        """Send one request and wait for its answer, for little longer than the timeout at most.

        Raises the errors of `permit`'s fence; then nothing was sent.
        """
        pool = self._writes if endpoint.write else self._reads
        began = self._now_ms()
        started = threading.Event()
        call = asyncio.get_running_loop().run_in_executor(pool, self._send, endpoint, dict(params), started, permit)
        try:
            # pybit's timeout bounds each read, not the whole; a server that trickles bytes would block forever.
            async with asyncio.timeout(self._timeout_s * 2 + 1):
                return await call
        except TimeoutError:
            kind = ErrorKind.UNKNOWN_OUTCOME if started.is_set() else ErrorKind.BUSY
            return self._failed(kind, 0, f"no whole answer within {self._timeout_s * 2 + 1:g} s", began)

    async def close(self) -> None:
        """Stop the threads and close the connections."""

        def end() -> None:
            self._reads.shutdown(wait=True, cancel_futures=True)
            self._writes.shutdown(wait=True, cancel_futures=True)
            for http in self._all:
                http.client.close()

        await asyncio.to_thread(end)

    def _http(self) -> HTTP:
        http: HTTP | None = getattr(self._of_thread, "http", None)
        if http is None:
            http = HTTP(
                api_key=self._key,
                api_secret=self._secret,
                timeout=self._timeout_s,
                recv_window=self._recv_window_ms,
                retry_codes={-999},
                max_retries=1,
                force_retry=False,
                log_requests=False,
                return_response_headers=True,
            )
            http.endpoint = self._url
            http.client.max_redirects = 0
            # the only place where pybit reads the local clock
            http._prepare_headers = self._signed_headers
            self._of_thread.http = http
            with self._lock:
                self._all.append(http)
        return http

    def _signed_headers(self, payload: str, recv_window: int) -> dict[str, str]:
        if not self._key or not self._secret:
            raise Misconfigured("This call needs an API key, and this gateway has none.")
        # The timestamp comes first: a freeze between the two then shortens the window, never extends it.
        timestamp = self._clock_ms()
        permit: Permit | None = self._of_thread.permit
        if permit is not None:
            recv_window = permit.fence.window_ms(permit.act, recv_window)
        return {
            "Content-Type": "application/json",
            "X-BAPI-API-KEY": self._key,
            "X-BAPI-SIGN": rest_signature(self._key, self._secret, timestamp, recv_window, payload),
            "X-BAPI-SIGN-TYPE": "2",
            "X-BAPI-TIMESTAMP": str(timestamp),
            "X-BAPI-RECV-WINDOW": str(recv_window),
        }

    def _send(
        self, endpoint: Endpoint, params: dict[str, object], started: threading.Event, permit: Permit | None
    ) -> Answer:
        started.set()
        http = self._http()
        self._of_thread.permit = permit
        began = self._now_ms()
        try:
            body, _elapsed, headers = getattr(http, endpoint.method)(**params)
        except InvalidRequestError as refused:
            return self._refused(refused, began)
        except FailedRequestError as failed:
            if failed.status_code == 409 and failed.resp_headers is None:
                return self._failed(ErrorKind.UNKNOWN_OUTCOME, 0, "a response that is not JSON", began)
            return self._failed(
                kind_of_status(failed.status_code),
                failed.status_code,
                f"HTTP status {failed.status_code}",
                began,
                failed.resp_headers,
            )
        except requests.exceptions.RequestException as fault:
            return self._failed(
                ErrorKind.BUSY if _never_sent(fault) else ErrorKind.UNKNOWN_OUTCOME, 0, _in_words(fault), began
            )
        except UnicodeEncodeError as fault:
            # Never sent, and not transient: the key goes into a header.
            name = unicodedata.name(fault.object[fault.start], "a control character")
            raise Misconfigured(
                f"The API key of this gateway holds {name}, which cannot be part of a key. Copy it again."
            ) from None
        except (AttributeError, TypeError, KeyError, ValueError) as fault:
            # pybit does not check the shape of an answer.
            return self._failed(
                ErrorKind.UNKNOWN_OUTCOME, 0, f"an answer that cannot be understood ({type(fault).__name__})", began
            )
        return self._understood(body, headers, began)

    def _understood(self, body: object, headers: Mapping[str, str], began: int) -> Answer:
        if not isinstance(body, dict) or body.get("retCode") != 0 or "result" not in body:
            return self._failed(
                ErrorKind.UNKNOWN_OUTCOME, 0, "a response that is not a Bybit V5 envelope", began, headers
            )
        time_ms = body.get("time")
        return Answer(
            kind=ErrorKind.OK,
            ret_code=0,
            message=str(body.get("retMsg", "")),
            result=body["result"],
            time_ms=time_ms if type(time_ms) is int and time_ms > 0 else None,
            headers=headers,
            sent_ms=began,
            heard_ms=self._now_ms(),
        )

    def _refused(self, refused: InvalidRequestError, began: int) -> Answer:
        code, message = refused.status_code, str(refused.message)
        if type(code) is not int:
            return self._failed(
                ErrorKind.UNKNOWN_OUTCOME, 0, "a response whose retCode is not a number", began, refused.resp_headers
            )
        clocks = _SERVER_CLOCK.search(message)
        return Answer(
            kind=kind_of_code(code, message),
            ret_code=code,
            message=message,
            result={},
            time_ms=None,
            headers=refused.resp_headers or {},
            sent_ms=began,
            heard_ms=self._now_ms(),
            server_ms=int(clocks[1]) if clocks else None,
        )

    def _failed(
        self, kind: ErrorKind, code: int, message: str, began: int, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return Answer(kind, code, message, {}, None, headers or {}, began, self._now_ms())


def _never_sent(fault: requests.exceptions.RequestException) -> bool:
    """True when no connection was made, so the exchange cannot have seen the request.

    A certificate is judged before anything is sent. Another TLS fault may come in the middle of an answer.
    """
    if isinstance(fault, requests.exceptions.ConnectTimeout):
        return True
    reason = getattr(fault.args[0] if fault.args else None, "reason", None)
    if isinstance(reason, NewConnectionError):
        return True
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in (reason, *getattr(reason, "args", ())))


def _in_words(fault: requests.exceptions.RequestException) -> str:
    if isinstance(fault, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(fault, requests.exceptions.SSLError):
        return "the certificate of the exchange was not accepted"
    if _never_sent(fault):
        return "no connection"
    return "the connection broke"


def midpoint_offset(server_ms: int, answer: Answer) -> int:
    """The exchange's clock minus this machine's steady clock, assuming it was read halfway through the request."""
    return server_ms - (answer.sent_ms + answer.heard_ms) // 2

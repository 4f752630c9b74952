"""One call from start to end: request budget, signing clock, send, and recovery from a failure."""

from collections.abc import Mapping
from contextlib import suppress

from msgspec import Struct

from alpha.bybit import retry_policy
from alpha.bybit.documented import note_code
from alpha.bybit.endpoints import SERVER_TIME, Endpoint
from alpha.bybit.errors import (
    Busy,
    ClockRefused,
    DuplicateOrder,
    KeyRefused,
    NothingToClose,
    NotSupported,
    OrderGone,
    RateLimited,
    Refused,
    SessionClosed,
    WriteUnknown,
)
from alpha.bybit.fields import Fields
from alpha.bybit.hosts import Hosts
from alpha.bybit.rate_limiter import Priority, RateLimiter
from alpha.bybit.retry_policy import ErrorKind
from alpha.bybit.transport import Answer, Permit, Transport, midpoint_offset
from alpha.clock import SYSTEM_CLOCK, Backoff, BusinessClock, Clock
from alpha.config.regions import REGIONS
from alpha.errors import AlphaError
from alpha.lease import CLOCK_ERROR_MS, MOST_WINDOW_MS, Act, Fence
from alpha.model.exchange_profile import profile_of

#: Age at which a measured clock offset is measured again, in milliseconds.
CLOCK_AGE_MS = 900_000
#: A simulated exchange runs on its own time; a larger difference is that, not clock skew.
SIMULATED_SKEW_LIMIT_MS = 60_000
#: Bybit states the reset of a rate limit by its own clock; without the header, assume a window of one second.
LIMIT_PAUSE_MS = 1_000
LIMIT_PAUSE_MOST_MS = 5_000


class Credentials(Struct, frozen=True):
    """The key of one account. Its repr shows no secret."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return "Credentials(***)"

    __str__ = __repr__


#: So many characters of the exchange's own message go into an error.
_MOST_MESSAGE = 300


class CallPolicy(Struct, frozen=True):
    """How long a call may take: the pauses between attempts, and limits for an answer and for room in the request budget."""

    backoff: Backoff = Backoff()
    timeout_s: float = 10.0
    recv_window_ms: int = MOST_WINDOW_MS
    throttle_wait_s: float = 30.0


CALL_POLICY = CallPolicy()


class CallCounts(Struct):
    """Counts of what was sent."""

    sent: int = 0
    limited: int = 0


class Caller:
    """Makes calls for one key. `account` names the request budget it uses, equal in all processes."""

    def __init__(
        self,
        hosts: Hosts,
        credentials: Credentials | None,
        throttle: RateLimiter,
        *,
        account: str,
        business: BusinessClock | None = None,
        policy: CallPolicy = CALL_POLICY,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Between two measurements of the exchange's clock, timestamps advance with `clock.boottime_ms`."""
        self.account = account
        #: Checked for every write at the instant it is signed; None: no other process writes for this key.
        self.fence: Fence | None = None
        self.hosts = hosts
        self.business = business if business is not None else BusinessClock()
        self.counts = CallCounts()
        self._throttle = throttle
        self._policy = policy
        self._clock = clock
        self._wall_less_steady_ms = clock.wall_ms() - clock.boottime_ms()
        self._offset_ms = 0
        #: Maximum error of the measured offset: half the round trip of the measurement, in milliseconds.
        self._offset_error_ms = 0
        self._measured_ms: int | None = None
        self._skew_ms: int | None = None
        self._transport = Transport(
            hosts.rest,
            credentials.key if credentials else None,
            credentials.secret if credentials else None,
            clock_ms=self.signing_ms,
            now_ms=clock.boottime_ms,
            timeout_s=policy.timeout_s,
            recv_window_ms=policy.recv_window_ms,
        )

    @property
    def skew_ms(self) -> int | None:
        """The exchange's clock minus this machine's, in milliseconds, as last measured; None before that."""
        return self._skew_ms

    def signing_ms(self) -> int:
        """The timestamp to sign requests and WebSocket logins with: the exchange's clock as last measured, in ms."""
        return self._clock.boottime_ms() + self._wall_less_steady_ms + self._offset_ms

    async def close(self) -> None:
        """Stop the threads and close the connections."""
        await self._transport.close()

    async def sync_clock(self) -> int:
        """Measure the exchange's clock against this machine's; return the skew in milliseconds.

        On a simulated exchange whose time differs from the wall clock by more than a minute the skew is zero:
        that is business time, and requests are signed with the wall clock.
        """
        answer = await self._read(SERVER_TIME, {}, Priority.RECONCILE, self._policy.throttle_wait_s)
        nanoseconds = Fields("server-time", answer.result).integer("timeNano")
        self._take_offset(nanoseconds // 1_000_000, answer)
        return self._offset_ms

    async def read(
        self, endpoint: Endpoint, params: Mapping[str, object], rank: Priority, *, wait_s: float | None = None
    ) -> object:
        """The `result` of a read, retried after transient errors. Raises Busy, RateLimited, Throttled or others."""
        return (await self.answer(endpoint, params, rank, wait_s=wait_s)).result

    async def answer(
        self, endpoint: Endpoint, params: Mapping[str, object], rank: Priority, *, wait_s: float | None = None
    ) -> Answer:
        """Like `read`, with the exchange's timestamp of the answer."""
        await self._keep_clock(endpoint)
        return await self._read(endpoint, params, rank, self._policy.throttle_wait_s if wait_s is None else wait_s)

    async def write(
        self,
        endpoint: Endpoint,
        params: Mapping[str, object],
        rank: Priority,
        act: Act,
        *,
        wait_s: float | None = None,
    ) -> object:
        """The `result` of a write of kind `act`.

        A write that certainly did not happen is sent again; one that may have happened is sent again only if a repeat
        is harmless, and otherwise raises WriteUnknown. Each send checks the fence; LeaseNotHeld or LeaseLost when
        the fence refuses it.
        """
        await self._keep_clock(endpoint)
        wait = self._policy.throttle_wait_s if wait_s is None else wait_s
        if endpoint.repeatable:
            return (await self._read(endpoint, params, rank, wait, act)).result
        for attempt in range(1, self._policy.backoff.tries + 1):
            answer = await self._send(endpoint, params, rank, wait, act)
            if answer.kind is ErrorKind.OK:
                return answer.result
            if answer.kind is ErrorKind.UNKNOWN_OUTCOME:
                raise WriteUnknown(_text(endpoint, answer), answer.ret_code or None)
            await self._recover(endpoint, answer, attempt)
        raise AssertionError("unreachable: the last try raises")

    async def _read(
        self, endpoint: Endpoint, params: Mapping[str, object], rank: Priority, wait_s: float, act: Act | None = None
    ) -> Answer:
        for attempt in range(1, self._policy.backoff.tries + 1):
            answer = await self._send(endpoint, params, rank, wait_s, act)
            if answer.kind is ErrorKind.OK:
                return answer
            await self._recover(endpoint, answer, attempt)
        raise AssertionError("unreachable: the last try raises")

    async def _send(
        self, endpoint: Endpoint, params: Mapping[str, object], rank: Priority, wait_s: float, act: Act | None
    ) -> Answer:
        await self._throttle.acquire(self.account, endpoint, rank, wait_s=wait_s)
        permit = None
        if act is not None and self.fence is not None:
            await self.fence.ready(act)
            if act is not Act.REDUCE:
                await self._know_clock()
            permit = Permit(self.fence, act)
        self.counts.sent += 1
        answer = await self._transport.send(endpoint, params, permit)
        self._throttle.learn(self.account, endpoint, answer.headers)
        if answer.time_ms is not None:
            self.business.saw(answer.time_ms)
        return answer

    async def _recover(self, endpoint: Endpoint, answer: Answer, attempt: int) -> None:
        """Recover from the failure before the next attempt; raise when none is allowed or left."""
        last = attempt >= self._policy.backoff.tries
        pause_s = self._policy.backoff.pause_s(attempt, self._clock.random())
        match answer.kind:
            case ErrorKind.LIMITED:
                self.counts.limited += 1
                until_ms = self._reset_ms(answer)
                await self._throttle.block(self.account, endpoint, until_ms)
                if last:
                    after_s = max(0, until_ms - self._clock.wall_ms()) / 1_000
                    raise RateLimited(_text(endpoint, answer), after_s, answer.ret_code)
                pause_s = (
                    self._clock.random() * 0.1
                )  # the block delays the next attempt; the jitter spreads the attempts
            case ErrorKind.CLOCK:
                if last:
                    raise ClockRefused(_text(endpoint, answer), None, answer.ret_code)
                if self.fence is not None:
                    # A clock was wrong or the request arrived late: confirm the lease before signing again.
                    self.fence.doubt()
                await self._clock_again(answer)
            case ErrorKind.BUSY | ErrorKind.UNKNOWN_OUTCOME:
                if last and endpoint.write and answer.kind is ErrorKind.UNKNOWN_OUTCOME:
                    raise WriteUnknown(_text(endpoint, answer), answer.ret_code or None)
                if last:
                    raise Busy(_text(endpoint, answer), None, answer.ret_code or None)
            case ErrorKind.BANNED:
                raise await self._throttle.ban()
            case _:
                raise _final(endpoint, answer, self.hosts)
        await self._clock.sleep(pause_s)

    async def _keep_clock(self, endpoint: Endpoint) -> None:
        """Measure the clock before the first signed call and when the last offset is old; then failure is harmless."""
        if not endpoint.signed:
            return
        now = self._clock.boottime_ms()
        if self._measured_ms is not None and now - self._measured_ms < CLOCK_AGE_MS:
            return
        self._measured_ms = now
        with suppress(AlphaError):  # a call that cannot be signed correctly raises its own error
            await self.sync_clock()

    async def _know_clock(self) -> None:
        """Raise ClockRefused unless the exchange's clock is known well enough to tell until when a request is accepted.

        A process frozen in the middle of a measurement would mistake a wrong offset for a good one: what it then signs
        could be accepted long after its window was meant to end.
        """
        if self._offset_error_ms > CLOCK_ERROR_MS:
            await self.sync_clock()
        if self._offset_error_ms > CLOCK_ERROR_MS:
            raise ClockRefused(
                f"The exchange's clock is known to within {self._offset_error_ms} ms only; the path to it is too slow."
            )

    async def _clock_again(self, answer: Answer) -> None:
        if answer.server_ms is not None:
            # The refusal itself states the exchange's clock. Measure against this machine's clock, do not add to the
            # current offset: several concurrent refusals must not add up.
            self._take_offset(answer.server_ms, answer)
            return
        with suppress(AlphaError):
            await self.sync_clock()

    def _take_offset(self, server_ms: int, answer: Answer) -> None:
        self._offset_error_ms = (answer.heard_ms - answer.sent_ms) // 2
        self._wall_less_steady_ms = self._clock.wall_ms() - self._clock.boottime_ms()
        offset_ms = midpoint_offset(server_ms, answer) - self._wall_less_steady_ms
        if not profile_of(self.hosts.environment).on_wall_time and abs(offset_ms) > SIMULATED_SKEW_LIMIT_MS:
            offset_ms = 0
        self._offset_ms = offset_ms
        self._skew_ms = offset_ms
        self._measured_ms = self._clock.boottime_ms()

    def _reset_ms(self, answer: Answer) -> int:
        """When the limit resets, by this machine's clock; never in the past and never far in the future."""
        now = self._clock.wall_ms()
        text = answer.headers.get("X-Bapi-Limit-Reset-Timestamp", "")
        reset = int(text) - self._offset_ms if text.isdecimal() and len(text) < 16 else now + LIMIT_PAUSE_MS
        return min(max(reset, now + 50), now + LIMIT_PAUSE_MOST_MS)


def _final(endpoint: Endpoint, answer: Answer, hosts: Hosts) -> AlphaError:
    text = _text(endpoint, answer)
    code = answer.ret_code
    note_code(endpoint.path, code, answer.message)
    match answer.kind:
        case ErrorKind.KEY_REFUSED:
            note = f" {REGIONS[hosts.region].note}" if REGIONS[hosts.region].note else ""
            return KeyRefused(f"{text} For the operator: {retry_policy.remedy_of(code)}.{note}", code)
        case ErrorKind.ORDER_NOT_FOUND:
            return OrderGone(text, code)
        case ErrorKind.NOTHING_TO_CLOSE:
            return NothingToClose(text, code)
        case ErrorKind.SESSION_CLOSED:
            return SessionClosed(text, code)
        case ErrorKind.DUPLICATE:
            return DuplicateOrder(text, code)
        case ErrorKind.UNSUPPORTED:
            return NotSupported(f"{endpoint.path} does not exist on {hosts.environment}.", code)
        case _:
            return Refused(text, code)


def _text(endpoint: Endpoint, answer: Answer) -> str:
    code = f" (retCode {answer.ret_code})" if answer.ret_code else ""
    return f"Bybit did not serve {endpoint.path}: {_shown(answer.message) or 'no reason given'}{code}."


def _shown(message: str) -> str:
    """What the exchange said as part of a sentence: one line of printable characters, however long and strange it was."""
    text = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    return text if len(text) <= _MOST_MESSAGE else f"{text[:_MOST_MESSAGE]}..."

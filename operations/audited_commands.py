"""The one way to run an operator's command: claimed once and in the audit log before it begins, with its outcome afterwards.

Telegram, terminal, demo and dashboard use it alike. What is special to each is the id of the attempt: Telegram's is that of
the update, so that an update that is delivered again has no effect.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from alpha.clock import monotonic_ms
from alpha.errors import AlphaError, Rejected
from alpha.logs import logger
from operations.arguments import Arguments
from operations.audit_log import Attempt, interrupted_attempts, note_attempt, note_outcome
from operations.command_result import CommandResult
from operations.commands import Command
from operations.context import Operations
from operations.control_channel import Tell

log = logger(__name__)
#: A PostgreSQL slower than this per row must not delay a panic; it is then not waited for during LEFT_ALONE_MS.
PATIENCE_S, LEFT_ALONE_MS = 2.0, 10_000
_WAITING = 2_000
_REMEMBERED = 5_000


@dataclass(slots=True)
class Outcome:
    """How an attempt ended, for the audit log: `done`, `failed`, `refused`, `expired` or `asked`, and the answer given."""

    outcome: str = "failed"
    answer: str = ""

    def take(self, result: CommandResult) -> None:
        """The outcome of a command that was carried out."""
        self.outcome, self.answer = ("done" if result.done else "failed"), result.text


class AuditedCommands:
    """Claims attempts and records how they ended. `program` names this process in the audit log."""

    def __init__(self, platform: Operations, program: str, *, buffered: bool = False) -> None:
        """`buffered`: while PostgreSQL is unavailable rows are kept in this process and written later, so that a panic can
        still be ordered from a service. Otherwise a row that cannot be written is the caller's error."""
        self._platform = platform
        self._program = program
        self._buffered = buffered
        self._claimed: deque[str] = deque(maxlen=_REMEMBERED)
        self._claims: dict[str, asyncio.Task[bool]] = {}
        self._alone_until_ms = 0
        self._flushing = asyncio.Lock()
        self._waiting: deque[tuple[Attempt, str, str] | tuple[str, str, str]] = deque(maxlen=_WAITING)

    # -- carrying out -------------------------------------------------------------------------------------------

    async def run(self, attempt: Attempt, act: Callable[[], Awaitable[CommandResult]], tell: Tell) -> CommandResult:
        """Claim and carry out a confirmed command. Raises the command's errors.

        It runs without its entry while PostgreSQL is unavailable, after saying so: a panic must not fail for that.
        """
        if not await self.try_claim(attempt, "confirmed", tell):
            return await act()
        async with self.recorded(attempt.id, tell) as ended:
            result = await act()
            ended.take(result)
        return result

    @asynccontextmanager
    async def recorded(self, attempt_id: str, tell: Tell | None = None) -> AsyncIterator[Outcome]:
        """Record how a claimed attempt ended when the block is left; one left by an error has failed.

        An outcome that cannot be written is told, or logged without `tell`.
        """
        ended = Outcome()
        try:
            yield ended
        except AlphaError as fault:
            ended.outcome, ended.answer = "failed", str(fault)
            raise
        except asyncio.CancelledError:
            ended.outcome, ended.answer = "failed", f"{self._program} was stopped while it ran."
            raise
        except Exception:
            ended.outcome, ended.answer = "failed", "An unforeseen fault; the log has its trace."
            raise
        finally:
            try:
                await self._finish(attempt_id, ended)
            except AlphaError as fault:
                if tell is None:
                    log.error("outcome_not_audited", attempt=attempt_id, fault=str(fault))
                else:
                    await tell(f"Its outcome is not in the audit: {fault}")

    # -- claiming -----------------------------------------------------------------------------------------------

    async def claim(self, attempt: Attempt, outcome: str, answer: str = "", *, patience_s: float = PATIENCE_S) -> bool:
        """Write an attempt; False if it was claimed before, in this process or an earlier one.

        Buffered, the write continues in the background after `patience_s` and the attempt counts as claimed. Otherwise raises
        Retry while PostgreSQL is unavailable, and Rejected for a value that it refuses.
        """
        if attempt.id in self._claimed:
            return False
        if not self._buffered:
            written = await note_attempt(self._platform, attempt, outcome, answer)
            self._claimed.append(attempt.id)
            return written
        self._claimed.append(attempt.id)
        task = asyncio.create_task(self._write(attempt, outcome, answer), name=f"claim {attempt.id}")
        self._claims[attempt.id] = task
        task.add_done_callback(lambda _: self._claims.pop(attempt.id, None))
        if monotonic_ms() >= self._alone_until_ms:
            await asyncio.wait({task}, timeout=patience_s)
            if task.done():
                return task.result()
            if patience_s < PATIENCE_S:
                return True
            self._alone_until_ms = monotonic_ms() + LEFT_ALONE_MS
            log.warning("audit_waits", fault="PostgreSQL is slow.")
        # Claimed in this process, and written once PostgreSQL answers. Only a query could be repeated after a
        # restart: a confirmation does not outlive the process.
        return True

    async def try_claim(self, attempt: Attempt, outcome: str, tell: Tell, answer: str = "") -> bool:
        """Claim an attempt with an id of its own; where that fails, say so and return False."""
        try:
            return await self.claim(attempt, outcome, answer)
        except AlphaError as fault:
            await tell(f"Not in the audit: {fault}")
            return False

    async def _write(self, attempt: Attempt, outcome: str, answer: str) -> bool:
        """Write an attempt, or buffer it; False if it already existed."""
        if await self.flush():
            try:
                return await note_attempt(self._platform, attempt, outcome, answer)
            except Rejected as fault:
                log.error("audit_refused", attempt=attempt.id, fault=str(fault))
                return True
            except AlphaError as fault:
                log.warning("audit_waits", fault=str(fault))
        self._waiting.append((attempt, outcome, answer))
        return True

    async def _finish(self, attempt_id: str, ended: Outcome) -> None:
        """Record how an attempt ended. Unless buffered, raises as `claim`."""
        if not self._buffered:
            await note_outcome(self._platform, attempt_id, ended.outcome, ended.answer)
            return
        claim = self._claims.get(attempt_id)
        if claim is not None:
            await claim
        if await self.flush():
            try:
                await note_outcome(self._platform, attempt_id, ended.outcome, ended.answer)
                return
            except Rejected as fault:
                log.error("audit_refused", attempt=attempt_id, fault=str(fault))
                return
            except AlphaError as fault:
                log.warning("audit_waits", fault=str(fault))
        self._waiting.append((attempt_id, ended.outcome, ended.answer))

    async def flush(self) -> bool:
        """Write the buffered rows, oldest first; False while PostgreSQL is unavailable."""
        # answers end concurrently: without the lock two of them would write one row and drop two
        async with self._flushing:
            while self._waiting:
                what, outcome, answer = self._waiting[0]
                try:
                    if isinstance(what, Attempt):
                        await note_attempt(self._platform, what, outcome, answer)
                    else:
                        await note_outcome(self._platform, what, outcome, answer)
                except Rejected as fault:
                    # the same row would be refused again and block all behind it
                    log.error("audit_refused", row=str(what)[:200], fault=str(fault))
                except AlphaError:
                    return False
                self._waiting.popleft()
            return True

    # -- after a restart ----------------------------------------------------------------------------------------

    async def interrupted(self, source: str) -> list[str]:
        """Mark confirmed commands of `source` that an earlier process left running as failed; return those of the last day."""
        return await interrupted_attempts(self._platform, source, f"{self._program} was restarted while it ran.")


async def warning_of(platform: Operations, command: Command, args: Arguments) -> str:
    """The question that asks for confirmation, with the consequences; Rejected if there is nothing to confirm.

    Consequences that cannot be learnt are named: a panic must not wait for them.
    """
    try:
        return await command.warn(platform, args)
    except Rejected:
        raise
    except AlphaError as fault:
        return f"{' '.join((command.name.capitalize(), *args.words))}? {fault}"

"""Dispatches updates: each is claimed once in the audit log, judged by access control, and answered in its own task."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from alpha.errors import AlphaError
from alpha.logs import logger
from operations.audit_log import Attempt
from operations.audited_commands import PATIENCE_S, AuditedCommands
from operations.commands import BY_NAME, Role
from operations.context import Operations
from telegram_manager.access import Access, AccessControl, Decision
from telegram_manager.audience import Audience
from telegram_manager.bot_client import without_codes
from telegram_manager.buttons import read_press
from telegram_manager.conversation import Conversation
from telegram_manager.incoming_update import IncomingUpdate, Kind, Unreadable
from telegram_manager.sender import TelegramSender
from telegram_manager.state_store import StateStore

log = logger(__name__)
#: How long the audit log may delay a panic or a confirmation; the row is still written shortly after.
URGENT_PATIENCE_S = 0.25
#: Characters kept of an update that cannot be read.
UNREADABLE_KEPT = 4_000
_COMMAND = re.compile(r"[a-z_]{1,32}")
_OUTCOMES = {Access.EXPIRED: "expired"}


@dataclass(frozen=True, slots=True)
class OwnName:
    """The Telegram bot itself: how people address it, and its id."""

    username: str
    id: int


class UpdateDispatcher:
    """Takes updates in order and answers them concurrently, so that a slow answer delays nobody else."""

    def __init__(
        self,
        platform: Operations,
        bot: OwnName,
        gate: AccessControl,
        conversation: Conversation,
        letters: TelegramSender,
        commands: AuditedCommands,
        audience: Audience,
        memory: StateStore,
    ) -> None:
        self._platform = platform
        self._bot_name = bot.username.lower()
        self._bot_id = bot.id
        self._gate = gate
        self._conversation = conversation
        self._letters = letters
        self._commands = commands
        self._audience = audience
        self._memory = memory
        self._tasks: set[asyncio.Task[None]] = set()

    async def take_batch(
        self, batch: Sequence[IncomingUpdate], bad: Sequence[tuple[object, Unreadable]], sequence: int, received_ms: int
    ) -> None:
        """Take a batch of updates received at `received_ms` (wall clock): urgent ones first, each independently.

        A fault in one stops neither the others nor the caller.
        """
        urgent = [seen for seen in batch if seen.is_urgent]
        rest = [seen for seen in batch if not seen.is_urgent]
        for seen in urgent:
            await self._take_safely(seen, sequence, received_ms)
        # judged in order, claimed concurrently
        await asyncio.gather(*(self._take_safely(seen, sequence, received_ms) for seen in rest))
        for raw, fault in bad:
            await self._keep_unreadable(raw, fault, sequence, received_ms)

    async def _take_safely(self, seen: IncomingUpdate, sequence: int, received_ms: int) -> None:
        try:
            await self.take(replace(seen, received_ms=received_ms), sequence)
        except Exception:
            log.exception("update_skipped", update=seen.update_id)

    async def _keep_unreadable(self, raw: object, fault: Unreadable, sequence: int, received_ms: int) -> None:
        """Keep an update that cannot be read in the audit log, up to the rate that a flood must not exceed."""
        log.warning("update_unreadable", update=fault.number, fault=str(fault))
        if not self._gate.audits_strangers(received_ms):
            return
        arguments = {"why": str(fault), "update": without_codes(raw, UNREADABLE_KEPT)}
        identity = self._attempt_id(fault.number or f"received {received_ms}", sequence)
        attempt = Attempt(identity, "telegram", "nobody", "", "", "unreadable update", "", arguments)
        try:
            await self._commands.claim(attempt, "refused")
        except Exception:
            log.exception("update_not_kept", update=fault.number)

    async def take(self, seen: IncomingUpdate, sequence: int = 0) -> None:
        """Claim and judge an update; handle it in a task. An update that was already taken has no effect."""
        if seen.moved is not None:
            await self.group_moved(*seen.moved)
            return
        if seen.addressed_to and seen.addressed_to != self._bot_name:
            return
        if not seen.to_bot and not seen.holds_code:
            # people talking to each other in a group
            return
        now_ms = self._platform.wall_ms() if seen.received_ms is None else seen.received_ms
        judgement = self._gate.judge(seen, now_ms)
        admitted = judgement.verdict is Access.ADMITTED
        press = read_press(seen.text) if seen.kind is Kind.BUTTON else None
        name, words = self._conversation.subject(press) if seen.kind is Kind.BUTTON else (seen.command, ())
        if seen.kind is Kind.MESSAGE and seen.command in BY_NAME:
            words = tuple(seen.text.split()[1:])
        attempt = self._attempt(seen, judgement, name, words if admitted else (), sequence)
        if judgement.to_audit:
            confirms = press is not None and press.kind == "c" and press.answer == "yes"
            outcome = (
                ("confirmed" if confirms else "asked") if admitted else _OUTCOMES.get(judgement.verdict, "refused")
            )
            patience_s = URGENT_PATIENCE_S if seen.waits_for_nothing else PATIENCE_S
            if not await self._commands.claim(attempt, outcome, patience_s=patience_s):
                return
        if judgement.new_stranger:
            await self._memory.save("gate", self._gate.state)
        task = asyncio.create_task(self._answer(seen, judgement, attempt), name=f"update {seen.update_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until every running answer has ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, wait_s: float) -> None:
        """Wait up to `wait_s` for running answers, then cancel them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=wait_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def group_moved(self, old: int, new: int) -> None:
        """A group has become a supergroup with another id: treat it as the same place."""
        if self._gate.moved(old, new):
            await self._memory.save("gate", self._gate.state)
            self._letters.moved(old, new)
            await self._audience.tell_admins(
                f"⚠️ The group <code>{old}</code> has become a supergroup with the id <code>{new}</code>. I go on there; "
                f"write <code>{new}</code> into C2_TELEGRAM_GROUPS instead of <code>{old}</code>."
            )

    def _attempt_id(self, number: int | str, sequence: int) -> str:
        """The audit id of an update. A later id sequence of the same bot may reuse ids of an earlier one."""
        return f"telegram:{self._bot_id}:{f'{sequence}:' if sequence else ''}{number}"

    def _attempt(
        self, seen: IncomingUpdate, judgement: Decision, name: str, words: tuple[str, ...], sequence: int
    ) -> Attempt:
        known = name if _COMMAND.fullmatch(name) or seen.kind is Kind.BUTTON else ""
        bot = ""
        for word in words:
            try:
                bot = self._platform.registry.find(word).id
                break
            except AlphaError:
                continue
        arguments = {"words": " ".join(words)[:200]} if words else {}
        if judgement.verdict is not Access.ADMITTED:
            arguments = {"why": judgement.verdict.value, "name": seen.name}
        return Attempt(
            id=self._attempt_id(seen.update_id, sequence),
            source="telegram",
            issuer=str(seen.person or "nobody"),
            role="" if judgement.role is Role.STRANGER else judgement.role.name.lower(),
            chat=str(seen.place or ""),
            name=known or seen.kind.value,
            bot=bot,
            arguments=arguments,
        )

    async def _answer(self, seen: IncomingUpdate, judgement: Decision, attempt: Attempt) -> None:
        try:
            if judgement.verdict is Access.ADMITTED:
                async with self._commands.recorded(attempt.id) as ended:
                    ended.outcome, ended.answer = await self._settle(seen, judgement, attempt)
            else:
                await self._settle(seen, judgement, attempt)
        except AlphaError as fault:
            # usually Telegram refused the answer: tell the person, in a form that Telegram accepts
            log.warning("not_answered", update=seen.update_id, fault=str(fault))
            if judgement.verdict is Access.ADMITTED:
                await self._apologise(seen, f"🔴 The answer could not be given. {escape(str(fault)[:300])}")
        except Exception:
            # An unexpected fault must neither end the service nor leak: it is logged, and the person gets one sentence.
            log.exception("unforeseen_fault", update=seen.update_id)
            await self._apologise(seen, "🔴 That went wrong here; the log has the details.")

    async def _settle(self, seen: IncomingUpdate, judgement: Decision, attempt: Attempt) -> tuple[str, str]:
        if judgement.new_stranger:
            who = f"{escape(seen.name)} (<code>{seen.person}</code>)"
            await self._audience.tell_admins(f"⚠️ A stranger wrote to me: {who}. They got no answer.")
        if judgement.verdict is not Access.ADMITTED:
            if seen.holds_code and judgement.role is not Role.STRANGER and seen.place and seen.message_id is not None:
                # a code must not stay in the chat, whatever the outcome
                await self._letters.delete(seen.place, seen.message_id)
            if judgement.answer and seen.place is not None:
                if seen.kind is Kind.BUTTON:
                    await self._letters.answer_button(seen.button_id, judgement.answer)
                else:
                    await self._letters.say(seen.place, escape(judgement.answer))
            return "refused", judgement.verdict.value
        if seen.kind is Kind.BUTTON:
            return await self._conversation.press(seen, judgement.role, attempt.id, read_press(seen.text))
        return await self._conversation.message(seen, judgement.role, attempt.id)

    async def _apologise(self, seen: IncomingUpdate, html: str) -> None:
        try:
            if seen.place is not None:
                await self._letters.say(seen.place, html)
        except AlphaError as fault:
            log.warning("not_apologised", fault=str(fault))

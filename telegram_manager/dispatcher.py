"""The way of every update: claimed in the audit once, judged by the gate, answered in a task of its own."""

import asyncio
import re
from html import escape

from alpha.errors import AlphaError
from alpha.logs import logger
from operations.audit_log import Attempt
from operations.commands import BY_NAME, Role
from operations.context import Operations
from telegram_manager.access import Access, AccessControl, Decision
from telegram_manager.audience import Audience
from telegram_manager.buttons import read_press
from telegram_manager.conversation import Conversation
from telegram_manager.incoming_update import IncomingUpdate, Kind
from telegram_manager.sender import TelegramSender
from telegram_manager.state_store import AuditTrail, StateStore

log = logger(__name__)
#: Answers that are being worked on at once; more wait.
AT_ONCE = 32
_COMMAND = re.compile(r"[a-z_]{1,32}")
_OUTCOMES = {Access.EXPIRED: "expired"}


class UpdateDispatcher:
    """Takes updates in order and answers them side by side, so that a slow answer holds up nobody."""

    def __init__(
        self,
        platform: Operations,
        bot_name: str,
        bot_id: int,
        gate: AccessControl,
        conversation: Conversation,
        letters: TelegramSender,
        audit: AuditTrail,
        audience: Audience,
        memory: StateStore,
    ) -> None:
        self._platform = platform
        self._bot_name = bot_name.lower()
        self._bot_id = bot_id
        self._gate = gate
        self._conversation = conversation
        self._letters = letters
        self._audit = audit
        self._audience = audience
        self._memory = memory
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def take(self, seen: IncomingUpdate) -> None:
        """Claim and judge an update; what it asks for is done in a task. An update that was taken before does nothing."""
        if seen.addressed_to and seen.addressed_to != self._bot_name:
            return
        judgement = self._gate.judge(seen, self._platform.wall_ms())
        admitted = judgement.verdict is Access.ADMITTED
        press = read_press(seen.text) if seen.kind is Kind.BUTTON else None
        name, words = self._conversation.subject(press) if seen.kind is Kind.BUTTON else (seen.command, ())
        if seen.kind is Kind.MESSAGE and seen.command in BY_NAME:
            words = tuple(seen.text.split()[1:])
        attempt = self._attempt(seen, judgement, name, words if admitted else ())
        if judgement.to_audit:
            confirms = press is not None and press.kind == "c" and press.answer == "yes"
            outcome = (
                ("confirmed" if confirms else "asked") if admitted else _OUTCOMES.get(judgement.verdict, "refused")
            )
            if not await self._audit.claim(attempt, outcome):
                return
        if judgement.new_stranger:
            await self._memory.save("gate", self._gate.state)
        task = asyncio.create_task(self._answer(seen, judgement, attempt), name=f"update {seen.update_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Wait until every answer under way has ended."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self, wait_s: float) -> None:
        """Let answers end for a while, then cancel them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=wait_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _attempt(self, seen: IncomingUpdate, judgement: Decision, name: str, words: tuple[str, ...]) -> Attempt:
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
            id=f"telegram:{self._bot_id}:{seen.update_id}",
            source="telegram",
            issuer=str(seen.person or "nobody"),
            role="" if judgement.role is Role.STRANGER else judgement.role.name.lower(),
            chat=str(seen.place or ""),
            name=known or seen.kind.value,
            bot=bot,
            arguments=arguments,
        )

    async def _answer(self, seen: IncomingUpdate, judgement: Decision, attempt: Attempt) -> None:
        async with self._room:
            outcome, said = "failed", ""
            try:
                outcome, said = await self._settle(seen, judgement, attempt)
            except AlphaError as fault:
                said = str(fault)
                log.warning("not_answered", update=seen.update_id, fault=said)
            except Exception:
                # What nobody foresaw must neither end the service nor leak: the log has it, the person hears one sentence.
                log.exception("unforeseen_fault", update=seen.update_id)
                await self._apologise(seen)
                said = "An unforeseen fault; the log has its trace."
            finally:
                if judgement.verdict is Access.ADMITTED:
                    await self._audit.finish(attempt.id, outcome, said)

    async def _settle(self, seen: IncomingUpdate, judgement: Decision, attempt: Attempt) -> tuple[str, str]:
        if judgement.new_stranger:
            who = f"{escape(seen.name)} (<code>{seen.person}</code>)"
            await self._audience.tell_admins(f"⚠️ A stranger wrote to me: {who}. They got no answer.")
        if judgement.verdict is not Access.ADMITTED:
            if seen.holds_code and judgement.role is not Role.STRANGER and seen.place and seen.message_id is not None:
                # a code must not stay in the chat, whatever became of it
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

    async def _apologise(self, seen: IncomingUpdate) -> None:
        try:
            if seen.place is not None:
                await self._letters.say(seen.place, "🔴 That went wrong here; the log has the details.")
        except AlphaError as fault:
            log.warning("not_apologised", fault=str(fault))

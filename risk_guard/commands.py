"""The guard's commands: flatten, panic and lift, from `control:guard` or a limit; each closing is durable first."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass

import msgspec

from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.rate_limiter import Priority
from alpha.clock import wall_ms
from alpha.errors import AlphaError, Misconfigured, Retry
from alpha.live_state import keys
from alpha.live_state.connect import REDIS_UNAVAILABLE, RedisClients
from alpha.live_state.control import Command, CommandConsumer, PendingCommand
from alpha.logs import logger
from alpha.model.coin import SETTLE_COINS
from alpha.model.leg import split_slot
from alpha.model.reason import Reason
from alpha.process import end_tasks
from alpha.registry import Registry
from bot_control.desired_state import follows_desired_state
from bot_control.interface import BotControl
from risk_guard import containers, manual
from risk_guard.account import GuardedAccount
from risk_guard.closing import Closing, ClosingRefused, ClosingState, Tell
from risk_guard.manual import ManualControl
from risk_guard.store import DesiredState, GuardStore, Halt
from risk_guard.write_behind import WriteBehind

log = logger(__name__)
CLOSING = "closing"
#: How long PostgreSQL may delay the report of a closing, or the start of a resumed one.
PUT_AWAY_S = 1.0
#: How long to wait for the exchange to confirm that a symbol exists; afterwards its closing starts anyway.
ASK_S = 3.0
#: An operator can cancel only what an operator requested; closings by a passed stop or a limit stay.
_BY_OPERATOR = frozenset({Reason.MANUAL, Reason.KILL_SWITCH})


@dataclass(frozen=True, slots=True)
class DeskTiming:
    """For how long an account must stay flat, and a bot may take to answer a pause, in seconds."""

    confirm_s: float
    answer_s: float


@dataclass(frozen=True, slots=True)
class DeskHooks:
    """`leads` says whether this guard is the one that acts. `lifted(bot id or None)` is called when the operator lifts the
    halts of one bot, or of all (None)."""

    leads: Callable[[], bool]
    lifted: Callable[[str | None], Awaitable[None]]


class CommandDesk:
    """Runs the commands that close positions. One closing per account at a time: a second command joins the first."""

    def __init__(
        self,
        accounts: Mapping[str, GuardedAccount],
        registry: Registry,
        store: GuardStore,
        links: RedisClients,
        control: BotControl,
        alerts: Alerts,
        timing: DeskTiming,
        hooks: DeskHooks,
    ) -> None:
        """`accounts` by bot id."""
        self.last_flat_s: float | None = None
        self._accounts = accounts
        self.manual = ManualControl(store)
        self._registry = registry
        self._store = store
        self._links = links
        self._control = control
        self._alerts = alerts
        self._confirm_s = timing.confirm_s
        self._answer_s = timing.answer_s
        self._leads = hooks.leads
        self._lifted = hooks.lifted
        self._begun: frozenset[str] = frozenset()
        self._ended: set[tuple[str, str | None, str]] = set()
        self._states: dict[tuple[str, str | None], ClosingState] = {}
        self._running: dict[tuple[str, str | None], asyncio.Task[str]] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        #: Commands whose closing was cancelled, and by whom.
        self._taken_back: dict[str, str] = {}

    @property
    def closing(self) -> frozenset[str]:
        """The ids of the bots whose positions are being closed now."""
        return frozenset(bot for bot, symbol in self._running if self._goes_on(bot, symbol))

    def _goes_on(self, bot: str, symbol: str | None) -> bool:
        """True until a closing has ended; writes that are still pending afterwards are not part of it."""
        state = self._states[bot, symbol]
        return not self._running[bot, symbol].done() and (bot, symbol, state.command_id) not in self._ended

    async def serve(self) -> None:
        """Consume commands while this guard leads, until cancelled; survives outages of Redis."""
        taker = CommandConsumer(self._links.shared, keys.GUARD)
        led = False
        while True:
            if not self._leads():
                led = False
                await asyncio.sleep(0.2)
                continue
            if not led:
                # Resume closings left by the previous leader, regardless of command age.
                led, taker = True, CommandConsumer(self._links.shared, keys.GUARD)
                with contextlib.suppress(AlphaError):
                    self._begun = await self._store.begun_commands()
            try:
                for command in await taker.take(wall_ms(), block_ms=500, begun=self._begun):
                    self._beside(self._run(command, taker))
            except REDIS_UNAVAILABLE:
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        """Stop all tasks of this process; the next leader resumes the closings."""
        await end_tasks([*self._tasks, *self._running.values()])

    async def resume(self, account: GuardedAccount) -> None:
        """Resume the closings of an account that the previous leader did not finish."""
        if account.id is None:
            return
        for saved in await self._store.load_all(account.id, CLOSING):
            state = msgspec.convert(saved, ClosingState)
            if (account.bot.id, state.symbol, state.command_id) in self._ended:
                # It ended between query and answer, or while PostgreSQL was unavailable.
                await self._store.forget_closing(account.id, _row_of(state), state.command_id)
            elif self._under_way(account, state.symbol) is None:
                log.warning("closing_goes_on", bot=account.bot.id, command=state.command_id, symbol=state.symbol)
                self._begin(account, state, _silent)

    async def close_all(self, account: GuardedAccount, reason: Reason, why: str, created_by: str) -> None:
        """Halt an account and close everything on it, for a limit; returns once the closing has started."""
        if account.observe:
            await self._say_observed(account, f"it would have been halted and everything closed: {why}")
            return
        if self._under_way(account, None) is None:
            self._begin(account, ClosingState(uuid.uuid4().hex, reason, created_by), _silent)
        self._beside(self._pause_or_stop_bot(account, why, _silent))
        await self._halt(account, None, "flatten", why, created_by)

    async def close_one(self, account: GuardedAccount, slot: str, reason: Reason) -> None:
        """Close one position whose stop was passed, without a halt. Returns once the closing has started."""
        if self._under_way(account, slot) is None:
            self._begin(account, ClosingState(uuid.uuid4().hex, reason, "guard", slot, halted=False), _silent)

    async def _run(self, command: Command, taker: CommandConsumer) -> None:
        log.warning("command", command=command.name, args=command.args, issuer=command.issuer)

        async def tell(text: str) -> None:
            await _answer(taker, command, "progress", text)

        try:
            outcome, text = await self._carry_out(command, tell)
        except AlphaError as fault:
            outcome, text = "refused", str(fault)
        log.warning("command_answered", command=command.name, outcome=outcome, answer=text)
        await _answer(taker, command, outcome, text)

    async def _carry_out(self, command: Command, tell: Tell) -> tuple[str, str]:
        if command.name == "panic":
            return await self._close_many(
                list(self._accounts.values()), None, Reason.KILL_SWITCH, "panic", command, tell
            )
        if command.name in manual.COMMANDS:
            return await self._by_hand(command, tell)
        if command.name in containers.COMMANDS:
            return await containers.run(self._control, self._registry, command)
        if command.name not in {"flatten", "lift", "cancel"}:
            return "refused", f"The guard knows flatten, panic, cancel and lift, not {command.name[:40]!r}."
        name = command.args.get("bot", "")
        bot = self._registry.find(name) if name else None
        if command.name == "lift":
            return await self._lift(None if bot is None else bot.id, command.issuer)
        if bot is None or bot.id not in self._accounts:
            return "refused", f"The guard has no key of {name or 'an unnamed bot'}; it can close nothing there."
        symbol = command.args.get("symbol") or None
        if command.name == "cancel":
            return await self._take_back(self._accounts[bot.id], symbol, command.issuer)
        if symbol is not None:
            refusal = await self._refusal(self._accounts[bot.id], symbol)
            if refusal:
                return "refused", refusal
        return await self._close_many([self._accounts[bot.id]], symbol, Reason.MANUAL, "flatten", command, tell)

    async def _by_hand(self, command: Command, tell: Tell) -> tuple[str, str]:
        bot = self._registry.find(command.args.get("bot", ""))
        account = self._accounts.get(bot.id)
        if account is None:
            return "refused", f"The guard has no key of {bot.id}."
        symbol = command.args.get("symbol")
        if command.name in {"reduce", "move_stop"} and any(
            self._under_way(account, part) is not None for part in (None, symbol)
        ):
            return "refused", f"{bot.id} is being closed right now; nothing was changed."
        outcome, text = await self.manual.run(account, command, tell)
        if outcome == "done" and command.name != "cancel_order":
            await self._alert(Level.INFO, f"{command.name}:{symbol}", account, f"{text} By {command.issuer}.", "")
        return outcome, text

    async def _refusal(self, account: GuardedAccount, symbol: str) -> str:
        """Why a symbol has nothing to close: it is not an instrument, and no position or order of it exists.

        Empty when there is something to close, or when the exchange does not answer in time.
        """
        if symbol in account.instruments or self._under_way(account, symbol) is not None:
            return ""
        try:
            async with asyncio.timeout(ASK_S):
                rows = await account.gateway.positions(coins=SETTLE_COINS, rank=Priority.EXIT)
                held = {row.symbol for row in rows if not row.is_flat}
                orders = await account.gateway.open_orders(coins=SETTLE_COINS, rank=Priority.EXIT)
                ordered = {row.symbol for row in orders}
                known = await account.gateway.instruments(rank=Priority.EXIT)
        except (AlphaError, TimeoutError):
            return ""
        account.instruments |= known
        if symbol in known or symbol in held or symbol in ordered:
            return ""
        holds = f"It holds: {', '.join(sorted(held))}." if held else "It holds no position."
        return f"Bybit has no {symbol}, and {account.bot.id} holds none; nothing was halted or closed. {holds}"

    async def _take_back(self, account: GuardedAccount, symbol: str | None, issuer: str) -> tuple[str, str]:
        """Cancel closings that an operator requested; the halts they set stay in force."""
        bot = account.bot.id
        running = [
            (state, self._running[bot, place])
            for (name, place), state in self._states.items()
            if name == bot and symbol in {None, place} and self._goes_on(bot, place)
        ]
        if not running:
            wider = symbol is not None and self._under_way(account, None) is not None
            more = f" All of {bot} is being closed: /cancel {bot} takes that back." if wider else ""
            return "refused", f"Nothing{f' of {symbol}' if symbol else ''} is being closed for {bot}.{more}"
        ours = [(state, task) for state, task in running if state.reason in _BY_OPERATOR]
        if not ours:
            return (
                "refused",
                f"The closing of {bot} was begun by {running[0][0].issuer}, not by an operator; it continues.",
            )
        for state, task in ours:
            self._taken_back[state.command_id] = issuer
            self._end(account, state)
            await end_tasks([task])
            await self._put_away(account, state)
        what = ", ".join(state.symbol or "the whole account" for state, _ in ours)
        text = f"{bot}: the closing of {what} was taken back by {issuer}; what is open stays open."
        await self._alert(Level.WARNING, "taken_back", account, text, f"/resume {bot} lifts the halt.")
        return "done", f"{text} /resume {bot} lifts the halt."

    async def _close_many(
        self,
        accounts: list[GuardedAccount],
        symbol: str | None,
        reason: Reason,
        kind: str,
        command: Command,
        tell: Tell,
    ) -> tuple[str, str]:
        if not accounts:
            return "refused", "The guard has no key of any bot; it can close nothing."
        began_s = time.monotonic()
        results = await asyncio.gather(
            *(self._close_account(account, symbol, reason, kind, command, tell) for account in accounts),
            return_exceptions=True,
        )
        self.last_flat_s = time.monotonic() - began_s
        texts, failed = [], False
        for account, result in zip(accounts, results, strict=True):
            if isinstance(result, AlphaError):
                failed = True
                texts.append(f"{account.bot.id}: NOT closed: {result}")
            elif isinstance(result, asyncio.CancelledError):
                by = self._taken_back.pop(command.id, None)
                texts.append(
                    f"{account.bot.id}: a wider command took over."
                    if by is None
                    else f"{account.bot.id}: taken back by {by}; what is open stays open."
                )
                failed = failed or by is not None
            elif isinstance(result, BaseException):
                raise result
            else:
                texts.append(result)
        return ("refused" if failed else "done"), "\n".join(texts)

    async def _close_account(
        self, account: GuardedAccount, symbol: str | None, reason: Reason, kind: str, command: Command, tell: Tell
    ) -> str:
        why = f"{kind} by {command.issuer}"
        if account.observe:
            return f"{account.bot.id}: the guard only observes; it would have closed everything ({why})."
        if command.id in self._begun:
            # Without its saved state it starts over: attempts that were already sent are found by their ids.
            with contextlib.suppress(AlphaError, TimeoutError):
                async with asyncio.timeout(PUT_AWAY_S):
                    await self.resume(account)
        state = ClosingState(command.id, reason, command.issuer, symbol)
        running = self._under_way(account, symbol)
        if running is not None:
            await tell(f"{account.bot.id}: a closing is under way already; this command joins it.")
            await self._halt(account, symbol, kind, why, command.issuer)
            return await asyncio.shield(running)
        # The closing starts at once; the halt and pausing the bot ensure that nothing is opened meanwhile.
        task = self._begin(account, state, tell)
        halted = asyncio.create_task(self._halt(account, symbol, kind, why, command.issuer))
        silenced = asyncio.create_task(self._pause_or_stop_bot(account, why, tell))
        report = await asyncio.shield(task)
        if not await halted:
            report += " PostgreSQL is unavailable: the halt is saved as soon as it is back; no bot opens a position until then."
        return f"{report} {await silenced}"

    def _begin(self, account: GuardedAccount, state: ClosingState, tell: Tell) -> "asyncio.Task[str]":
        if state.symbol is None:
            # A closing of the whole account includes any symbol that is being closed.
            for (bot, symbol), narrower in self._running.items():
                if bot == account.bot.id and self._goes_on(bot, symbol):
                    narrower.cancel()
                    self._end(account, self._states[bot, symbol])
                    self._beside(self._take_over(account, self._states[bot, symbol], narrower))
        task = asyncio.create_task(self._close(account, state, tell))
        self._running[account.bot.id, state.symbol] = task
        self._states[account.bot.id, state.symbol] = state
        return task

    async def _take_over(self, account: GuardedAccount, state: ClosingState, narrower: "asyncio.Task[str]") -> None:
        await end_tasks([narrower])
        await self._put_away(account, state)

    def _under_way(self, account: GuardedAccount, symbol: str | None) -> "asyncio.Task[str] | None":
        """A closing that includes this symbol, or leg of one (None: the whole account)."""
        for wider in dict.fromkeys((None, split_slot(symbol)[0] if symbol else None, symbol)):
            task = self._running.get((account.bot.id, wider))
            if task is not None and self._goes_on(account.bot.id, wider):
                return task
        return None

    async def _close(self, account: GuardedAccount, state: ClosingState, tell: Tell) -> str:
        async def write(saved: object) -> None:
            if account.id is None:
                raise Retry(f"The number of {account.bot.id}'s account is not known yet.")
            await self._store.save(account.id, _row_of(state), saved)

        async def hindered(text: str) -> None:
            await tell(text)
            await self._alert(Level.CRITICAL, "closing", account, text, "Close its positions on the exchange.")

        durable = WriteBehind(f"closing of {account.bot.id}", write)

        def save(now: ClosingState) -> None:
            durable.save(msgspec.to_builtins(now))

        save(state)
        confirm_s = self._confirm_s if state.halted else 0.0
        closing = Closing(account, state, confirm_s=confirm_s, save=save, tell=tell, hindered=hindered)
        try:
            report = await closing.run()
        except BaseException as fault:
            await durable.close()
            if isinstance(fault, ClosingRefused):
                await self._refused(account, state, fault)
            elif isinstance(fault, Misconfigured):
                text = f"{account.bot.id} could not be closed: {fault}"
                await self._alert(Level.CRITICAL, "closing", account, text, "Close its positions on the exchange now.")
            raise
        self._end(account, state)
        await asyncio.wait({self._beside(self._put_away(account, state, durable))}, timeout=PUT_AWAY_S)
        remedy = f"/resume {account.bot.id} lifts the halt." if state.halted else "Look why it was still open."
        await self._alert(Level.WARNING, "closed", account, report, remedy)
        return report

    async def _refused(self, account: GuardedAccount, state: ClosingState, fault: ClosingRefused) -> None:
        """End a closing that cannot succeed: a restart does not resume it, and /resume works again."""
        self._end(account, state)
        self._beside(self._put_away(account, state))
        text = f"{account.bot.id}: the closing of {state.symbol} has ended without success. {fault}"
        remedy = f"Look at {state.symbol} on the exchange; /resume {account.bot.id} lifts the halt."
        await self._alert(Level.CRITICAL, f"refused:{state.symbol}", account, text, remedy)

    def _end(self, account: GuardedAccount, state: ClosingState) -> None:
        """Mark this closing as ended: it is no longer joined or resumed."""
        self._ended.add((account.bot.id, state.symbol, state.command_id))

    async def _put_away(self, account: GuardedAccount, state: ClosingState, durable: WriteBehind | None = None) -> None:
        """Delete the saved state of an ended closing; if that fails now, it is deleted when next encountered."""
        if durable is not None:
            await durable.close()
        if account.id is None:
            return
        try:
            await self._store.forget_closing(account.id, _row_of(state), state.command_id)
        except AlphaError as fault:
            log.warning("closing_not_forgotten", bot=account.bot.id, fault=str(fault))

    def _beside(self, work: Coroutine[object, object, object]) -> "asyncio.Task[object]":
        """Run `work` as a background task; `close` cancels it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _halt(self, account: GuardedAccount, symbol: str | None, kind: str, why: str, by: str) -> bool:
        """Put a halt in force; False when PostgreSQL is unavailable and the write is pending."""
        return await self._store.halt(Halt(account.id, account.bot.id, symbol, kind, why, by))

    async def _pause_or_stop_bot(self, account: GuardedAccount, why: str, tell: Tell) -> str:
        """Ask the bot to pause; stop its process when it does not answer in time. Returns the outcome.

        The desired state follows: the bot stays paused or stopped across upgrades and reboots, and is shown so.
        """
        bot, by = account.bot, f"guard: {why}"
        try:
            if await self._paused(account):
                await self._store.set_desired_state(DesiredState(bot.id, "paused", by))
                return f"{bot.id} is paused; /resume {bot.id} lets it enter again."
        except REDIS_UNAVAILABLE:
            log.warning("bot_not_asked", bot=bot.id, why="Redis is unavailable")
        if follows_desired_state(self._control, self._registry, bot):
            return await self._take_from_shared(account, by, tell)
        try:
            await self._control.stop(bot.container, 5)
        except AlphaError as fault:
            await self._store.set_desired_state(DesiredState(bot.id, "paused", by))
            text = f"{bot.id} did not answer and could not be stopped ({fault}); the halt keeps it from entering."
        else:
            await self._store.set_desired_state(DesiredState(bot.id, "stopped", by))
            text = f"{bot.id} did not answer and is stopped; /start {bot.id}, then /resume {bot.id}, bring it back."
        await tell(text)
        return text

    async def _take_from_shared(self, account: GuardedAccount, by: str, tell: Tell) -> str:
        """Its process runs other bots, or a swarm keeps it running: take the account's lease instead of stopping it.

        What the bot had signed may still arrive until its receive window ends; the closing reads again for longer.
        """
        bot = account.bot
        await self._store.set_desired_state(DesiredState(bot.id, "stopped", by))
        try:
            if account.id is not None:
                await self._store.take_bot_lease(account.id)
        except AlphaError as fault:
            text = (
                f"{bot.id} did not answer, and its lease could not be taken ({fault}); the halt keeps it from entering. "
                f"The container {bot.container} runs on."
            )
        else:
            text = (
                f"{bot.id} did not answer: its account is taken from it and it is to stop; the container "
                f"{bot.container} runs on. /start {bot.id}, then /resume {bot.id}, bring it back."
            )
        await tell(text)
        return text

    async def _paused(self, account: GuardedAccount) -> bool:
        redis, name = self._links.of(account.bot), account.bot.id
        pending = await PendingCommand.send(redis, name, "pause", {}, "guard", wall_ms())
        deadline = time.monotonic() + self._answer_s
        while time.monotonic() < deadline:
            if await pending.replies(block_ms=200):
                return True
        return False

    async def _lift(self, bot: str | None, issuer: str) -> tuple[str, str]:
        if bot is not None and bot in self.closing:
            return "refused", f"{bot} is being closed right now; lift the halt when that is done."
        if bot is not None and bot not in self._accounts:
            return "refused", f"The guard has no key of {bot}."
        lifted = await self._store.lift(bot, None, issuer)
        await self._lifted(bot)
        return "done", f"{lifted} halt{'s' if lifted != 1 else ''} lifted{f' for {bot}' if bot else ''}."

    async def _say_observed(self, account: GuardedAccount, text: str) -> None:
        remedy = "The guard only observes: close it on the exchange, or give the guard a key that may trade."
        await self._alert(Level.CRITICAL, "observed", account, f"{account.bot.id}: {text}", remedy)

    async def _alert(self, level: Level, key: str, account: GuardedAccount, text: str, remedy: str) -> None:
        bot = account.bot.id
        await self._alerts.raise_alert(Alert(level, f"guard:{key}:{bot}", text, remedy, bot), wall_ms())


def _row_of(state: ClosingState) -> str:
    """The key under which a closing's state is saved."""
    return CLOSING if state.symbol is None else f"{CLOSING}:{state.symbol}"


async def _answer(taker: CommandConsumer, command: Command, outcome: str, text: str) -> None:
    try:
        await taker.answer(command, outcome, text)
    except REDIS_UNAVAILABLE:
        log.warning("answer_lost", command=command.id, outcome=outcome, text=text)


async def _silent(text: str) -> None:
    log.info("closing", said=text)

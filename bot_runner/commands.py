"""The operator's commands: pause, resume, adopt. Each gets one answer."""

from alpha.live_state.control import Command, CommandConsumer
from alpha.logs import logger
from alpha.model.money import plain
from alpha.strategy.core import DecisionCore
from alpha.strategy.positions import OwnPosition
from bot_runner.position_reconciler import PositionReconciler
from bot_runner.state_persistence import StatePersistence

log = logger(__name__)


class Commands:
    """Carries out commands in the task that also trades."""

    def __init__(self, core: DecisionCore, journal: StatePersistence, reconciler: PositionReconciler) -> None:
        self._core = core
        self._journal = journal
        self._reconciler = reconciler

    async def run(self, command: Command, taker: CommandConsumer) -> None:
        """Run one command and answer it."""
        if command.name == "pause":
            outcome, text = await self._pause(command.issuer)
        elif command.name == "resume":
            outcome, text = await self._resume()
        elif command.name == "adopt":
            outcome, text = await self._adopt(command.args.get("symbol", ""))
        else:
            outcome, text = "refused", f"A bot knows pause, resume and adopt, not {command.name!r}."
        log.info("command", command=command.name, issuer=command.issuer, outcome=outcome, answer=text)
        await taker.answer(command, outcome, text)

    async def _pause(self, issuer: str) -> tuple[str, str]:
        runtime = self._journal.runtime
        if not runtime.paused:
            runtime.paused = f"by {issuer}"
        if not await self._journal.save():
            return "done", "Paused for now. PostgreSQL is unavailable, so a restart would forget it."
        return "done", "Paused: no new entries. Open positions keep their stops and are still closed by the rules."

    async def _resume(self) -> tuple[str, str]:
        self._journal.runtime.paused = ""
        lifted = self._core.limits.resume()
        await self._journal.over("paused")
        if not await self._journal.save():
            return "done", "Resumed for now. PostgreSQL is unavailable, so entries wait until it is back."
        return "done", "Resumed." + (f" Limits lifted: {', '.join(lifted)}." if lifted else "")

    async def _adopt(self, symbol: str) -> tuple[str, str]:
        held = self._reconciler.unknown.get(symbol)
        if held is None:
            unknown = ", ".join(sorted(self._reconciler.unknown)) or "none"
            return (
                "refused",
                f"There is no unknown position in {symbol or 'that symbol'}. Unknown positions: {unknown}.",
            )
        if held.stop_loss is None:
            return "refused", f"{symbol} has no stop loss. Set one on the exchange, then adopt it."
        opened_ms = held.opened_ms if held.opened_ms is not None else self._core.state.last_bar_ms
        self._core.positions[symbol] = OwnPosition(
            symbol=symbol,
            direction=held.direction,
            size=held.size,
            entry_price=held.entry_price,
            opened_ms=opened_ms,
            opened_bar_ms=opened_ms - opened_ms % self._core.interval_ms,
            stop_loss=held.stop_loss,
        )
        del self._reconciler.unknown[symbol]
        await self._journal.save()
        return (
            "done",
            f"Adopted {held.direction.name.lower()} {plain(held.size)} {symbol}; the bot's exits apply to it.",
        )

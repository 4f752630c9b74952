"""With which state a bot begins: its own, a fresh one, or paused."""

from typing import Any

from alpha.bybit.client import Gateway
from alpha.model.account import Account
from alpha.strategy.base import Strategy
from alpha.strategy.risk_limits import LimitState
from bot_runner.account import AccountSnapshot
from bot_runner.state import BotState, new_state, read_state
from bot_runner.store import Store

RESTART_WINDOW_MS = 600_000
RESTARTS = 3


async def begin(
    store: Store,
    account: Account,
    strategy: Strategy[Any, Any],
    look: AccountSnapshot,
    gateway: Gateway,
    now_ms: int,
) -> BotState:
    """The state to begin with, at wall-clock time `now_ms`. `look` is the account over REST."""
    last = await store.last_account()
    rows = await store.load(account)
    if rows:
        state = read_state(rows, strategy.state_type)
    else:
        state = new_state(strategy.state_type)
    runtime = state.runtime
    if last is not None and last != account.id:
        state.core.limits = LimitState()
        runtime.paused = f"its account changed to {account}; check the keys"
    elif not rows and await _has_traded(look, gateway):
        runtime.paused = "this account has traded before, but there is no saved state of it"
    if not runtime.ended_well:
        runtime.starts_ms = [start for start in runtime.starts_ms if now_ms - start < RESTART_WINDOW_MS] + [now_ms]
        if len(runtime.starts_ms) >= RESTARTS:
            runtime.starts_ms = []
            runtime.paused = f"it was restarted {RESTARTS} times within ten minutes without having been stopped"
    runtime.ended_well = False
    if not runtime.paused and await store.desired_state() == "paused":
        runtime.paused = "the operator's wish"
    for pending in runtime.exits.values():
        pending.unsure = True
    for part in runtime.parts.values():
        part.unsure = True
    return state


async def _has_traded(look: AccountSnapshot, gateway: Gateway) -> bool:
    if look.held:
        return True
    usdt = (await gateway.wallet()).usdt
    return usdt is not None and usdt.cum_realised_pnl != 0

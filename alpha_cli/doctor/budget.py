"""What the registry's accounts need of the exchange's request limits, before they are reached."""

from collections.abc import AsyncIterator

from alpha.bybit.request_plan import COMFORTABLE_ACCOUNTS, SUB_ACCOUNTS, plan_of
from alpha_cli.doctor.finding import Finding, note, ok

#: The listener's default; the doctor does not see the listener's own setting.
AUDIT_S = 10.0
#: From so much of the budget on a person should hear of it.
_MUCH = 0.8


async def check_budget(accounts: int, egress: str) -> AsyncIterator[Finding]:
    """The steady load of so many accounts behind the outgoing address called `egress`."""
    plan = plan_of(accounts, audit_s=AUDIT_S)
    where = f"the address {egress!r}" if egress else "one address"
    text = (
        f"{accounts} account{'s' if accounts != 1 else ''} behind {where}: {plan.total:.1f} of {plan.budget} requests a "
        f"second in steady operation, an audit of each every {plan.beat_s:.0f} s."
    )
    if plan.total > plan.budget * _MUCH or accounts > COMFORTABLE_ACCOUNTS:
        yield note(
            "request budget",
            f"{text} About {COMFORTABLE_ACCOUNTS} accounts are what one address bears well.",
            "Run a second listener behind another address and name each with ALPHA_EGRESS.",
        )
    else:
        yield ok("request budget", text)
    if accounts > SUB_ACCOUNTS:
        yield note(
            "sub-accounts",
            f"A main account has {SUB_ACCOUNTS} sub-accounts, so {accounts} are {plan.main_accounts} main accounts.",
            "Keep in mind that limits by user (fees, VIP level) are per main account.",
        )

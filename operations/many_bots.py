"""More bots than fit on a screen: grouped by strategy, the troubled ones by name, the others by page."""

from collections.abc import Sequence

from alpha.errors import Rejected
from operations.status import BotState, BotStatus

#: More bots than these are grouped.
GROUP_FROM = 12
#: Bots per page of the list.
PER_PAGE = 15
#: So many bots that need somebody are named.
NAMED = 10


def grouped(rows: Sequence[BotStatus]) -> dict[str, list[BotStatus]]:
    """The bots of each strategy, in the order of the list."""
    groups: dict[str, list[BotStatus]] = {}
    for row in rows:
        groups.setdefault(row.strategy or "others", []).append(row)
    return groups


def is_well(row: BotStatus) -> bool:
    """Whether nobody needs to look at it: it runs on synced data, or was stopped or paused by wish."""
    if row.state is BotState.STOPPED:
        return row.wish == "stopped"
    return row.state in {BotState.RUNNING, BotState.PAUSED} and row.data == "synced"


def states(rows: Sequence[BotStatus]) -> str:
    """How many bots are in which state: `58 running, 2 paused`."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state.value] = counts.get(row.state.value, 0) + 1
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items(), key=lambda item: -item[1]))


def page_of(rows: Sequence[BotStatus], number: int) -> tuple[list[BotStatus], int]:
    """The bots of one page, the first is 1, and how many pages there are. Rejected for a page that does not exist."""
    pages = max(1, -(-len(rows) // PER_PAGE))
    if not 1 <= number <= pages:
        raise Rejected(f"The bots have {pages} page{'s' if pages != 1 else ''}, got page {number}. Example: /status 1")
    return list(rows[(number - 1) * PER_PAGE : number * PER_PAGE]), pages

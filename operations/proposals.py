"""Commands that a program proposes. Nothing runs: an operator sees the proposal in Telegram, and confirms it there or not."""

from dataclasses import dataclass

from alpha.errors import Rejected
from alpha.postgres.sql import queries
from operations.arguments import read_words
from operations.context import Operations
from operations.storable import storable

SQL = queries(__file__)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal. `client` and `why` are texts from outside."""

    number: int
    client: str
    command: str
    words: str
    why: str


async def propose(platform: Operations, client: str, command: str, words: str, why: str) -> str:
    """Keep a proposal for the operators; returns what they will be asked. Rejected for a command that cannot be meant."""
    from operations.commands import COMMANDS

    found = next((each for each in COMMANDS if each.name == command), None)
    if found is None:
        raise Rejected(f"The command must be one of {', '.join(each.name for each in COMMANDS)}, got {command[:40]!r}.")
    args = read_words(platform.registry, found.name, found.usage, found.example, words.split()[:10])
    said = " ".join(args.words)
    await platform.history.value(
        SQL["propose"],
        storable(client, 60),
        found.name,
        said[:100],
        storable(why, 500),
    )
    return f"/{found.name} {said}".strip()


async def untold(platform: Operations) -> list[Proposal]:
    """Return proposals of the last hour that the operators have not been told of, oldest first, and mark them as told."""
    rows = await platform.history.rows(SQL["tell_new"])
    found = [Proposal(row["proposal_id"], row["client"], row["command"], row["words"], row["why"]) for row in rows]
    return sorted(found, key=lambda row: row.number)

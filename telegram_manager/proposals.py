"""Shows the operators what a client of the API proposes: a button begins the command, which asks for confirmation as always."""

from html import escape

from alpha.errors import Rejected
from operations.commands import Role
from operations.context import Operations
from operations.proposals import Proposal, untold
from telegram_manager.chat_ref import ChatRef
from telegram_manager.wiring import Setup


class Proposals:
    """Tells every operator of each new proposal, once."""

    def __init__(self, platform: Operations, setup: Setup) -> None:
        self._platform = platform
        self._setup = setup

    async def look(self) -> None:
        """Tell of new proposals. Raises Retry while PostgreSQL is unavailable."""
        for proposal in await untold(self._platform):
            for person in self._setup.gate.people(Role.OPERATOR):
                try:
                    await self._setup.letters.say(ChatRef(person), _text(proposal), _buttons(proposal))
                except Rejected as fault:
                    await self._setup.audience.unreachable(person, str(fault))


def _text(proposal: Proposal) -> str:
    said = f"/{proposal.command} {proposal.words}".strip()
    why = f"\n<i>{escape(proposal.why)}</i>" if proposal.why else ""
    return f"💡 <b>{escape(proposal.client)}</b> proposes <code>{escape(said)}</code>. Nothing has been done.{why}"


def _buttons(proposal: Proposal) -> tuple[tuple[tuple[str, str], ...], ...]:
    return (((f"Ask me: {proposal.command}", f"o|{proposal.command}|{proposal.words}"),),)

"""The operator's commands in the terminal: those of `operations.commands`, as rich tables or JSON."""

import asyncio
import getpass
import os
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from operations.arguments import Arguments
    from operations.commands import Command, Query

#: `alpha sync` is the sync service's own command; the query of that name is Telegram's /sync.
#: Those of models are `alpha model show`, `promote` and `retire` (commands/model.py).
OWN_COMMANDS = ("sync", "slippage", "model", "model_promote", "model_retire")
#: This program in the audit log.
TERMINAL = "The terminal's command"
_JSON = typer.Option(False, "--json", help="The typed rows as JSON.")
_YES = typer.Option(False, "--yes", "-y", help="Do not ask before doing it.")


def register(app: typer.Typer) -> None:
    """Add every command of the table to `app`, except those in OWN_COMMANDS."""
    from operations.commands import COMMANDS, QUERIES

    for question in QUERIES:
        if question.name not in OWN_COMMANDS:
            _add_question(app, question)
    for order in COMMANDS:
        if order.name not in OWN_COMMANDS:
            _add_order(app, order)


def _add_question(app: typer.Typer, question: "Query") -> None:
    help_text = f"{question.summary[:1].upper()}{question.summary[1:]}. Example: alpha {question.example[1:]}"
    if not question.usage:

        @app.command(question.name, help=help_text)
        def bare(as_json: bool = _JSON) -> None:
            asyncio.run(show(question, [], as_json))

    else:

        @app.command(question.name, help=help_text)
        def ask(
            words: list[str] | None = typer.Argument(None, metavar=question.usage, show_default=False),
            as_json: bool = _JSON,
        ) -> None:
            asyncio.run(show(question, words or [], as_json))


def _add_order(app: typer.Typer, order: "Command") -> None:
    help_text = f"{order.summary[:1].upper()}{order.summary[1:]}. Example: alpha {order.example[1:]}"

    @app.command(order.name, help=help_text)
    def do(
        words: list[str] | None = typer.Argument(None, metavar=order.usage or None, show_default=False),
        yes: bool = _YES,
        as_json: bool = _JSON,
    ) -> None:
        raise typer.Exit(asyncio.run(carry_out(order, words or [], yes, as_json)))


async def show(question: "Query", words: list[str], as_json: bool) -> None:
    """Print the page of a query, or its typed rows as JSON."""
    from alpha_cli.show_page import print_json, print_page
    from operations.context import open_operations

    settings = _settings()
    async with open_operations(settings, "alpha") as platform:
        page = await question.ask(platform, _read(platform, question, words))
    if as_json:
        print_json(page.data)
    else:
        print_page(page)


async def carry_out(order: "Command", words: list[str], yes: bool, as_json: bool) -> int:
    """Ask, note it in the audit log, and do it; returns the exit code."""
    from alpha_cli.show_page import print_json
    from operations.audit_log import Attempt, new_id
    from operations.audited_commands import AuditedCommands
    from operations.context import open_operations

    async def tell(sentence: str) -> None:
        sys.stderr.write(f"{sentence}\n")

    async with open_operations(_settings(), "alpha") as platform:
        args = _read(platform, order, words)
        commands = AuditedCommands(platform, TERMINAL)
        said = {"words": " ".join(args.words)} if args.words else {}
        attempt = Attempt(
            new_id("terminal"), "terminal", user(), "owner", "", order.name, args.bot.id if args.bot else "", said
        )
        if not yes:
            declined = await _declined(platform, order, args)
            if declined is not None:
                await commands.try_claim(attempt, "refused", tell, str(declined) or "answered no")
                raise declined
        outcome = await commands.run(attempt, lambda: order.run(platform, args, attempt.by, tell), tell)
    if as_json:
        print_json(outcome)
    else:
        sys.stdout.write(f"{outcome.text}\n")
    return 0 if outcome.done else 1


async def _declined(platform: Any, order: "Command", args: "Arguments") -> Exception | None:
    """None when the user confirmed; otherwise what ends the command: nothing to confirm, or the answer was no."""
    from alpha.errors import Rejected
    from operations.audited_commands import warning_of

    try:
        warning = await warning_of(platform, order, args)
    except Rejected as fault:
        return fault
    try:
        return None if typer.confirm(warning, err=True) else typer.Abort()
    except typer.Abort as fault:
        # Ctrl-C, or no terminal to answer from
        return fault


def _read(platform: Any, command: "Query | Command", words: list[str]) -> "Arguments":
    from operations.arguments import read_words

    example = f"alpha {command.example[1:]}"
    return read_words(platform.registry, command.name, command.usage, example, words)


def _settings() -> Any:
    from alpha.config.loader import load
    from operations.context import OperationsSettings

    return load(OperationsSettings)


def user() -> str:
    """The user running this, for the audit log; the numeric id if it has no name (as in a container)."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}"

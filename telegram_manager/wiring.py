"""Wires together everything that answers people."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from telegram import Bot, BotCommand
from telegram.error import BadRequest

from alpha.errors import Misconfigured
from alpha.logs import logger
from operations.audited_commands import AuditedCommands
from operations.commands import COMMANDS, QUERIES, Role
from operations.confirmations import Confirmations
from operations.context import Operations
from telegram_manager.access import AccessControl, AccessState
from telegram_manager.audience import Audience
from telegram_manager.bot_client import make_bot
from telegram_manager.chart_worker import ChartWorker
from telegram_manager.conversation import Conversation
from telegram_manager.dispatcher import OwnName, UpdateDispatcher
from telegram_manager.outbox import Outbox
from telegram_manager.poller import Offset, Poller, offset_name
from telegram_manager.rate_limit import RateLimit
from telegram_manager.sender import TelegramSender
from telegram_manager.session_commands import SessionCommands
from telegram_manager.settings import CommandCentreSettings
from telegram_manager.state_store import StateStore

log = logger(__name__)
_OWN = (
    ("help", "all commands"),
    ("menu", "the buttons"),
    ("notify", "what you are told: entries, exits, stops, funding"),
    ("mute", "no alerts for a while"),
    ("ack", "acknowledge critical alerts"),
    ("export", "closed trades as CSV"),
    ("dashboard", "a link to the dashboard"),
    ("whoami", "your id, role and session"),
)


@dataclass(slots=True)
class Setup:
    """The parts that answer people, and those of them that alerts need."""

    bot: Bot
    outbox: Outbox
    letters: TelegramSender
    gate: AccessControl
    memory: StateStore
    commands: AuditedCommands
    audience: Audience
    painter: ChartWorker

    async def close(self) -> None:
        """Close the connections to Telegram and the chart process."""
        await self.outbox.close()
        self.painter.close()
        await self.bot.shutdown()


async def set_up(
    platform: Operations, settings: CommandCentreSettings, memory: StateStore, pace: RateLimit | None = None
) -> Setup:
    """Open all parts with the state saved before a restart. Needs PostgreSQL; Telegram may still be unavailable."""
    if settings.c2_telegram_bot_token is None:
        raise Misconfigured("C2_TELEGRAM_BOT_TOKEN is not set. Ask @BotFather for one and put it into .env.")
    bot = make_bot(settings.c2_telegram_bot_token.get_secret_value(), settings.c2_telegram_api_url)
    outbox = Outbox(pace=pace)
    letters = TelegramSender(bot, outbox)
    session_ms = settings.c2_telegram_session_hours * 3_600_000
    gate = AccessControl(
        settings.roles(),
        settings.places(),
        settings.c2_telegram_rate_per_minute,
        None if settings.c2_telegram_access_code_hash is None else session_ms,
        await memory.load("gate", AccessState, AccessState),
    )
    audience = Audience(gate, letters, memory)
    await audience.load()
    return Setup(
        bot,
        outbox,
        letters,
        gate,
        memory,
        AuditedCommands(platform, "The command centre", buffered=True),
        audience,
        ChartWorker(),
    )


def make_desk(
    platform: Operations, settings: CommandCentreSettings, setup: Setup, own: SessionCommands
) -> UpdateDispatcher:
    """Make the dispatcher over these parts. The bot must be initialised, so that its name is known."""
    conversation = Conversation(
        platform,
        setup.letters,
        setup.painter,
        Confirmations(),
        setup.audience,
        own.handlers(),
    )
    desk = UpdateDispatcher(
        platform,
        OwnName(setup.bot.username, setup.bot.id),
        setup.gate,
        conversation,
        setup.letters,
        setup.commands,
        setup.audience,
        setup.memory,
    )
    setup.letters.on_moved = desk.group_moved
    for old, new in setup.gate.state.moved.items():
        setup.letters.moved(old, new)
    return desk


def make_poller(
    setup: Setup, desk: UpdateDispatcher, refused: Callable[[str], Awaitable[None]] | None = None
) -> Poller:
    """Make the poller that feeds the dispatcher. `refused` is called while Telegram rejects the token."""
    return Poller(setup.bot, desk, setup.memory, refused=refused)


async def first_offset(setup: Setup) -> Offset:
    """The bot's saved offset, just past the last update taken. The bot must be initialised."""
    return await setup.memory.load(offset_name(setup.bot.id), Offset, Offset)


async def introduce(setup: Setup) -> None:
    """Register the command list with Telegram's clients and switch to polling."""
    await setup.bot.delete_webhook()
    commands = [(command.name, command.summary) for command in (*QUERIES, *COMMANDS) if command.role < Role.ADMIN]
    try:
        await setup.bot.set_my_commands([BotCommand(name, summary) for name, summary in (*commands, *_OWN)])
    except BadRequest as fault:
        # it would be refused again; the "/" list is a courtesy, and every command works without it
        log.error("command_list_refused", fault=fault.message)


async def report_interrupted(setup: Setup) -> None:
    """Tell the admins which confirmed commands were cut off when the last process ended."""
    for what in await setup.commands.interrupted("telegram"):
        await setup.audience.tell_admins(
            f"⚠️ The command centre was restarted while {what} ran. Look at /status and /positions before you send it again."
        )

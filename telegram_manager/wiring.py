"""Everything that answers people, put together."""

from dataclasses import dataclass

from telegram import Bot, BotCommand
from telegram.request import HTTPXRequest

from alpha.errors import Misconfigured
from operations.commands import COMMANDS, QUERIES, Role
from operations.context import Operations
from telegram_manager.access import AccessControl, AccessState
from telegram_manager.audience import Audience
from telegram_manager.chart_worker import ChartWorker
from telegram_manager.confirmations import Confirmations
from telegram_manager.conversation import Conversation
from telegram_manager.dispatcher import UpdateDispatcher
from telegram_manager.outbox import Outbox
from telegram_manager.poller import OFFSET, Poller
from telegram_manager.rate_limit import RateLimit
from telegram_manager.sender import TelegramSender
from telegram_manager.session_commands import SessionCommands
from telegram_manager.settings import CommandCentreSettings
from telegram_manager.state_store import AuditTrail, StateStore

_OWN = (
    ("help", "all commands"),
    ("menu", "the buttons"),
    ("mute", "no alerts for a while"),
    ("ack", "acknowledge critical alerts"),
    ("export", "closed trades as CSV"),
    ("whoami", "your id, role and session"),
)


def make_bot(token: str, api_url: str) -> Bot:
    """The client of the Bot API. Sending and polling have connections of their own."""
    return Bot(
        token,
        base_url=f"{api_url}/bot",
        base_file_url=f"{api_url}/file/bot",
        request=HTTPXRequest(connection_pool_size=32, connect_timeout=5.0, read_timeout=15.0, write_timeout=15.0),
        get_updates_request=HTTPXRequest(connection_pool_size=2, connect_timeout=5.0),
    )


@dataclass(slots=True)
class Setup:
    """The parts that answer people, and those that alerts need of them."""

    bot: Bot
    outbox: Outbox
    letters: TelegramSender
    gate: AccessControl
    memory: StateStore
    audit: AuditTrail
    audience: Audience
    painter: ChartWorker

    async def close(self) -> None:
        """Let go of Telegram and of the drawing process."""
        await self.outbox.close()
        self.painter.close()
        await self.bot.shutdown()


async def set_up(
    platform: Operations, settings: CommandCentreSettings, memory: StateStore, pace: RateLimit | None = None
) -> Setup:
    """Open all of it; what people did before a restart is remembered. Needs PostgreSQL; Telegram may still be away."""
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
    return Setup(bot, outbox, letters, gate, memory, AuditTrail(platform), audience, ChartWorker())


def make_desk(
    platform: Operations, settings: CommandCentreSettings, setup: Setup, own: SessionCommands
) -> UpdateDispatcher:
    """The desk over these parts. The bot must have been initialised: its name is known then."""
    conversation = Conversation(
        platform,
        setup.letters,
        setup.painter,
        Confirmations(),
        setup.audit,
        setup.audience,
        own.handlers(),
    )
    return UpdateDispatcher(
        platform,
        setup.bot.username,
        setup.bot.id,
        setup.gate,
        conversation,
        setup.letters,
        setup.audit,
        setup.audience,
        setup.memory,
    )


def make_poller(setup: Setup, desk: UpdateDispatcher) -> Poller:
    """The poller in front of the desk."""
    return Poller(setup.bot, desk, setup.memory)


async def first_offset(setup: Setup) -> int:
    """The update to begin with: the one after the last that was taken."""
    return await setup.memory.load(OFFSET, int, int)


async def introduce(setup: Setup) -> None:
    """Tell Telegram's clients which commands there are, and that we poll."""
    await setup.bot.delete_webhook()
    commands = [(command.name, command.summary) for command in (*QUERIES, *COMMANDS) if command.role < Role.ADMIN]
    await setup.bot.set_my_commands([BotCommand(name, summary) for name, summary in (*commands, *_OWN)])


async def report_interrupted(setup: Setup) -> None:
    """Tell the admins which confirmed orders were cut off by the last end of this process."""
    for _, what in await setup.audit.interrupted():
        await setup.audience.tell_admins(
            f"⚠️ The command centre was restarted while {what} ran. Look at /status and /positions before you send it again."
        )

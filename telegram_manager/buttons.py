"""The buttons under messages and the meaning of their data.

| data | means |
|---|---|
| `q|name|words|page` | show a query's page in place |
| `g|name|words` | send its chart |
| `o|name|words` | begin a command (it asks for confirmation) |
| `p|name`, `p|name|#|page`, `p|name|bot` | pick a bot for it; then, where it takes one, a position |
| `y|name|words` | a session command: mute, alerts, export ... |
| `m`, `m|steer`, `m|you` | the menus |
| `c|token|yes` | confirm |
| `a`, `a|id,id` | acknowledge all alerts; those in one message |
"""

from collections.abc import Sequence
from dataclasses import dataclass

from alpha.registry import Bot, Registry
from operations.commands import BY_NAME, Command, Query, Role
from telegram_manager.sender import Buttons

MENU = (
    (("📊 Status", "q|status||0"), ("📈 Positions", "q|positions||0"), ("📋 Orders", "q|orders||0")),
    (("💰 Balance", "q|balance||0"), ("🧾 Trades", "q|trades||0"), ("⚡ Fills", "q|fills||0")),
    (("🔎 Last trade", "q|trade||0"), ("🛡 Risk", "q|risk||0"), ("⚖️ Exposure", "q|exposure||0")),
    (("🖼 Chart", "q|chart||0"), ("📉 Analytics", "q|analytics||0"), ("🏁 Performance", "q|performance||0")),
    (("📅 Daily", "q|daily||0"), ("🗓 Weekly", "q|weekly||0"), ("📆 Monthly", "q|monthly||0")),
    (("🧭 Analysis", "q|analysis||0"), ("🎯 Entries", "q|entries||0"), ("🫧 Slippage", "q|slippage||0")),
    (("🧠 Model", "q|model||0"), ("🆕 Drift", "q|drift||0")),
    (("🩺 Health", "q|health||0"), ("🔄 Sync", "q|sync||0"), ("📚 Issues", "q|issues||0")),
)
#: A separate menu, so that a bot cannot be stopped by accident while looking for a figure.
STEERING = (
    (("▶️ Start", "p|start"), ("⏹ Stop", "p|stop"), ("🔁 Restart", "p|restart")),
    (("⏸ Pause", "p|pause"), ("⏯ Resume", "p|resume"), ("🤝 Adopt", "p|adopt")),
    (("✖️ Close", "p|close"), ("🛡 Move stop", "p|movestop"), ("✂️ Cancel order", "p|cancelorder")),
    (("🧹 Flatten", "p|flatten"), ("↩️ Take back", "p|cancel")),
    (("🚫 Forbid symbol", "p|blacklist"), ("🆗 Allow symbol", "p|unblacklist")),
    (("🧠 Promote model", "o|model_promote|"), ("Retire model", "o|model_retire|")),
    (("📜 Logs", "p|logs"),),
    (("🚨 PANIC", "o|panic|"),),
)
YOU = (
    (("🔔 Latest alerts", "q|alerts||0"), ("👤 Who am I", "y|whoami|")),
    (("📃 Symbols", "q|whitelist||0"), ("🏷 Version", "q|version||0")),
    (("Every alert", "y|alerts|info"), ("Warnings", "y|alerts|warning"), ("Critical", "y|alerts|critical")),
    (("📣 What I get told", "y|notify|"),),
    (("🔕 Mute 1 h", "y|mute|1h"), ("Mute 8 h", "y|mute|8h"), ("Unmute", "y|mute|off")),
    (("Alerts on", "y|alerts|on"), ("Alerts off …", "y|alerts|off")),
    (("🔑 Dashboard", "y|dashboard|"), ("❓ Help", "y|help|")),
)
OPERATORS = ((("👍 Acknowledge", "a"), ("📤 Trades as CSV", "y|export|this month")),)
ADMINS = ((("🕵️ Audit", "q|audit||0"), ("⚙️ Settings", "q|config||0")),)
#: Session commands that a button may carry. An access code is typed, never on a button.
OWN = frozenset({"whoami", "help", "alerts", "mute", "export", "logout", "dashboard", "notify"})
#: So many bots fit into one row of buttons, and on one page of a choice.
_IN_A_ROW, _PICKED = 7, 20
_PERIODS = (("7 d", "7d"), ("30 d", "30d"), ("Month", "this month"), ("Year", "this year"), ("All time", "all"))
_COUNTS = {
    **dict.fromkeys(("trades", "fills", "alerts", "audit"), (10, 25, 50)),
    "logs": (30, 100, 300),
    "daily": (7, 14, 30),
    "weekly": (4, 8, 26),
    "monthly": (6, 12, 24),
}


@dataclass(frozen=True, slots=True)
class Press:
    """A decoded button. `kind` is one letter of the table above; the other fields are set where it has them."""

    kind: str
    name: str = ""
    words: tuple[str, ...] = ()
    page: int = 0
    token: str = ""
    answer: str = ""


def read_press(data: str) -> Press | None:
    """Decode a button's data; None if it is not valid (outdated or forged)."""
    parts = data.split("|")
    match parts:
        case ["m"] | ["a"]:
            return Press(parts[0])
        case ["a", ids] if ids:
            return Press("a", words=tuple(ids.split(",")))
        case ["m", "steer" | "you" as which]:
            return Press("m", words=(which,))
        case ["y", name, words] if name in OWN:
            return Press("y", name, tuple(words.split()))
        case ["q", name, words, page] if isinstance(BY_NAME.get(name), Query) and page.isdecimal() and len(page) < 4:
            return Press("q", name, tuple(words.split()), int(page))
        case ["g", name, words] if isinstance(BY_NAME.get(name), Query):
            return Press("g", name, tuple(words.split()))
        case ["o", name, words] if isinstance(BY_NAME.get(name), Command):
            return Press("o", name, tuple(words.split()))
        case ["p", name] if name in BY_NAME:
            return Press("p", name)
        case ["p", name, "#", page] if name in BY_NAME and page.isdecimal() and len(page) < 4:
            return Press("p", name, page=int(page))
        case ["p", name, bot] if isinstance(BY_NAME.get(name), Command) and bot:
            return Press("p", name, (bot,))
        case ["c", token, "yes" | "no" as answer] if token:
            return Press("c", token=token, answer=answer)
    return None


def menu(role: Role, which: str = "") -> Buttons:
    """The menu for a role: the queries, "steer" or "you"."""
    if which == "steer" and role >= Role.OPERATOR:
        return (*STEERING, (("◀️ Menu", "m"),))
    if which == "you":
        more = (*(OPERATORS if role >= Role.OPERATOR else ()), *(ADMINS if role >= Role.ADMIN else ()))
        return (*YOU, *more, (("◀️ Menu", "m"),))
    steer = (("🎛 Steering", "m|steer"),) if role >= Role.OPERATOR else ()
    return (*MENU, (*steer, ("👤 You", "m|you")))


def under_question(
    registry: Registry, question: Query, words: tuple[str, ...], page: int, pages: int, *, picture: bool
) -> Buttons:
    """The buttons for paging, picking a bot, refresh and the menu."""
    said = " ".join(words)
    rows: list[list[tuple[str, str]]] = []
    if pages > 1:
        rows.append(
            [
                *([("◀️", f"q|{question.name}|{said}|{page - 1}")] if page > 0 else []),
                (f"{page + 1} / {pages}", f"q|{question.name}|{said}|{page}"),
                *([("▶️", f"q|{question.name}|{said}|{page + 1}")] if page + 1 < pages else []),
            ]
        )
    bots = {registry.word_of(bot): bot for bot in registry.bots}
    chosen_words = [word for word in words if word in bots]
    rest_words = [word for word in words if word not in chosen_words]
    if "period" in question.usage:
        rows.append([(label, f"q|{question.name}|{' '.join([*chosen_words, word])}|0") for label, word in _PERIODS])
    elif question.name in _COUNTS:
        counts = _COUNTS[question.name]
        rows.append([(f"{n}", f"q|{question.name}|{' '.join([*chosen_words, str(n)])}|0") for n in counts])
    if "bot" in question.usage:
        rest = " ".join(rest_words)
        chosen = [(bot.name, f"q|{question.name}|{f'{name} {rest}'.strip()}|0") for name, bot in bots.items()]
        everyone = [("All bots", f"q|{question.name}|{rest}|0")] if question.usage.startswith("[") else []
        # Telegram shows at most eight buttons in a row.
        rows.append(
            [*everyone, *chosen] if len(chosen) < _IN_A_ROW else [*everyone, ("One bot …", f"p|{question.name}")]
        )
    last = [("🔄 Refresh", f"q|{question.name}|{said}|{page}"), ("☰ Menu", "m")]
    if picture:
        last.insert(1, ("🖼 Picture", f"g|{question.name}|{said}"))
    rows.append(last)
    return rows


def pick_bot(registry: Registry, name: str, page: int = 0) -> Buttons:
    """One button per bot, many by page. For a command that takes a symbol, the bot's positions are offered next."""
    command = BY_NAME[name]
    if isinstance(command, Command):
        form = "p|{0}|{1}" if "symbol" in command.usage else "o|{0}|{1}"
    else:
        form = "q|{0}|{1}|0"
    bots = registry.bots
    if len(bots) <= _PICKED:
        return (
            *(((bot.name, form.format(name, registry.word_of(bot))),) for bot in bots),
            (("◀️ Menu", "m|steer"),),
        )
    last = (len(bots) - 1) // _PICKED
    shown = bots[min(page, last) * _PICKED : (min(page, last) + 1) * _PICKED]
    labels = [(bot.name, form.format(name, registry.word_of(bot))) for bot in shown]
    turn = [
        *([("◀️", f"p|{name}|#|{page - 1}")] if page > 0 else []),
        (f"{min(page, last) + 1} / {last + 1}", f"p|{name}|#|{page}"),
        *([("▶️", f"p|{name}|#|{page + 1}")] if page < last else []),
    ]
    rows = tuple(tuple(labels[start : start + 2]) for start in range(0, len(labels), 2))
    return (*rows, tuple(turn), (("◀️ Menu", "m|steer"),))


def pick_symbol(bot: Bot, name: str, symbols: Sequence[str]) -> Buttons:
    """One button per position of the bot, and one for all if the command allows omitting the symbol."""
    order = BY_NAME[name]
    every = ((("All its positions", f"o|{name}|{bot.id}"),),) if "[symbol]" in order.usage else ()
    return (
        *every,
        *(((symbol, f"o|{name}|{bot.id} {symbol}"),) for symbol in symbols),
        (("◀️ Menu", "m|steer"),),
    )


def notify_buttons(chosen: dict[tuple[str, str], str]) -> Buttons:
    """One button per kind of news, which turns it to the next way for all bots."""
    after = {"on": "quiet", "quiet": "off", "off": "on"}
    marks = {"on": "🔔", "quiet": "🔈", "off": "🔕"}
    labels = [
        (f"{marks[how]} {kind.capitalize()}", f"y|notify|{kind} {after[how]}")
        for (kind, bot), how in chosen.items()
        if not bot
    ]
    return (tuple(labels[:3]), tuple(labels[3:]), (("◀️ You", "m|you"),))


def yes_or_no(token: str, command: str) -> Buttons:
    """The two buttons of a confirmation."""
    sign = "🚨" if command == "panic" else "✅"
    return (((f"{sign} Yes, {command}", f"c|{token}|yes"), ("✖️ No", f"c|{token}|no")),)

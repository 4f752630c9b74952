"""`/help`: the commands by what a person wants, each in a sentence with an example; `/help COMMAND` explains one."""

from html import escape

from alpha.errors import Rejected
from operations.commands import BY_NAME, Command, Role
from operations.storable import brief

#: What a person wants, and the commands for it, the usual ones first.
WANTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("How do we stand?", ("status", "positions", "chart", "balance", "orders", "exposure", "risk")),
    ("What did we earn?", ("daily", "weekly", "monthly", "performance", "analytics", "entries", "slippage")),
    ("What happened?", ("trades", "trade", "fills", "alerts")),
    ("Is everything well?", ("health", "issues", "sync", "version", "drift", "logs", "config", "audit")),
    ("What is the market like?", ("analysis", "model", "whitelist")),
    (
        "Stop or close something",
        ("pause", "stop", "close", "movestop", "cancelorder", "flatten", "panic", "cancel", "blacklist"),
    ),
    ("Let it go on", ("resume", "start", "restart", "adopt", "unblacklist", "model_promote", "model_retire")),
    ("About you", ("notify", "mute", "alerts on", "ack", "export", "dashboard", "whoami", "login", "logout", "menu")),
)
#: Session commands: summary, example, and the least role.
OWN: dict[str, tuple[str, str, Role]] = {
    "notify": ("what you are told of entries, exits, stops and funding", "/notify exits quiet", Role.VIEWER),
    "mute": ("critical alerts only, for a while", "/mute 1h", Role.VIEWER),
    "alerts on": ("which alerts you get: on, off, warning, critical", "/alerts warning", Role.VIEWER),
    "ack": ("end the repeats of critical alerts", "/ack", Role.OPERATOR),
    "export": ("closed trades as a CSV file", "/export momentum 2025-06", Role.OPERATOR),
    "dashboard": ("a link that logs you in to the dashboard", "/dashboard", Role.VIEWER),
    "whoami": ("your id, role and session", "/whoami", Role.VIEWER),
    "login": ("open a session with your access code", "/login CODE", Role.VIEWER),
    "logout": ("end your session", "/logout", Role.VIEWER),
    "menu": ("everything as buttons", "/menu", Role.VIEWER),
}
_STEERS = frozenset({"Stop or close something", "Let it go on"})


def help_text(role: Role) -> str:
    """All commands this role may use: what each is for, and an example of it."""
    parts: list[str] = []
    for want, names in WANTS:
        lines = [line for name in names if (line := _line(name, role))]
        if lines:
            asks = ", each after a confirmation" if want in _STEERS else ""
            parts.append("\n".join([f"<b>{escape(want)}</b>{asks}", *lines]))
    parts.append("<i>A period: 7d, this month, 2025-06, all. More on one: /help close</i>")
    return "\n\n".join(parts)


def _line(name: str, role: Role) -> str:
    if name in OWN:
        summary, example, least = OWN[name]
    else:
        command = BY_NAME[name]
        summary, example, least = command.summary, command.example, command.role
    return f"{escape(example)} - {escape(summary)}" if role >= least else ""


def help_of(name: str) -> str:
    """One command: what it does, how it is written, an example, who may. Rejected for an unknown one."""
    name = name.lower().removeprefix("/")
    own = next((key for key in OWN if key.split()[0] == name), "")
    if own and name not in BY_NAME:
        summary, example, least = OWN[own]
        return f"<b>/{escape(name)}</b>: {escape(summary)}.\nExample: {escape(example)}\nFor: {least.name.lower()} and above."
    command = BY_NAME.get(name)
    if command is None:
        raise Rejected(f"I do not know {brief(name)}. /help lists the commands.")
    usage = f" {command.usage}" if command.usage else ""
    asks = (
        "\nIt asks for confirmation, is audited, and the other operators are told."
        if isinstance(command, Command)
        else ""
    )
    written = f"/{command.name}{usage}".replace("_", " ") if name.startswith("model_") else f"/{command.name}{usage}"
    return (
        f"<b>/{escape(command.name)}</b>: {escape(command.summary)}.\nWritten: <code>{escape(written)}</code> "
        f"(&lt;...&gt; is needed, [...] may be left out)\nExample: {escape(command.example)}\n"
        f"For: {command.role.name.lower()} and above.{asks}"
    )

"""The buttons under messages, and what their data means.

| data | means |
|---|---|
| `q|name|words|page` | show a question in place |
| `g|name|words` | send its picture |
| `o|name|words` | begin an order (it asks for confirmation) |
| `p|name` | pick a bot for it |
| `m` | the menu |
| `c|token|yes` | confirm |
| `a` | acknowledge alerts |
"""

from dataclasses import dataclass

from alpha.platform.commands import BY_NAME, Order, Question, Role
from alpha.registry import Registry
from telegram_manager.letters import Buttons

MENU = (
    (("📊 Status", "q|status||0"), ("📈 Positions", "q|positions||0")),
    (("💰 Balance", "q|balance||0"), ("🧾 Trades", "q|trades||0")),
    (("📉 Analytics", "q|analytics||0"), ("📅 Daily", "q|daily||0")),
    (("🏁 Performance", "q|performance||0"), ("🩺 Health", "q|health||0")),
)
STEERING = (
    (("▶️ Start", "p|start"), ("⏹ Stop", "p|stop"), ("🔁 Restart", "p|restart")),
    (("⏸ Pause", "p|pause"), ("⏯ Resume", "p|resume"), ("🧹 Flatten", "p|flatten")),
    (("🚨 PANIC", "o|panic|"),),
)


@dataclass(frozen=True, slots=True)
class Press:
    """What a button's data says. `kind` is one letter of the table above; the rest as far as it has it."""

    kind: str
    name: str = ""
    words: tuple[str, ...] = ()
    page: int = 0
    token: str = ""
    answer: str = ""


def read_press(data: str) -> Press | None:
    """What the data of a button means, or None when it is none of ours (old, or forged)."""
    parts = data.split("|")
    match parts:
        case ["m"] | ["a"]:
            return Press(parts[0])
        case ["q", name, words, page] if isinstance(BY_NAME.get(name), Question) and page.isdecimal() and len(page) < 4:
            return Press("q", name, tuple(words.split()), int(page))
        case ["g", name, words] if isinstance(BY_NAME.get(name), Question):
            return Press("g", name, tuple(words.split()))
        case ["o", name, words] if isinstance(BY_NAME.get(name), Order):
            return Press("o", name, tuple(words.split()))
        case ["p", name] if name in BY_NAME:
            return Press("p", name)
        case ["c", token, "yes" | "no" as answer] if token:
            return Press("c", token=token, answer=answer)
    return None


def menu(role: Role) -> Buttons:
    """The menu of a role."""
    return (*MENU, *STEERING) if role >= Role.OPERATOR else MENU


def under_question(
    registry: Registry, question: Question, words: tuple[str, ...], page: int, pages: int, *, picture: bool
) -> Buttons:
    """Paging, a bot picker, refresh and the menu."""
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
    if "bot" in question.usage:
        bots = {bot.container: bot for bot in registry.bots}
        rest = " ".join(word for word in words if word not in bots)
        chosen = [(bot.name, f"q|{question.name}|{f'{name} {rest}'.strip()}|0") for name, bot in bots.items()]
        everyone = [("All", f"q|{question.name}|{rest}|0")] if question.usage.startswith("[") else []
        rows.append([*everyone, *chosen])
    last = [("🔄 Refresh", f"q|{question.name}|{said}|{page}"), ("☰ Menu", "m")]
    if picture:
        last.insert(1, ("🖼 Picture", f"g|{question.name}|{said}"))
    rows.append(last)
    return rows


def pick_bot(registry: Registry, name: str) -> Buttons:
    """A button a bot."""
    kind = "o" if isinstance(BY_NAME[name], Order) else "q"
    ending = "" if kind == "o" else "|0"
    return (
        *(((bot.name, f"{kind}|{name}|{bot.container}{ending}"),) for bot in registry.bots),
        (("☰ Menu", "m"),),
    )


def yes_or_no(token: str, command: str) -> Buttons:
    """The two buttons of a confirmation."""
    return (((f"✅ Yes, {command}", f"c|{token}|yes"), ("✖️ No", f"c|{token}|no")),)

"""Parses HTML and MarkdownV2 as strictly as the Bot API: returns the remaining text, or what is wrong with it."""

import re
from html.parser import HTMLParser

#: Source: Bot API, "Formatting options".
TAGS = {
    "b",
    "strong",
    "i",
    "em",
    "u",
    "ins",
    "s",
    "strike",
    "del",
    "span",
    "tg-spoiler",
    "a",
    "tg-emoji",
    "code",
    "pre",
    "blockquote",
}
_ENTITY = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|lt|gt|amp|quot);")
_RESERVED = "_*[]()~`>#+-=|{}.!"


class Unreadable(Exception):
    """The error description that Telegram gives."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            raise Unreadable(f'Unsupported start tag "{tag}" at byte offset 0')
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            raise Unreadable(f'Unmatched end tag, found "</{tag}>"')
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_entityref(self, name: str) -> None:
        self.text.append({"lt": "<", "gt": ">", "amp": "&", "quot": '"'}.get(name, f"&{name};"))

    def handle_charref(self, name: str) -> None:
        self.text.append(chr(int(name[1:], 16) if name.startswith("x") else int(name)))


def read_html(text: str) -> str:
    """Return the text of Telegram's HTML; Unreadable for an unknown tag, an unclosed one, a bare < or &."""
    bare = re.sub(r"</?[a-z][a-z-]*(?:\s[^<>]*)?>", "", text)
    if "<" in bare:
        raise Unreadable("Unexpected end of tag or unescaped <")
    if re.search(r"&(?!#?\w+;)", bare) is None and re.search(r"&", _ENTITY.sub("", bare)):
        raise Unreadable("Unsupported entity")
    reader = _Reader()
    reader.feed(text)
    reader.close()
    if reader.open:
        raise Unreadable(f'Can\'t find end tag corresponding to start tag "{reader.open[-1]}"')
    return "".join(reader.text)


def read_markdown(text: str) -> str:
    """Return the text of MarkdownV2; Unreadable for a reserved character neither escaped nor part of a pair."""
    out: list[str] = []
    open_marks: list[str] = []
    position = 0
    while position < len(text):
        letter = text[position]
        if letter == "\\" and position + 1 < len(text):
            out.append(text[position + 1])
            position += 2
            continue
        if letter in "*_~`":
            if open_marks and open_marks[-1] == letter:
                open_marks.pop()
            else:
                open_marks.append(letter)
        elif letter in _RESERVED:
            raise Unreadable(f"Character '{letter}' is reserved and must be escaped with the preceding '\\'")
        else:
            out.append(letter)
        position += 1
    if open_marks:
        raise Unreadable(f"Can't find end of the entity starting with {open_marks[-1]}")
    return "".join(out)


def length(text: str) -> int:
    """Length as Telegram counts it: UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2

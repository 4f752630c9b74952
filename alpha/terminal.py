"""Terminals that cannot show everything: no output ever ends a command because of a character."""

import codecs
import sys

#: What stands for a character that the terminal has not.
_PLAIN = {
    "→": "->",
    "←": "<-",
    "–": "-",
    "—": "-",
    "…": "...",
    "✅": "[ok]",
    "🔴": "[!]",
    "×": "x",
    "−": "-",
    "≥": ">=",
    "≤": "<=",
}


def _in_ascii(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    text = "".join(_PLAIN.get(character, "?") for character in fault.object[fault.start : fault.end])
    return text, fault.end


def make_safe() -> None:
    """From now on a character that standard output or error cannot encode is shown as plain ASCII."""
    codecs.register_error("alpha-plain", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="alpha-plain")

"""Makes output safe for limited terminals: no unencodable character ever aborts a command."""

import codecs
import sys

#: Replacements for characters that the terminal cannot show.
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
    """Make standard output and error replace characters they cannot encode with plain ASCII."""
    codecs.register_error("alpha-plain", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="alpha-plain")

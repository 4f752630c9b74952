"""Makes text from outside safe to store, forward and display."""

import re

#: Control characters (except line break and tab), unpaired surrogates, and bidirectional marks: PostgreSQL refuses the
#: first, UTF-8 the second, and the third make a name look like another.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
REPLACEMENT = "\ufffd"


def storable(text: str, most: int | None = None) -> str:
    """Return the text with every such character replaced, cut after `most` characters."""
    kept = text if most is None else text[:most]
    return _UNFIT.sub(REPLACEMENT, kept)


def brief(text: str, most: int = 40) -> str:
    """Quote a word for a message, and cut it if it is long: what a person typed may exceed a message."""
    shown = storable(text, most)
    return f"{shown + '…' if len(text) > most else shown!r}"

"""Text from outside, made fit to be stored, sent on and read by a person."""

import re

#: Control characters (line break and tab apart), surrogates without their partner, and the marks that reverse the order
#: in which text is read: PostgreSQL refuses the first, UTF-8 the second, and the third show a name as another one.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
REPLACEMENT = "\ufffd"


def storable(text: str, most: int | None = None) -> str:
    """The text with every such character replaced, cut after `most` characters."""
    kept = text if most is None else text[:most]
    return _UNFIT.sub(REPLACEMENT, kept)


def brief(text: str, most: int = 40) -> str:
    """A word as a message quotes it: quoted, and cut where it is long. What a person typed may be longer than a message."""
    shown = storable(text, most)
    return f"{shown + '…' if len(text) > most else shown!r}"

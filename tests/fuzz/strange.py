"""What is strange: pieces of text, and ways to put them into a text or a JSON document."""

import copy
import random
from typing import Any

#: What clients, editors and people put where it does not belong.
PIECES = (
    "", " ", "\t", "\n", "\r\n", "\x00", "\x1b[2J", "\u200b", "\u00a0", "\u202e", "\ufeff", "é", "日本", "😀", "'", '"', "\\", "$",
    "${A}", "$(id)", "`id`", "#", " # ", "=", ",", ";", ":", "[", "]", "{", "}", "{{ x }}", "%", "%s", "../", "/", "-", "_", ".",
    "0", "-1", "1e300", "1e-300", "inf", "nan", "NaN", "0x10", "1,000", "1_000", "true", "null", "None", "9" * 400, "a" * 5000,
    "2025-01-01", "1735689600", "1735689600000", "1735689600000000", "<<: *x", "!reset", "&x", "*x", "\ud800",
)  # fmt: skip
#: What an exchange might send in place of a value.
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        5.5,
        10**30,
        -(10**18),
        1e300,
        [],
        {},
        [[]],
        [None],
        {"a": None},
        "0.00",
        "-0",
        "1E-7",
        "1e400",
    ),
    *("Infinity", "linear", "inverse", "Sell", "Buy", "UNKNOWN", "Parked", "32503680000001", "1735689600000"),
    *PIECES[:-1],
)


def mutated(chance: random.Random, text: str, most: int = 4) -> str:
    """A text with a few places cut, doubled, swapped or filled with something strange."""
    for _ in range(chance.randint(1, most)):
        place = chance.randint(0, len(text))
        other = chance.randint(place, min(len(text), place + chance.choice((0, 1, 1, 2, 8, 60))))
        kind = chance.randrange(5)
        if kind == 0:
            text = text[:place] + chance.choice(PIECES) + text[other:]
        elif kind == 1:
            text = text[:place] + text[other:]
        elif kind == 2:
            text = text[:place] + text[place:other] * 2 + text[other:]
        elif kind == 3:
            lines = text.split("\n")
            chance.shuffle(lines)
            text = "\n".join(lines) if chance.random() < 0.1 else text
        else:
            text = text[:place] + chr(chance.choice((chance.randrange(128), chance.randrange(0x2FF)))) + text[place:]
    return text


def changed_json(chance: random.Random, document: Any, most: int = 3) -> Any:
    """The document with up to `most` values replaced, keys gone, keys added or rows doubled. It is changed in place."""
    for _ in range(chance.randint(1, most)):
        holder = document
        while True:
            if isinstance(holder, dict) and holder:
                key: Any = chance.choice(sorted(holder, key=str))
            elif isinstance(holder, list) and holder:
                key = chance.randrange(len(holder))
            else:
                break
            inside = holder[key]
            if isinstance(inside, dict | list) and inside and chance.random() < 0.8:
                holder = inside
                continue
            _change(chance, holder, key)
            break
    return document


def _change(chance: random.Random, holder: Any, key: Any) -> None:
    kind = chance.random()
    if kind < 0.7:
        holder[key] = copy.deepcopy(chance.choice(VALUES))
    elif kind < 0.85:
        del holder[key]
    elif isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[chance.choice(PIECES[:-1])] = copy.deepcopy(chance.choice(VALUES))

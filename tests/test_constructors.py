"""A constructor takes what belongs together as one object: none of the product has more than eight parameters."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST = 8


def constructors() -> Iterator[tuple[str, int]]:
    """Every written `__init__` of the product, as "file:line", with the number of its parameters after `self`."""
    for path in sorted(ROOT.glob("[!.]*/**/*.py")):
        inside = path.relative_to(ROOT)
        if "tests" in inside.parts or any(part.startswith(".") for part in inside.parts):
            continue
        text = path.read_text(encoding="utf-8")
        if "def __init__(" not in text:
            continue
        for kind in ast.walk(ast.parse(text)):
            if isinstance(kind, ast.ClassDef):
                for made in kind.body:
                    if isinstance(made, ast.FunctionDef) and made.name == "__init__":
                        given = (*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs)
                        yield f"{inside}:{made.lineno} {kind.name}", len(given) - 1


def test_no_constructor_takes_more_than_eight_parameters() -> None:
    found = dict(constructors())
    assert len(found) > 200
    assert {name: count for name, count in found.items() if count > MOST} == {}

"""Texts can be read in both themes: every colour of the palette against every ground it stands on, by WCAG 2.2 AA."""

import itertools
import re
from pathlib import Path

import pytest

CSS = (Path(__file__).parents[1] / "page.css").read_text(encoding="utf-8")
#: The least contrast of text, and of lines and marks that carry meaning.
TEXT = 4.5
_COLOUR = re.compile(r"--(\w+): (#[0-9a-f]{6})(?:[0-9a-f]{2})?\b")


def palettes() -> dict[str, dict[str, str]]:
    """The colours of each theme, and of the system's light theme."""
    blocks = re.findall(r"(:root[^{]*)\{ (color-scheme: (dark|light);[^}]*)\}", CSS)
    found = {f"{scheme}: {selector.strip()}": dict(_COLOUR.findall(body)) for selector, body, scheme in blocks}
    assert len(found) == 3
    return found


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_published() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("name", sorted(palettes()))
def test_every_text_can_be_read_on_every_ground(name: str) -> None:
    colours = palettes()[name]
    for text, ground in itertools.product(("ink", "dim", "good", "bad", "warn"), ("ground", "room")):
        assert contrast(colours[text], colours[ground]) >= TEXT, (
            text,
            ground,
            contrast(colours[text], colours[ground]),
        )


def test_the_switch_and_the_system_have_the_same_light_theme() -> None:
    light = [colours for name, colours in palettes().items() if name.startswith("light")]
    assert light[0] == light[1]

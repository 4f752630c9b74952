"""Charts for a phone in dark mode: equity with drawdown, signed bars, and candles.

A phone shows 800 pixels at less than half their size, so text is large and sparse. Everything is placed in pixels on a
bare figure; matplotlib's axes cost more time than everything drawn in them.
"""

import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from operations.page import BarChart, Candles, Curve, Gauges, Picture

BACKGROUND, GRID, INK, FAINT = "#0e1621", "#22303f", "#f5f5f5", "#8ea2b6"
GOOD, BAD, LINE = "#4dcd5e", "#ff595a", "#52a8f2"
WIDTH, HEIGHT, DPI = 800, 500, 100
#: Plot edges: pixels from the left (LEFT, RIGHT), and from the bottom (TOP).
LEFT, RIGHT, TOP = 28, 694, 392
TITLE, TEXT, SMALL = 30, 22, 20
#: Width of one character of a label, as a fraction of its font size.
LETTER, WIDE = 0.62, 0.68
_STEPS_S = (
    *(60, 300, 900, 1_800),
    *(3_600, 7_200, 10_800, 21_600, 43_200),
    *(86_400, 2 * 86_400, 5 * 86_400, 7 * 86_400, 14 * 86_400),
)
DAY_S = 86_400


def draw(picture: Picture) -> bytes:
    """Return the chart as PNG, 800 by 500 pixels."""
    sheet = _Sheet()
    match picture:
        case Curve():
            _draw_curve(sheet, picture)
        case BarChart():
            _draw_bars(sheet, picture)
        case Gauges():
            _draw_gauges(sheet, picture)
        case Candles():
            _draw_candles(sheet, picture)
    return sheet.png()


class _Sheet:
    """A figure whose coordinates are pixels from the lower left."""

    def __init__(self) -> None:
        # imported here: only the chart process pays for it. matplotlib's own calls are untyped.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.transforms import IdentityTransform

        self._figure: Any = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=BACKGROUND)
        self._canvas: Any = FigureCanvasAgg(self._figure)
        self._pixels: Any = IdentityTransform()
        self._drawn = 0

    def _above(self) -> int:
        """The next z-order: later drawings are on top."""
        self._drawn += 1
        return self._drawn

    def text(
        self,
        x: float,
        y: float,
        said: str,
        color: str = FAINT,
        size: int = TEXT,
        side: str = "left",
        *,
        bold: bool = False,
    ) -> None:
        """Draw text; `y` is the baseline, `side` says which part of the text is at `x`: left, center or right."""
        self._figure.text(
            x, y, said, transform=self._pixels, color=color, fontsize=size * 72 / DPI, ha=side, va="baseline",
            weight="bold" if bold else "normal", parse_math=False, zorder=self._above(),
        )  # fmt: skip

    def line(self, xs: Sequence[float], ys: Sequence[float], color: str, width: float) -> None:
        """Draw a line through points."""
        from matplotlib.lines import Line2D

        self._figure.add_artist(
            Line2D(
                xs,
                ys,
                color=color,
                linewidth=width * 72 / DPI,
                transform=self._pixels,
                solid_joinstyle="round",
                zorder=self._above(),
            )
        )

    def area(self, xs: Sequence[float], ys: Sequence[float], base: float, color: str, alpha: float) -> None:
        """Fill the area between points and a level."""
        from matplotlib.patches import Polygon

        points = [(xs[0], base), *zip(xs, ys, strict=True), (xs[-1], base)]
        self._figure.add_artist(
            Polygon(
                points,
                closed=True,
                facecolor=color,
                alpha=alpha,
                linewidth=0,
                transform=self._pixels,
                zorder=self._above(),
            )
        )

    def dot(self, x: float, y: float, color: str) -> None:
        """Draw a highlighted point."""
        from matplotlib.patches import Circle

        self._figure.add_artist(
            Circle(
                (x, y),
                7,
                facecolor=color,
                edgecolor=BACKGROUND,
                linewidth=2,
                transform=self._pixels,
                zorder=self._above(),
            )
        )

    def png(self) -> bytes:
        """Return the drawing as PNG in 256 colours: enough for flat areas, at a third of the bytes."""
        from PIL import Image

        self._canvas.draw()
        drawn = Image.frombuffer("RGBA", (WIDTH, HEIGHT), self._canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
        few = drawn.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        out = io.BytesIO()
        few.save(out, "PNG", compress_level=4)
        return out.getvalue()

    def head(self, title: str, amount: str, gain: bool, left: str, right: str) -> None:
        """Draw the two header lines above the plot."""
        # a long title is shortened in favour of the amount
        room = (WIDTH - 2 * LEFT - len(amount) * TITLE * WIDE - TITLE) / max(1, len(title))
        self.text(LEFT, 450, title, INK, int(min(TITLE, room / WIDE)), bold=True)
        self.text(WIDTH - LEFT, 450, amount, GOOD if gain else BAD, TITLE, "right", bold=True)
        self.text(LEFT, 416, left, FAINT, SMALL)
        self.text(WIDTH - LEFT, 416, right, FAINT, SMALL, "right")


def _draw_curve(sheet: _Sheet, curve: Curve) -> None:
    bottom, fall_top, fall_bottom = 172, 146, 56
    first, last = curve.equity[0], curve.equity[-1]
    change, worst = last - first, min(curve.drawdown_pct)
    share = curve.return_pct if curve.return_pct is not None else change / first * 100 if first else None
    said = "" if share is None else f"{share:+.1f} %"
    color = GOOD if change >= 0 else BAD
    sheet.head(
        curve.title,
        f"{_signed(change)} USDT",
        change >= 0,
        f"{amount(first)} → {amount(last)}",
        f"return {said}" if curve.return_pct is not None else f"{said}   max drawdown {worst:.1f} %".strip(),
    )
    spread = (max(curve.equity) - min(curve.equity)) or abs(last) * 0.01 or 1.0
    low, high = min(curve.equity) - spread * 0.06, max(curve.equity) + spread * 0.08
    begin, end = curve.times_ms[0], max(curve.times_ms[-1], curve.times_ms[0] + 1)
    xs = [LEFT + (moment - begin) / (end - begin) * (RIGHT - LEFT) for moment in curve.times_ms]
    ys = [bottom + (value - low) / (high - low) * (TOP - bottom) for value in curve.equity]
    at_last = ys[-1]
    for level in levels(low, high, 4):
        y = bottom + (level - low) / (high - low) * (TOP - bottom)
        sheet.line((LEFT, RIGHT), (y, y), GRID, 1.5)
        if abs(y - at_last) > TEXT:
            sheet.text(RIGHT + 12, y - 7, amount(level))
    for x, label in moments(begin, end, curve.zone, LEFT, RIGHT):
        sheet.line((x, x), (fall_bottom, TOP), GRID, 1.5)
        sheet.text(x, 22, label, side="center")
    sheet.area(xs, ys, bottom, color, 0.16)
    sheet.line(xs, ys, color, 4)
    sheet.dot(xs[-1], ys[-1], color)
    sheet.text(RIGHT + 12, at_last - 7, amount(last), color, bold=True)
    deepest = min(worst, -0.1)
    falls = [fall_top + value / -deepest * (fall_top - fall_bottom) for value in curve.drawdown_pct]
    sheet.line((LEFT, RIGHT), (fall_top, fall_top), FAINT, 1.5)
    sheet.area(xs, falls, fall_top, BAD, 0.55)
    sheet.text(RIGHT + 12, fall_bottom - 2, f"{worst:.1f} %", BAD)
    sheet.text(RIGHT + 12, fall_top - 8, "0 %")
    sheet.text(WIDTH - LEFT, 22, zone_of(curve), side="right", size=SMALL)


def _draw_bars(sheet: _Sheet, bars: BarChart) -> None:
    bottom, count = 64, len(bars.values)
    total = sum(bars.values)
    green = sum(value > 0 for value in bars.values)
    best, worst = max(bars.values), min(bars.values)
    sheet.head(
        bars.title,
        f"{_signed(total)} USDT",
        total >= 0,
        f"{green} of {count} green",
        f"best {_signed(best)}   worst {_signed(worst)}" if count > 1 else "",
    )
    width = (WIDTH - 2 * LEFT) / count
    said = [_signed(value, short=True) for value in bars.values]
    # each bar shows its value if there is room; otherwise the axis levels are labelled
    told = max(map(len, said)) * SMALL * LETTER <= width
    right = WIDTH - LEFT if told else RIGHT
    width = (right - LEFT) / count
    room = 0.14 if told else 0.06
    low, high = min(0.0, worst), max(0.0, best)
    spread = (high - low) or 1.0
    low -= spread * room * (low < 0)
    high += spread * room

    def height(value: float) -> float:
        return bottom + (value - low) / ((high - low) or 1.0) * (TOP - bottom)

    zero = height(0.0)
    if not told:
        for level in levels(low, high, 5):
            sheet.line((LEFT, right), (height(level), height(level)), GRID, 1.5)
            sheet.text(right + 12, height(level) - 7, amount(level))
    every = max(1, math.ceil(max(map(len, bars.labels)) * TEXT * LETTER / width))
    for number, (label, value) in enumerate(zip(bars.labels, bars.values, strict=True)):
        middle = LEFT + (number + 0.5) * width
        half = min(width * 0.38, 52)
        color = GOOD if value >= 0 else BAD
        top = height(value)
        # keep a near-zero bar visible
        if abs(top - zero) < 2:
            top = zero + (2 if value >= 0 else -2)
        sheet.area((middle - half, middle + half), (top, top), zero, color, 1.0)
        if told:
            sheet.text(middle, top + 8 if value >= 0 else top - 22, said[number], INK, SMALL, "center")
        # counted from the newest bar, which is always labelled
        if (count - 1 - number) % every == 0:
            sheet.text(middle, 24, label, side="center")
    sheet.line((LEFT, right), (zero, zero), FAINT, 1.5)


def _draw_gauges(sheet: _Sheet, gauges: Gauges) -> None:
    known = [value for value in gauges.values if value is not None]
    overall = sum(known) / len(known) if known else 0.0
    buys = sum(value > 0.1 for value in known)
    sells = sum(value < -0.1 for value in known)
    title, _, figure = gauges.title.rpartition(" ")
    sheet.head(title, figure, overall >= 0, "sell", f"{buys} buy   {sells} sell   of {len(gauges.values)}")
    left, bottom = 130, 40
    middle, half = (left + WIDTH - LEFT) / 2, (WIDTH - LEFT - left) / 2
    slot = (TOP - bottom) / max(1, len(gauges.values))
    for level in (-1.0, -0.5, 0.0, 0.5, 1.0):
        x = middle + level * half
        sheet.line((x, x), (bottom, TOP), FAINT if level == 0 else GRID, 1.5)
        sheet.text(x, 12, f"{level:+g}" if level else "0", side="center", size=SMALL)
    for number, (label, value) in enumerate(zip(gauges.labels, gauges.values, strict=True)):
        centre = TOP - (number + 0.5) * slot
        sheet.text(LEFT, centre - 8, label, INK)
        if value is None:
            sheet.text(middle + 10, centre - 8, "no vote")
            continue
        end = middle + (value or 0.01) * half
        color = GOOD if value > 0.1 else BAD if value < -0.1 else FAINT
        thick = min(slot * 0.32, 22)
        sheet.area((middle, end), (centre + thick, centre + thick), centre - thick, color, 1.0)
        sheet.text(end + (10 if value >= 0 else -10), centre - 8, f"{value:+.2f}", INK, SMALL,
                   "left" if value >= 0 else "right")  # fmt: skip


#: A level farther from the candles than this many times their range is named in the header only.
_NEAR = 3.0
_LEVELS = {"entry": LINE, "stop": BAD, "target": GOOD, "liq": "#f2b852"}


def _draw_candles(sheet: _Sheet, picture: Candles) -> None:
    rows, bottom = picture.rows, 56
    first, last = rows[0][1], rows[-1][4]
    sheet.head(
        f"{picture.symbol} {_interval(picture.interval)}",
        price_text(last),
        last >= first,
        f"{(last / first - 1) * 100:+.2f} %" if first else "",
        "   ".join(f"{kind} {price_text(price)}" for kind, price in picture.levels[:3]),
    )
    low, high = min(row[3] for row in rows), max(row[2] for row in rows)
    reach = ((high - low) or abs(last) * 0.01 or 1.0) * _NEAR
    # liquidation is far away as a rule: it is drawn where the rest reaches it
    near = [price for kind, price in picture.levels if kind != "liq" and low - reach <= price <= high + reach]
    low, high = min(low, *near, last), max(high, *near, last)
    spread = (high - low) or abs(last) * 0.01 or 1.0
    low, high = low - spread * 0.05, high + spread * 0.05
    begin, end = rows[0][0], rows[-1][0] + picture.length_s

    def across(second: float) -> float:
        return LEFT + (second - begin) / (end - begin) * (RIGHT - LEFT)

    def height(price: float) -> float:
        return bottom + (price - low) / (high - low) * (TOP - bottom)

    shown = [(kind, price) for kind, price in picture.levels if low <= price <= high]
    for level in levels(low, high, 5):
        sheet.line((LEFT, RIGHT), (height(level), height(level)), GRID, 1.5)
        if all(abs(height(level) - height(price)) > TEXT for _, price in shown):
            _beside(sheet, height(level), level, FAINT)
    for x, label in moments(begin * 1000, end * 1000, picture.zone, LEFT, RIGHT):
        sheet.line((x, x), (bottom, TOP), GRID, 1.5)
        sheet.text(x, 22, label, side="center")
    half = max(1.0, picture.length_s / (end - begin) * (RIGHT - LEFT) * 0.35)
    for second, opened, highest, lowest, closed in rows:
        middle = across(second + picture.length_s / 2)
        color = GOOD if closed >= opened else BAD
        sheet.line((middle, middle), (height(lowest), height(highest)), color, 1.5)
        top, base = height(max(opened, closed)), height(min(opened, closed))
        sheet.area((middle - half, middle + half), (max(top, base + 1.5),) * 2, base, color, 1.0)
    for kind, price in shown:
        y = height(price)
        sheet.line((LEFT, RIGHT), (y, y), _LEVELS[kind], 2.5)
        sheet.text(LEFT + 6, y + 6, kind, _LEVELS[kind], SMALL, bold=True)
        _beside(sheet, y, price, _LEVELS[kind])
    for second, price, bought in picture.fills:
        if begin <= second <= end and low <= price <= high:
            _arrow(sheet, across(second), height(price), up=bought)
    zone = f"{datetime.fromtimestamp(end, UTC).astimezone(picture.zone):%Z}"
    sheet.text(WIDTH - LEFT, 22, zone, side="right", size=SMALL)


def _arrow(sheet: _Sheet, x: float, y: float, *, up: bool) -> None:
    """A fill at (x, y): bought points up from below, sold down from above."""
    down = -1 if up else 1
    for wide, tall, color in ((12, 22, BACKGROUND), (9, 18, INK)):
        base = y + down * tall
        sheet.area((x - wide, x, x + wide), (base, y, base), base, color, 1.0)


def _beside(sheet: _Sheet, y: float, price: float, color: str) -> None:
    """Write a price to the right of the plot, smaller where it is long."""
    said = price_text(price)
    room = WIDTH - RIGHT - 16
    sheet.text(RIGHT + 12, y - 7, said, color, int(min(TEXT, room / (len(said) * LETTER))))


def _interval(name: str) -> str:
    minutes = int(name) if name.isdigit() else 0
    return name if not minutes else f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def price_text(value: float) -> str:
    """A price with five significant digits and at least its whole ones: `94,000`, `3,290.5`, `0.081234`."""
    if value == 0 or not math.isfinite(value):
        return "0"
    digits = max(0, 4 - math.floor(math.log10(abs(value))))
    said = f"{value:,.{digits}f}"
    return said.rstrip("0").rstrip(".") if "." in said else said


def amount(value: float) -> str:
    """Format an axis level compactly: `9,850`, `12.4k`, `1.25M`."""
    size = abs(value)
    if size >= 10_000_000:
        return f"{value / 1_000_000:,.0f}M"
    if size >= 1_000_000:
        return f"{value / 1_000_000:.2f}M"
    if size >= 100_000:
        return f"{value / 1_000:,.0f}k"
    if size >= 20 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.2f}"


def _signed(value: float, *, short: bool = False) -> str:
    """Format a result with its sign; to the cent unless short."""
    if short:
        said = amount(value)
        return said if value <= 0 or said in ("0", "0.00") else f"+{said}"
    rounded = round(value, 2) or 0.0
    return f"{rounded:+,.2f}" if rounded else "0.00"


def levels(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round numbers between two values."""
    rough = (high - low) / most or 1.0
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def moments(begin_ms: int, end_ms: int, zone: tzinfo, left: float, right: float) -> list[tuple[float, str]]:
    """Return x (pixels) and label of three to six round times in the zone between two ends."""
    length_s = (end_ms - begin_ms) / 1000
    first, last = (datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone) for ms in (begin_ms, end_ms))
    step = next((step for step in _STEPS_S if length_s / step <= 6), None)
    found: list[datetime] = []
    if step is None:
        months = next(m for m in (1, 2, 3, 6, 12, 24, 60, 120) if length_s / (30 * DAY_S) / m <= 6)
        number = first.year * 12 + first.month - 1
        for count in range(number - number % months, last.year * 12 + last.month, months):
            found.append(datetime(count // 12, count % 12 + 1, 1, tzinfo=zone))
    else:
        day = first.replace(hour=0, minute=0, second=0, microsecond=0)
        while day <= last:
            found += [day + timedelta(seconds=s) for s in range(0, DAY_S, step)] if step < DAY_S else [day]
            day += timedelta(seconds=max(step, DAY_S))
    long = step is None and length_s > 2 * 365 * DAY_S
    form = "%H:%M" if step is not None and step < DAY_S else "%b %Y" if long else "%b" if step is None else "%d %b"
    placed = [
        (left + (moment.timestamp() * 1000 - begin_ms) / (end_ms - begin_ms) * (right - left), f"{moment:{form}}")
        for moment in found
    ]
    # omit a label that would be cut off at an edge
    return [(x, label) for x, label in placed if left + 20 <= x <= right - 20]


def zone_of(curve: Curve) -> str:
    """The name of the curve's time zone at its end."""
    return f"{datetime.fromtimestamp(curve.times_ms[-1] / 1000, UTC).astimezone(curve.zone):%Z}"


def warm_up() -> bytes:
    """Draw once, so that everything is imported."""
    return draw(BarChart("", ["a"], [1.0]))

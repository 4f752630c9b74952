"""Pictures for a phone in dark mode: equity with drawdown, and signed bars. Drawn in a process of their own.

matplotlib needs a tenth of a second of CPU for each; in another process that never holds up the event loop.
"""

import asyncio
import io
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from typing import Any

from alpha.errors import Retry
from alpha.platform.page import Bars, Curve, Picture

BACKGROUND, PANEL, INK, FAINT = "#0e1621", "#17212b", "#f5f5f5", "#7f91a4"
GOOD, BAD, LINE = "#4dcd5e", "#ff595a", "#52a8f2"
WIDTH_IN, HEIGHT_IN, DPI = 8.0, 5.0, 100
DRAW_LIMIT_S = 20.0


def draw(picture: Picture) -> bytes:
    """The picture as PNG, 800 by 500 pixels."""
    # Imported here: only the drawing process pays for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    match picture:
        case Curve():
            _draw_curve(figure, picture)
        case Bars():
            _draw_bars(figure, picture)
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=BACKGROUND)
    return out.getvalue()


def _style(axes: Any, title: str = "") -> None:
    axes.set_facecolor(PANEL)
    axes.tick_params(colors=FAINT, labelsize=12, length=0)
    axes.grid(color=FAINT, alpha=0.18, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, color=INK, fontsize=16, loc="left", pad=12)


def _money(value: float, _position: object = None) -> str:
    if abs(value) >= 1_000_000:
        return f"{value / 1_000_000:,.1f}M"
    return f"{value:,.0f}" if abs(value) >= 10 or value == 0 else f"{value:.2f}"


def _draw_curve(figure: Any, curve: Curve) -> None:
    from matplotlib import dates
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    moments = [datetime.fromtimestamp(ms / 1000, UTC) for ms in curve.times_ms]
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    change = curve.equity[-1] - curve.equity[0]
    share = f" ({change / curve.equity[0] * 100:+.1f} %)" if curve.equity[0] else ""
    _style(above, curve.title)
    above.set_title(f"{change:+,.2f} USDT{share}", color=GOOD if change >= 0 else BAD, fontsize=14, loc="right", pad=12)
    above.plot(moments, curve.equity, color=LINE, linewidth=2.2)
    above.fill_between(moments, curve.equity, min(curve.equity), color=LINE, alpha=0.12, linewidth=0)
    above.yaxis.set_major_formatter(FuncFormatter(_money))
    above.margins(x=0.01)
    _style(below)
    below.fill_between(moments, curve.drawdown_pct, 0, color=BAD, alpha=0.5, linewidth=0)
    below.yaxis.set_major_locator(MaxNLocator(3))
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1f} %"))
    below.set_ylim(min([*curve.drawdown_pct, -0.1]) * 1.15, 0)
    # matplotlib's own calls carry no types
    dated: Any = dates
    locator = dated.AutoDateLocator(maxticks=7)
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(dated.ConciseDateFormatter(locator, show_offset=False))
    figure.subplots_adjust(left=0.11, right=0.97, top=0.89, bottom=0.08, hspace=0.08)


def _draw_bars(figure: Any, bars: Bars) -> None:
    from matplotlib.ticker import FuncFormatter

    axes = figure.subplots()
    total = sum(bars.values)
    _style(axes, bars.title)
    axes.set_title(f"{total:+,.2f}", color=GOOD if total >= 0 else BAD, fontsize=14, loc="right", pad=12)
    places = range(len(bars.values))
    axes.bar(places, bars.values, color=[GOOD if value >= 0 else BAD for value in bars.values], width=0.72)
    axes.axhline(0, color=FAINT, linewidth=1)
    step = max(1, -(-len(bars.labels) // 10))
    axes.set_xticks([place for place in places if place % step == 0], bars.labels[::step])
    axes.yaxis.set_major_formatter(FuncFormatter(_money))
    axes.grid(axis="x", visible=False)
    if len(bars.values) <= 12:
        for place, value in zip(places, bars.values, strict=True):
            axes.annotate(
                f"{value:+,.0f}",
                (place, value),
                ha="center",
                va="bottom" if value >= 0 else "top",
                color=INK,
                fontsize=11,
                xytext=(0, 3 if value >= 0 else -3),
                textcoords="offset points",
            )
        axes.margins(y=0.15)
    figure.subplots_adjust(left=0.11, right=0.97, top=0.89, bottom=0.09)


def _warm_up() -> bytes:
    return draw(Bars("", ["a"], [1.0]))


class Painter:
    """Draws in a process of its own, started once and started again when it died."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def open(self) -> None:
        """Start the process and let it import what it needs."""
        await self._run(_warm_up)

    async def draw(self, picture: Picture) -> bytes:
        """The picture as PNG; Retry when the drawing process died or takes too long."""
        return await self._run(draw, picture)

    def close(self) -> None:
        """End the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    async def _run(self, work: Callable[..., bytes], *arguments: object) -> bytes:
        if self._pool is None:
            # a fresh interpreter: a fork would inherit this one's event loop and sockets
            self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self._pool, work, *arguments), DRAW_LIMIT_S)
        except (BrokenProcessPool, TimeoutError):
            self.close()
            raise Retry("The picture could not be drawn. Ask again.") from None

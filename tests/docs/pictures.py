"""The pictures of the documents, taken of a running demo: `python -m tests.docs.pictures`. Needs Chromium.

`demo.svg` is the terminal view, as it moved; `dashboard.png` and `dashboard-phone.png` are the first page in a browser.
"""

import asyncio
import io
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from alpha.config.loader import load
from alpha.config.services import LogSettings
from alpha.logs import configure
from alpha.registry import load_registry
from demo.run import DemoRun
from demo.settings import DemoSettings
from demo.view import Scene, picture
from tests.support.chromium import DESKTOP, PHONE, browser

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "img"
WIDTH, HEIGHT = 126, 34
#: Frames of the moving picture, and how long each stands.
FRAMES, FRAME_S = 6, 2.5
#: Enough trades that something is there to look at.
MOST_S = 900
FILLS = 40


def frame(scene: Scene) -> str:
    """One scene as the SVG of a terminal."""
    console = Console(width=WIDTH, height=HEIGHT, record=True, force_terminal=True, file=io.StringIO())
    # The address with its token belongs to nobody else.
    shown = Scene(**{name: getattr(scene, name) for name in Scene.__slots__} | {"hint": "The data is kept: make psql"})
    console.print(picture(shown, HEIGHT, WIDTH))
    return console.export_svg(title="make demo", theme=MONOKAI, unique_id="demo")


def moving(frames: list[str]) -> str:
    """Frames of one size as one SVG that shows them in turn. A viewer without animation sees the last."""
    head = frames[-1].partition('<g transform="translate')[0]
    # No font from elsewhere: a picture asks nobody for anything.
    head = re.sub(r"@font-face \{.*?\}\s*", "", head, flags=re.DOTALL).replace(
        "Fira Code", "ui-monospace, DejaVu Sans Mono"
    )
    style = "".join(
        f".f{n} {{ animation: turn {len(frames) * FRAME_S:g}s {n * FRAME_S - len(frames) * FRAME_S:g}s step-end infinite }}\n"
        for n in range(len(frames))
    )
    turn = f"@keyframes turn {{ 0% {{ visibility: visible }} {100 / len(frames):.3f}% {{ visibility: hidden }} }}\n"
    rules = sorted({rule for text in frames for rule in re.findall(r"\.demo-r\d+ \{[^}]*\}", text)})
    bodies = []
    for number, text in enumerate(frames):
        # Rich numbers its colours anew in each export: a frame keeps its own names.
        body = '<g transform="translate' + text.partition('<g transform="translate')[2].rpartition("</svg>")[0]
        own = {name: f"f{number}-{name}" for name in re.findall(r"\.(demo-r\d+) \{", text)}
        for name in sorted(own, key=len, reverse=True):
            body = re.sub(rf"\b{name}\b", own[name], body)
        for name, fill in re.findall(r"\.(demo-r\d+) (\{[^}]*\})", text):
            style += f".{own[name]} {fill}\n"
        bodies.append(f'<g class="f{number}">{body}</g>')
    for rule in rules:
        head = head.replace(rule, "")
    return head.replace("</style>", f"{turn}{style}</style>", 1) + "".join(bodies) + "</svg>\n"


async def photograph(url: str) -> None:
    """The dashboard's first page on a desk and on a phone."""
    async with browser() as new_tab:
        tab = await new_tab()
        for size, name in ((DESKTOP, "dashboard.png"), (PHONE, "dashboard-phone.png")):
            await tab.resize(size)
            await tab.open(url)
            await tab.until("document.getElementById('link').textContent == 'live'")
            await tab.picture(FOLDER / name, whole=size == DESKTOP)


async def main() -> int:
    """Run a demo until it has traded enough, take the pictures, end it; returns the demo's exit code."""
    configure("pictures", load(LogSettings, env_file=None, log_level="error"))
    FOLDER.mkdir(exist_ok=True)
    stop, frames = asyncio.Event(), list[str]()
    enough = asyncio.Event()

    def watch(scene: Scene) -> None:
        if (scene.recorded_fills or 0) >= FILLS and scene.elapsed_s is not None:
            enough.set()
            if len(frames) < FRAMES:
                frames.append(frame(scene))

    with tempfile.TemporaryDirectory() as state:
        settings = load(DemoSettings, env_file=None, demo_state=state, demo_seconds=MOST_S)
        run = DemoRun(settings, load_registry(ROOT / "bots.toml"), ROOT, watch)
        running = asyncio.create_task(run.run(stop))
        await enough.wait()
        await photograph(run.dashboard_url)
        while len(frames) < FRAMES:
            await asyncio.sleep(0.5)
        stop.set()
        code = await running
    (FOLDER / "demo.svg").write_text(moving(frames), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

"""A phone: messages rendered like Telegram's dark mode, by headless Chromium."""

import json
import shutil
import subprocess
import tempfile
from base64 import b64encode
from html import escape
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from tests.support.bot_api import Said

#: The width of a common phone in CSS pixels, and the device pixels per CSS pixel.
WIDTH, SCALE = 390, 2
#: Conversations side by side in the one screenshot that is cut up.
COLUMNS = 8
_STYLE = """
* { box-sizing: border-box; margin: 0; }
body { display: flex; align-items: flex-start; background: #0e1621; }
.phone { width: 390px; background: #0e1621; font: 15px/1.35 "DejaVu Sans", "Noto Color Emoji", sans-serif; color: #f5f5f5; padding: 8px; }
.me { background: #2b5278; border-radius: 14px 14px 4px 14px; padding: 7px 11px; margin: 4px 0 6px auto; width: fit-content; }
.bot { background: #182533; border-radius: 14px 14px 14px 4px; padding: 8px 10px; margin: 0 0 4px; width: fit-content; max-width: 374px;
       white-space: pre-wrap; overflow-wrap: anywhere; }
.bot pre { font: 12.6px/1.4 "DejaVu Sans Mono", monospace; background: #101c28; border-radius: 6px; padding: 6px; margin: 3px 0;
       white-space: pre; overflow-x: auto; width: 352px; letter-spacing: -0.2px; }
.bot i { color: #9fb3c8; } .bot code { font-family: monospace; color: #7fc1ff; }
.bot img { width: 354px; border-radius: 8px; display: block; }
.row { display: flex; gap: 4px; margin-bottom: 4px; } .row span { flex: 1; background: #20364b; border-radius: 8px; text-align: center;
       padding: 7px 2px; font-size: 13px; white-space: nowrap; overflow: hidden; }
"""
_MEASURE = """<script>
const shots = [...document.querySelectorAll('.phone')].map(p => {
  const box = p.getBoundingClientRect();
  const wide = [...p.querySelectorAll('pre')].filter(t => t.scrollWidth > t.clientWidth).map(t => t.innerText.split('\\n')[0]);
  return [p.id, box.x, box.y, box.width, box.height, wide.join(' ; ')];
});
document.body.setAttribute('data-shots', encodeURIComponent(JSON.stringify([document.body.scrollHeight, shots])));
</script>"""


def chromium() -> str | None:
    """Path of the browser on this machine, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def conversation(asked: str, said: list[Said]) -> str:
    """Render a conversation as an HTML fragment."""
    parts = [f'<div class="me">{escape(asked)}</div>'] if asked else []
    for message in said:
        if message.kind == "photo":
            image = b64encode(message.file).decode()
            parts.append(f'<div class="bot"><img src="data:image/png;base64,{image}">{escape(message.text)}</div>')
        elif message.kind == "document":
            parts.append(f'<div class="bot">📄 <b>{escape(message.file_name)}</b>\n{message.markup}</div>')
        else:
            # a block element begins and ends a line on a phone
            shown = message.markup.replace("</pre>\n", "</pre>").replace("\n<pre>", "<pre>")
            parts.append(f'<div class="bot">{shown}</div>')
        for row in message.buttons:
            parts.append('<div class="row">' + "".join(f"<span>{escape(b['text'])}</span>" for b in row) + "</div>")
    return "".join(parts)


def shoot(conversations: dict[str, str], folder: Path) -> dict[str, str]:
    """Draw each conversation into a file of its name, in one run; return those with a table wider than the screen."""
    browser = chromium()
    if browser is None:
        raise RuntimeError("no chromium on this machine")
    columns: list[list[str]] = [[] for _ in range(COLUMNS)]
    for number, (name, body) in enumerate(conversations.items()):
        columns[number % COLUMNS].append(f'<div class="phone" id="{escape(name)}">{body}</div>')
    body = "".join(f'<div class="column">{"".join(column)}</div>' for column in columns)
    with tempfile.TemporaryDirectory() as scratch:
        source, picture = Path(scratch) / "page.html", Path(scratch) / "page.png"
        source.write_text(
            f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style><body>{body}{_MEASURE}</body>", "utf-8"
        )
        common = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            f"--user-data-dir={scratch}/profile",
        ]
        width = COLUMNS * WIDTH
        dom = subprocess.run(
            [*common, "--dump-dom", f"--window-size={width},800", source.as_uri()],
            capture_output=True, text=True, check=True, timeout=200,
        ).stdout  # fmt: skip
        height, shots = json.loads(unquote(dom.partition('data-shots="')[2].partition('"')[0]))
        subprocess.run(
            [*common, f"--screenshot={picture}", f"--window-size={width},{height}", f"--force-device-scale-factor={SCALE}", source.as_uri()],
            capture_output=True, check=True, timeout=200,
        )  # fmt: skip
        with Image.open(picture) as drawn:
            for name, x, y, wide, high, _ in shots:
                box = tuple(round(edge * SCALE) for edge in (x, y, x + wide, y + high))
                # the palette is small: 160 colours suffice, at a third of the bytes
                drawn.crop(box).convert("RGB").quantize(160, dither=Image.Dither.NONE).save(
                    folder / f"{name}.png", optimize=True
                )
    return {name: wide for name, *_, wide in shots if wide}

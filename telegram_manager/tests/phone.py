"""A phone: messages laid out as Telegram's dark mode does, drawn by headless Chromium."""

import shutil
import subprocess
import tempfile
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from pathlib import Path

from telegram_manager.tests.bot_api import Said

#: A common phone in CSS pixels, and how many picture pixels each has.
WIDTH, SCALE = 390, 2
_STYLE = """
* { box-sizing: border-box; margin: 0; }
body { width: 390px; background: #0e1621; font: 15px/1.35 "DejaVu Sans", "Noto Color Emoji", sans-serif; color: #f5f5f5; padding: 8px; }
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
const wide = [...document.querySelectorAll('pre')].filter(p => p.scrollWidth > p.clientWidth).map(p => p.innerText.split('\\n')[0]);
document.body.setAttribute('data-wide', wide.join(' ; ')); document.body.setAttribute('data-height', document.body.scrollHeight);
</script>"""


@dataclass(frozen=True)
class Shot:
    """What a phone shows: how high it is in CSS pixels, and the first line of each table that is wider than the screen."""

    height: int
    too_wide: str


def chromium() -> str | None:
    """The browser of this machine, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def page(asked: str, said: list[Said]) -> str:
    """A conversation as a web page."""
    parts = [f'<div class="me">{escape(asked)}</div>'] if asked else []
    for message in said:
        if message.kind == "photo":
            image = b64encode(message.file).decode()
            parts.append(f'<div class="bot"><img src="data:image/png;base64,{image}">{escape(message.text)}</div>')
        elif message.kind == "document":
            parts.append(f'<div class="bot">📄 <b>{escape(message.file_name)}</b>\n{message.markup}</div>')
        else:
            # a block of its own begins and ends a line on a phone
            shown = message.markup.replace("</pre>\n", "</pre>").replace("\n<pre>", "<pre>")
            parts.append(f'<div class="bot">{shown}</div>')
        for row in message.buttons:
            parts.append('<div class="row">' + "".join(f"<span>{escape(b['text'])}</span>" for b in row) + "</div>")
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style><body>{''.join(parts)}{_MEASURE}</body>"


def shoot(html: str, png: Path) -> Shot:
    """Draw a page into `png`."""
    browser = chromium()
    if browser is None:
        raise RuntimeError("no chromium on this machine")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "page.html"
        source.write_text(html, encoding="utf-8")
        common = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        ]
        dom = subprocess.run(
            [*common, "--dump-dom", f"--window-size={WIDTH},800", source.as_uri()],
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout  # fmt: skip
        height = int(dom.partition('data-height="')[2].partition('"')[0])
        subprocess.run(
            [*common, f"--screenshot={png}", f"--window-size={WIDTH},{height + 16}", f"--force-device-scale-factor={SCALE}", source.as_uri()],
            capture_output=True, check=True, timeout=60,
        )  # fmt: skip
    return Shot(height, dom.partition('data-wide="')[2].partition('"')[0])

"""Every page of the site in a browser at two widths: nothing wider than the screen, no broken picture, no script's error."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.chromium import DESKTOP, PHONE, PROGRAM, browser

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine"),
]
#: What sticks out of the page, by its tag and its text; tables and code scroll inside themselves.
_WIDER = """[...document.querySelectorAll('article *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest('pre, .md-typeset__scrollwrap, .md-typeset__table, .highlight'))
  .map(e => e.tagName + ': ' + (e.innerText || e.src || '').slice(0, 60)).slice(0, 3)"""
_BROKEN = "[...document.images].filter(i => i.complete && i.naturalWidth === 0).map(i => i.src)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with links that work from files."""
    site = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--no-directory-urls", "--site-dir", str(site)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "true"},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return site


@pytest.fixture
def pages(site: Path) -> list[Path]:
    """Every page of it."""
    return sorted(path for path in site.rglob("*.html") if path.name != "404.html")


async def test_every_page_fits_both_widths(site: Path, pages: list[Path]) -> None:
    assert len(pages) > 30
    faults: list[str] = []
    async with browser() as new_tab:
        tab = await new_tab()
        # The theme asks GitHub for the number of stars.
        await tab.call("Network.enable")
        await tab.call("Network.setBlockedURLs", urls=["http://*", "https://*"])
        for size in (DESKTOP, PHONE):
            await tab.resize(size)
            for page in pages:
                await tab.open(page.as_uri())
                for what, script in (("wider than the page", _WIDER), ("broken", _BROKEN)):
                    found = await tab.value(script)
                    faults += [f"{page.relative_to(site)} at {size[0]}: {what}: {each}" for each in found]
    assert faults == []
    # A page that is opened as a file may not read its search index.
    assert [error for error in tab.errors if "file:" not in error and "net::" not in error] == []

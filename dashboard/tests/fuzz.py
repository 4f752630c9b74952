"""Fuzzing the dashboard's queries: paths, words, tokens and cookies of any bytes.

    python -m dashboard.tests.fuzz --queries 100000 --seed 7

Every answer must be one of 200, 303, 400, 401, 404, 405 and 429, without a traceback; none opens a page without the token.
"""

import argparse
import contextlib
import os
import random
import subprocess
import sys
from urllib.parse import quote_from_bytes

import httpx

from dashboard import views

#: 429 answers wrong tokens beyond twenty from one address; who is in stays in. 503 means that a store is unavailable; none is here.
EXPECTED = frozenset({200, 303, 400, 401, 404, 405, 429})
_WORDS = (
    *(
        b"shortseller",
        b"lxalgo_001",
        b"5",
        b"1,000",
        b"7d",
        b"this month",
        b"2025-06",
        b"0",
        b"-1",
        b"9" * 30,
        b"nobody",
    ),
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"<script>",
        b"'; DROP TABLE x;--",
        b"../..",
        b"a" * 3_000,
        b"\n",
        b"%00",
        b"&q=",
    ),
    *("🚨".encode(), "\u202e".encode(), b"BTCUSDT", b"all", b"1e300", b"inf", b"today yesterday"),
)


def path(draw: random.Random) -> str:
    """A path with a query, probably a wrong one."""
    name = draw.choice(
        [
            *views.MENU,
            "",
            "chart",
            f"chart/{draw.choice(('BTCUSDT', 'x', 'A' * 400, '%00'))}",
            "scripts/..%2f",
            "nothing",
        ]
    )
    words = b" ".join(draw.choice(_WORDS) for _ in range(draw.randrange(4)))
    key = draw.choice(("q", "q", "q", "token", "x", "range", "page", "interval"))
    return f"/{name}?{key}={quote_from_bytes(words)}"


async def run(address: str, token: str, count: int, seed: int) -> dict[int, int]:
    """Send `count` requests; return how often each status came. AssertionError as in the module docstring."""
    draw, statuses = random.Random(seed), dict.fromkeys(EXPECTED, 0)
    async with (
        httpx.AsyncClient(base_url=address, timeout=60) as client,
        httpx.AsyncClient(base_url=address) as stranger,
    ):
        await client.get(f"/?token={token}")
        for _ in range(count):
            asked = path(draw)
            answer = await client.get(asked)
            assert answer.status_code in EXPECTED, (asked[:200], answer.status_code, answer.text[-500:])
            assert "Traceback" not in answer.text, asked[:200]
            assert "went wrong" not in answer.text, asked[:200]
            statuses[answer.status_code] += 1
            if draw.random() < 0.05:
                cookie = bytes(draw.choice(b"abc=\xff\xc3;-") for _ in range(draw.randrange(40)))
                refused = await stranger.get(asked, headers={b"Cookie": b"alpha_dashboard=" + cookie})
                assert refused.status_code in {400, 401, 429}, (asked[:200], refused.status_code)
    return statuses


def main(words: list[str]) -> int:
    """Command-line entry point: the same test, for longer."""
    parser = argparse.ArgumentParser(prog="python -m dashboard.tests.fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args(words)
    sys.stdout.write(f"{asked.queries:,} queries, seed {asked.seed}\n")
    sys.stdout.flush()
    test = "dashboard/tests/test_dashboard.py::test_no_query_leads_to_a_trace_or_past_the_token"
    environment = {**os.environ, "FUZZ_QUERIES": str(asked.queries), "FUZZ_SEED": str(asked.seed)}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-s", "--timeout", "0", test]
    with contextlib.suppress(KeyboardInterrupt):
        return subprocess.run(command, env=environment, check=False).returncode
    return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

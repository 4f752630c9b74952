"""`make images-pin`: the digests of the base images, read from their registry, into one file, from which compose and Dockerfiles have them.

    python docker/images_pin.py            write docker/base-images.env anew
    python docker/images_pin.py --check    1 when a digest there is no longer the registry's

No digest is written that was not read: without a registry the file stays as it is, and the exit code is 3.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from alpha_cli.rendering.production import BASE_IMAGES as IMAGES  # noqa: E402 - the checkout is put on the path first

FILE = ROOT / "docker" / "base-images.env"
UNREACHABLE = 3
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest(image: str) -> str | None:
    """The digest that the registry has for this tag now; None when it does not answer."""
    words = ["docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", image]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        found = str(json.loads(done.stdout)["digest"]) if done.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return None
    return found if _DIGEST.fullmatch(found) else None


def written() -> dict[str, str]:
    """What the file pins."""
    if not FILE.exists():
        return {}
    lines = (line.partition("=") for line in FILE.read_text(encoding="utf-8").splitlines() if "=" in line)
    return {name: value for name, _, value in lines if not name.startswith("#") and value}


def main() -> int:
    """Pin, or check what is pinned."""
    parser = argparse.ArgumentParser(prog="images_pin.py", description="Pin the base images by digest.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when a pinned digest is out of date")
    check = parser.parse_args().check
    found = {name: digest(image) for name, image in IMAGES.items()}
    missing = [IMAGES[name] for name, value in found.items() if value is None]
    if missing:
        sys.stderr.write(f"not pinned: no registry answered for {', '.join(missing)}; {FILE.name} stays as it is\n")
        return UNREACHABLE
    pins = {name: f"{IMAGES[name]}@{value}" for name, value in found.items()}
    if check:
        old = [IMAGES[name] for name, value in pins.items() if written().get(name) != value]
        sys.stdout.write(f"out of date: {', '.join(old)}\n" if old else "All pins are current.\n")
        return 1 if old else 0
    text = "# Written by `make images-pin`, rendered into the compose file by `alpha render`.\n"
    text += "".join(f"{name}={value}\n" for name, value in pins.items())
    draft = FILE.with_name(f".{FILE.name}.new")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, FILE)
    sys.stdout.write(f"Pinned {len(pins)} images in docker/{FILE.name}.\n")
    return subprocess.run(
        [sys.executable, "-m", "alpha", "render", "--root", str(ROOT)], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())

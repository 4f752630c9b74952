"""`make sbom`: what is in each image of ours, one CycloneDX file per image in build/sbom/.

Read from the images themselves: the distribution's packages and the Python packages of the environment.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "sbom"
_ASK = (
    "dpkg-query -W -f 'deb\\t${Package}\\t${Version}\\n' 2>/dev/null; "
    'python3 -c "import importlib.metadata as m; '
    "[print('pypi', d.name, d.version, sep='\\t') for d in m.distributions()]\" 2>/dev/null; true"
)


def ours() -> list[str]:
    """The images of ours on this machine."""
    words = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return (
        sorted({name for name in done.stdout.split() if name.startswith("alpha.invalid/")})
        if done.returncode == 0
        else []
    )


def components(image: str) -> list[dict[str, str]]:
    """Each package of an image once, by name."""
    words = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", _ASK]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = sorted({tuple(line.split("\t")) for line in done.stdout.splitlines() if line.count("\t") == 2})
    return [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:{'deb/debian' if kind == 'deb' else 'pypi'}/{name}@{version}",
        }
        for kind, name, version in rows
    ]


def main() -> int:
    """Write one file per image; 3 when there is no image, because nothing was looked at."""
    images = ours()
    if not images:
        sys.stderr.write("not written: no Alpha image was found. Build them: docker compose build\n")
        return 3
    FOLDER.mkdir(parents=True, exist_ok=True)
    for image in images:
        found = components(image)
        path = FOLDER / f"{image.split('/', 1)[1].replace('/', '_').replace(':', '_')}.cdx.json"
        about = {"component": {"type": "container", "name": image}}
        bom = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": about, "components": found}
        path.write_text(json.dumps(bom, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {len(found)} packages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Programs of Debian's packages for tests: downloaded and unpacked below `.state/`, never installed."""

import fcntl
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def program(package: str, name: str) -> tuple[Path | None, str]:
    """`/usr/bin/<name>` of a package; None and the reason where it cannot be had."""
    installed = shutil.which(name)
    if installed:
        return Path(installed), ""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return None, f"no {name} here, and no apt-get to get one with"
    cache = ROOT / ".state" / package
    found = cache / "usr" / "bin" / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found.exists():
            return found, ""
        got = subprocess.run(
            ["apt-get", "download", package], cwd=cache, capture_output=True, text=True, check=False, timeout=120
        )
        packages = list(cache.glob(f"{package}_*.deb"))
        if got.returncode != 0 or not packages:
            return None, f"Debian's package {package} cannot be downloaded: {got.stderr.strip()[-200:]}"
        unpacked = subprocess.run(
            ["dpkg", "-x", str(packages[0]), str(cache)], capture_output=True, text=True, check=False
        )
        packages[0].unlink()
        return (found, "") if found.exists() else (None, f"the package cannot be unpacked: {unpacked.stderr.strip()}")

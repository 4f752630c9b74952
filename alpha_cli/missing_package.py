"""What to do where a command needs a package of an extra that is not installed."""

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
#: Locks that are installed beside the one of the setup, in the order in which they are proposed.
_EXTRAS = ("backtest", "ticks", "research", "train", "api", "dashboard", "demo", "dev")


def advice_for(fault: ModuleNotFoundError, root: Path = _ROOT) -> str | None:
    """One sentence that names the package and its lock; None where a module of our own is missing, which is a defect."""
    package = (fault.name or "").partition(".")[0]
    if not package or (root / package).exists():
        return None
    wanted = package.lower().replace("_", "-")
    for extra in _EXTRAS:
        lock = root / "locks" / f"{extra}.lock"
        if lock.is_file() and f"\n{wanted}==" in f"\n{lock.read_text(encoding='utf-8')}":
            return (
                f"This command needs the package {package}, which is not installed here. "
                f"Install it: python locks/install.py locks/{extra}.lock."
            )
    return f"This command needs {package}, which is not part of this installation: run it where the whole project is installed."

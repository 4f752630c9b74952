"""`make submodules`: turns each strategy's folder into a real submodule of its own repository.

For each entry of `.gitmodules`: the folder's history is split out, pushed to the entry's address and branch, and the
folder is replaced by a checkout of it, recorded as a gitlink. Nothing is force-pushed: a remote whose branch is ahead
or has diverged is refused by git itself.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from alpha.errors import AlphaError, Misconfigured, Rejected


@dataclass(frozen=True, slots=True)
class Submodule:
    """One entry of `.gitmodules`."""

    path: str
    url: str
    branch: str


def convert(root: Path) -> list[str]:
    """Convert every folder in `.gitmodules` that is not a submodule yet; returns the converted paths.

    Raises Rejected when the checkout is dirty or git refuses a step; nothing is committed then.
    """
    if _git(root, "status", "--porcelain", "--untracked-files=no"):
        raise Rejected("There are changes that are not committed. Commit or undo them first.")
    waiting = [module for module in _entries(root) if not _is_gitlink(root, module.path)]
    for module in waiting:
        print(f"{module.path}: splitting its history and pushing it to {module.url}", flush=True)  # noqa: T201
        commit = _git(root, "subtree", "split", f"--prefix={module.path}", "HEAD").splitlines()[-1]
        _git(root, "push", module.url, f"{commit}:refs/heads/{module.branch}")
        _replace(root, module)
    if waiting:
        _git(root, "commit", "--quiet", "-m", "Each strategy is a submodule of its own repository")
    return [module.path for module in waiting]


def _replace(root: Path, module: Submodule) -> None:
    folder = root / module.path
    _git(root, "rm", "-r", "--quiet", module.path)
    with tempfile.TemporaryDirectory(dir=root / ".git") as aside:
        # Untracked files (logs, caches) are moved aside and back.
        leftover = Path(aside) / "leftover"
        if folder.exists():
            folder.rename(leftover)
        try:
            _git(root, "submodule", "add", "--quiet", "--force", "-b", module.branch, "--name", module.path, module.url, module.path)  # fmt: skip
        finally:
            if leftover.exists():
                shutil.copytree(leftover, folder, dirs_exist_ok=True)


def _entries(root: Path) -> list[Submodule]:
    listing = _git(root, "config", "-f", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$")
    modules = []
    for line in listing.splitlines():
        key, _, path = line.partition(" ")
        name = key.removeprefix("submodule.").removesuffix(".path")
        url = _git(root, "config", "-f", ".gitmodules", f"submodule.{name}.url")
        branch = _git(root, "config", "-f", ".gitmodules", "--default", "main", f"submodule.{name}.branch")
        modules.append(Submodule(path, url, branch))
    if not modules:
        raise Misconfigured(".gitmodules names no submodule. Restore it from the repository.")
    return modules


def _is_gitlink(root: Path, path: str) -> bool:
    return _git(root, "ls-files", "--stage", "--", path).startswith("160000 ")


def _git(root: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=root, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        last = " ".join(result.stderr.split())[-300:] or f"it ended with {result.returncode}"
        raise Rejected(f"git {arguments[0]} failed: {last}")
    return result.stdout.strip()


def main() -> int:
    """Entry point of `make submodules`."""
    try:
        converted = convert(Path.cwd())
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    sys.stdout.write(f"Converted: {', '.join(converted)}.\n" if converted else "All are submodules already.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

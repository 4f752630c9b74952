"""`make submodules` on local bare repositories: the tree stays the same, and the README's update steps work."""

import subprocess
from pathlib import Path

import pytest

from alpha.errors import Rejected
from alpha_cli.submodules import convert

ROOT = Path(__file__).resolve().parents[1]
STRATEGIES = ("shortseller", "lxalgo", "momentum")


@pytest.fixture(autouse=True)
def _git_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gitconfig").write_text(
        "[user]\n\tname = Tester\n\temail = tester@localhost\n"
        '[protocol "file"]\n\tallow = always\n[init]\n\tdefaultBranch = main\n[safe]\n\tdirectory = *\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts and path.name != ".git")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A house with three strategies in ordinary folders and a history of two commits, and empty bare repositories."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "--quiet")
    lines = []
    for name in STRATEGIES:
        bare = tmp_path / f"{name}.git"
        git(tmp_path, "init", "--quiet", "--bare", str(bare))
        lines.append(f'[submodule "strategies/{name}"]\n\tpath = strategies/{name}\n\turl = {bare}\n\tbranch = main\n')
        folder = work / "strategies" / name
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"# {name}\n")
    (work / ".gitmodules").write_text("".join(lines))
    (work / ".gitignore").write_text("logs/\n")
    git(work, "add", "-A")
    git(work, "commit", "--quiet", "-m", "first")
    (work / "strategies/shortseller/strategy.py").write_text("RULE = 1\n")
    git(work, "add", "-A")
    git(work, "commit", "--quiet", "-m", "second")
    return work


def test_a_recursive_clone_of_the_converted_house_is_the_same_tree(checkout: Path, tmp_path: Path) -> None:
    (checkout / "strategies/shortseller/logs").mkdir()
    (checkout / "strategies/shortseller/logs/a.log").write_text("kept")
    before = tree(checkout)
    assert convert(checkout) == [f"strategies/{name}" for name in STRATEGIES]
    assert tree(checkout) == before
    git(tmp_path, "clone", "--quiet", "--recurse-submodules", str(checkout), "clone")
    cloned = tree(tmp_path / "clone")
    assert {path: text for path, text in before.items() if not path.endswith(".log")} == cloned
    assert git(tmp_path / "clone/strategies/shortseller", "log", "--format=%s").splitlines() == ["second", "first"]
    assert convert(checkout) == []


def test_the_update_steps_of_the_readme_work_afterwards(checkout: Path, tmp_path: Path) -> None:
    convert(checkout)
    author = tmp_path / "author"
    git(tmp_path, "clone", "--quiet", str(tmp_path / "shortseller.git"), str(author))
    (author / "strategy.py").write_text("RULE = 2\n")
    git(author, "commit", "--quiet", "-am", "a better rule")
    git(author, "push", "--quiet", "origin", "main")
    git(checkout / "strategies/shortseller", "checkout", "--quiet", "main")
    git(checkout / "strategies/shortseller", "pull", "--quiet", "origin", "main")
    git(checkout, "add", "strategies/shortseller")
    git(checkout, "commit", "--quiet", "-m", "Update shortseller to latest")
    git(tmp_path, "clone", "--quiet", "--recurse-submodules", str(checkout), "clone")
    assert (tmp_path / "clone/strategies/shortseller/strategy.py").read_text() == "RULE = 2\n"


def test_a_checkout_with_changes_is_refused(checkout: Path) -> None:
    (checkout / ".gitignore").write_text("changed\n")
    with pytest.raises(Rejected, match="not committed"):
        convert(checkout)


def test_the_house_names_the_repositories_of_its_three_strategies() -> None:
    listing = git(ROOT, "config", "-f", ".gitmodules", "--get-regexp", r"\.url$")
    urls = [line.split()[1] for line in listing.splitlines()]
    assert urls == [
        "https://github.com/LiamX-Labs/shortseller",
        "https://github.com/LiamX-Labs/lxalgo",
        "https://github.com/LiamX-Labs/apex-momentum-trading",
    ]

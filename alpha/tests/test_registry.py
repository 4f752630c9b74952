"""bots.toml: every word that addresses a bot is unique; an error names the field and its required format."""

from pathlib import Path

import pytest

from alpha.errors import Misconfigured
from alpha.registry import check_folders, load_registry
from alpha_cli.main import main
from alpha_cli.scaffold import scaffold

ROOT = Path(__file__).resolve().parents[2]
ENTRY = {
    "id": '"breakout_001"', "name": '"Breakout"', "tag": '"br"', "redis_db": "3", "prefix": '"BREAKOUT"',
    "container": '"breakout"', "folder": '"strategies/breakout"', "entry": '"main.py"',
    "strategy": '"strategies.breakout.strategy:Breakout"',
}  # fmt: skip


def with_fourth(place: Path, /, **instead: str) -> Path:
    """The repository's list with a fourth bot, some of whose fields differ."""
    fields = "".join(f"{name} = {value}\n" for name, value in {**ENTRY, **instead}.items())
    path = place / "bots.toml"
    path.write_text((ROOT / "bots.toml").read_text() + "\n[[bot]]\n" + fields)
    return path


def test_a_fourth_bot_is_welcome(tmp_path: Path) -> None:
    assert load_registry(with_fourth(tmp_path)).find("Breakout").id == "breakout_001"
    named = load_registry(with_fourth(tmp_path, name='"Grüner Bot 2"'))
    assert named.find("grüner-bot_2").id == "breakout_001"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", '"momentum"', "also addresses momentum_001"),
        ("name", '"MOMENTUM-001"', "also addresses momentum_001"),
        ("name", '"ss"', "also addresses shortseller_001"),
        ("id", '"lxalgo"', "also addresses lxalgo_001"),
        ("container", '"momentum_001"', "also addresses momentum_001"),
        ("tag", '"mom"', None),
        ("container", '"trading_redis"', "is the name of a service"),
        ("container", '"risk-guard"', "is the name of a service"),
        ("name", '"Telegram Manager"', "is the name of a service"),
        ("id", '"all"', "is the name of a service"),
        ("prefix", '"C2"', "starts variables of something else"),
        ("prefix", '"REDIS_X"', "starts variables of something else"),
        ("prefix", '"lower"', "capital letters"),
        ("folder", '"../elsewhere"', "a folder of this checkout"),
        ("folder", '"/etc"', "a folder of this checkout"),
        ("folder", '"strategies/../../x"', "a folder of this checkout"),
        ("folder", '"a: b"', "a folder of this checkout"),
        ("entry", '"main.sh"', "a Python file"),
        ("entry", '"../main.py"', "a Python file"),
        ("name", '""', "1 to 40"),
        ("name", '"a\\nb"', "1 to 40"),
        ("name", '"a\\u200bb"', "1 to 40"),
        ("id", '"x\\n"', "3 to 32"),
        ("container", '"x\\n"', "1 to 40"),
        ("redis_db", "true", "a whole number"),
        ("redis_db", "15", "belongs to all"),
        ("redis_db", "4096", "0 to 4095"),
        ("redis_db", "4095", None),
        ("container", '"momentum"', "need the same folder"),
        ("tag", '"g"', "belongs to the guard"),
        ("strategy", '"os"', "module:Class"),
    ],
)
def test_a_word_that_is_wrong_or_somebody_elses_is_refused_in_words(
    tmp_path: Path, field: str, value: str, said: str | None
) -> None:
    path = with_fourth(tmp_path, **{field: value})
    if said is None:
        load_registry(path)
        return
    with pytest.raises(Misconfigured, match=said) as caught:
        load_registry(path)
    assert "\n" not in str(caught.value)
    assert "[a-z]" not in str(caught.value), "a regular expression is no sentence"


def test_a_folder_that_is_not_there_is_named_before_anything_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_folders(load_registry(ROOT / "bots.toml"), ROOT)
    with_fourth(tmp_path)
    assert main(["render", "--root", str(tmp_path)]) == 2
    assert "there is no folder strategies/shortseller" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bots.toml"]
    (tmp_path / "out").mkdir()
    for bot in load_registry(ROOT / "bots.toml").bots:
        entry = tmp_path / bot.folder / bot.entry
        entry.parent.mkdir(parents=True)
        entry.touch()
    (tmp_path / "strategies/breakout").symlink_to("/etc")
    assert main(["render", "--root", str(tmp_path)]) == 2
    assert "strategies/breakout" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["guard", "backup", "momentum001"])
def test_a_new_strategy_whose_name_is_taken_leaves_everything_as_it_was(tmp_path: Path, name: str) -> None:
    path = with_fourth(tmp_path, container='"momentum001"') if name == "momentum001" else tmp_path / "bots.toml"
    if name != "momentum001":
        path.write_text((ROOT / "bots.toml").read_text())
    before = path.read_text()
    with pytest.raises(Misconfigured):
        scaffold(name, tmp_path)
    assert path.read_text() == before
    assert not (tmp_path / "strategies" / name).exists()


def shared(place: Path, count: int, **instead: str) -> Path:
    """The repository's list with a container "pack" of several bots."""
    path = place / "bots.toml"
    text = (ROOT / "bots.toml").read_text()
    for number in range(count):
        fields = {
            **ENTRY, "id": f'"pack_{number:03}"', "name": f'"Pack {number}"', "redis_db": str(16 + number),
            "tag": f'"p{chr(97 + number // 26)}{chr(97 + number % 26)}"', "prefix": f'"PACK{number:03}"',
            "container": '"pack"', "folder": '"strategies/momentum"', "entry": '"trading_system.py"',
        }  # fmt: skip
        if number == 1:
            fields |= instead
        text += "\n[[bot]]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())
    path.write_text(text)
    return path


def test_bots_of_one_container_are_addressed_by_their_own_names(tmp_path: Path) -> None:
    registry = load_registry(shared(tmp_path, 3))
    assert registry.find("pack_001").id == registry.find("Pack 1").id == "pack_001"
    assert [bot.id for bot in registry.containers["pack"]] == ["pack_000", "pack_001", "pack_002"]
    assert registry.is_shared(registry.find("pack_001"))
    assert not registry.is_shared(registry.find("momentum"))
    with pytest.raises(Misconfigured, match="runs 3 bots: pack_000, pack_001, pack_002"):
        registry.find("pack")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", '"Pack"', "also addresses the container pack"),
        ("entry", '"other.py"', "need the same folder and entry"),
    ],
)
def test_a_shared_containers_word_is_no_bots(tmp_path: Path, field: str, value: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        load_registry(shared(tmp_path, 2, **{field: value}))


def test_the_list_may_include_files(tmp_path: Path) -> None:
    path = tmp_path / "bots.toml"
    path.write_text('include = ["bots.d/*.toml"]\n' + (ROOT / "bots.toml").read_text())
    assert len(load_registry(path).bots) == 3, "a pattern may match nothing"
    (tmp_path / "bots.d").mkdir()
    fields = "".join(f"{name} = {value}\n" for name, value in ENTRY.items())
    (tmp_path / "bots.d/more.toml").write_text("[[bot]]\n" + fields)
    assert [bot.id for bot in load_registry(path).bots][3:] == ["breakout_001"]
    (tmp_path / "bots.d/more.toml").write_text("[[bot]]\n" + fields.replace("breakout_001", "momentum_001"))
    with pytest.raises(Misconfigured, match="same id 'momentum_001'"):
        load_registry(path)
    (tmp_path / "bots.d/more.toml").write_text('include = ["bots.d/x.toml"]\n')
    with pytest.raises(Misconfigured, match="cannot include others"):
        load_registry(path)
    for wrong in ('"bots.d/*.toml"', '["/etc/passwd"]', '["bots.d/../x.toml"]', "[1]"):
        path.write_text(f"include = {wrong}\n" + (ROOT / "bots.toml").read_text())
        with pytest.raises(Misconfigured, match="include"):
            load_registry(path)

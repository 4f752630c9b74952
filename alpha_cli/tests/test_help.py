import re

import pytest

from alpha_cli.main import SECTIONS, main


def test_the_help_has_every_command_in_the_section_of_what_a_person_wants(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "\nMore:" not in text, "a new command belongs into a section of alpha_cli/main.py"
    listed = re.findall(r"^  ([a-z][a-z-]+)  ", text, re.MULTILINE)
    assert listed == [name for _, names in SECTIONS for name in names]
    assert "..." not in text.partition("Options:")[2]


@pytest.mark.parametrize("name", [name for _, names in SECTIONS for name in names])
def test_every_command_says_what_it_is_for(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.count("\n") > 5

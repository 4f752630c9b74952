"""The exchange is shared by all tests here, so each of its accounts belongs to one file: another's fills would be counted."""

import re
from collections import defaultdict
from pathlib import Path


def test_no_account_of_the_exchange_is_used_by_two_files() -> None:
    users = defaultdict(set)
    for path in Path(__file__).parent.glob("test_*.py"):
        for key in re.findall(r"key-[0-9]+", path.read_text(encoding="utf-8")):
            users[key].add(path.name)
    assert len(users) > 15
    assert {key: names for key, names in users.items() if len(names) > 1} == {}

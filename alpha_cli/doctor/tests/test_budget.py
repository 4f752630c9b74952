"""The doctor says what a number of accounts needs, and speaks up before the limit is reached."""

import pytest

from alpha_cli.doctor.budget import check_budget
from alpha_cli.doctor.finding import CheckOutcome


@pytest.mark.parametrize(
    ("accounts", "outcome", "said"),
    [
        (3, CheckOutcome.OK, "3 accounts behind one address: 2.6 of 60 requests a second"),
        (60, CheckOutcome.OK, "an audit of each every 10 s"),
        (160, CheckOutcome.NOTE, "About 150 accounts"),
        (300, CheckOutcome.NOTE, "every 40 s"),
    ],
)
async def test_the_load_is_said(accounts: int, outcome: CheckOutcome, said: str) -> None:
    found = [finding async for finding in check_budget(accounts, "")]
    assert found[0].outcome is outcome
    assert said in found[0].text
    assert (len(found) > 1) == (accounts > 20)

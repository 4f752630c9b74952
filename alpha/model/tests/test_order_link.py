import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpha.model.order_link import OrderLink, guard_order_link_id, order_link_id, parse_order_link_id
from alpha.model.reason import CODES, Reason

ALLOWED = set(string.ascii_letters + string.digits + "_-")
OURS = st.sampled_from(sorted(CODES))


@given(
    reason=OURS, account=st.text(), symbol=st.text(), bar_ms=st.integers(0), intent=st.text(), attempt=st.integers(1)
)
def test_every_id_fits_the_exchange_and_reads_back(
    reason: Reason, account: str, symbol: str, bar_ms: int, intent: str, attempt: int
) -> None:
    def make(tries: int) -> str:
        return order_link_id("abc", reason, account=account, symbol=symbol, bar_ms=bar_ms, intent=intent, attempt=tries)

    link = make(attempt)
    assert len(link) <= 36
    assert set(link) <= ALLOWED
    assert parse_order_link_id(link) == OrderLink("abc", reason)
    assert make(attempt) == link
    assert make(attempt + 1) != link


def test_an_order_of_the_guard_is_known_by_its_tag() -> None:
    link = guard_order_link_id(Reason.KILL_SWITCH, account="demo:1", symbol="BTCUSDT", command_id="c", attempt=1)
    assert parse_order_link_id(link) == OrderLink("g", Reason.KILL_SWITCH)


@pytest.mark.parametrize("text", ["", "manual", "ss-zz-" + "0" * 24, "ss-en-" + "0" * 23, "SS-en-" + "0" * 24])
def test_a_foreign_id_is_not_mistaken_for_ours(text: str) -> None:
    assert parse_order_link_id(text) is None


def test_the_exchanges_own_reasons_have_no_id() -> None:
    with pytest.raises(ValueError, match="exchange's own"):
        order_link_id("ss", Reason.LIQUIDATION, account="a", symbol="s", bar_ms=0, intent="i")


def test_an_intent_has_the_same_id_in_every_release() -> None:
    """A repeat after an upgrade must be refused by the exchange, so the digest never changes."""
    link = order_link_id(
        "ss", Reason.ENTRY, account="live:1", symbol="BTCUSDT", bar_ms=1_735_689_600_000, intent="enter"
    )
    assert link == "ss-en-wrnagk690yhqnivhvqyip3jf"
    of_guard = guard_order_link_id(Reason.STOP_LOSS, account="live:1", symbol="BTCUSDT", command_id="c1", attempt=1)
    assert of_guard == "g-sl-2vt7hulqu7kpl6sfvu4x6ps2"

from decimal import Decimal

import pytest

from alpha.errors import Misconfigured
from alpha.strategy.parameters import load_parameters, parse_overrides
from tests.support.strategy_samples import ScriptParameters


def test_a_variable_with_the_prefix_sets_a_parameter_and_an_override_goes_before_it() -> None:
    environment = {"TOY_PERIOD": "20", "TOY_SHARE": "0.25", "TOY_LEVELS": '{"BTCUSDT": "0.01"}', "PERIOD": "7"}
    found = load_parameters(ScriptParameters, environment=environment, prefix="TOY", overrides={"period": "30"})
    assert found == ScriptParameters(period=30, share=Decimal("0.25"), levels={"BTCUSDT": Decimal("0.01")})


def test_one_variable_can_hold_all_parameters_and_a_single_one_goes_before_it() -> None:
    environment = {"TOY_PARAMETERS": '{"period": 20, "share": 0.1, "levels": {"A": 0.3}}', "TOY_PERIOD": "40"}
    found = load_parameters(ScriptParameters, environment=environment, prefix="TOY")
    assert found == ScriptParameters(period=40, share=Decimal("0.1"), levels={"A": Decimal("0.3")})


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TOY_PERIOD": "0"}, "TOY_PERIOD"),
        ({"TOY_PERIOD": "ten"}, "TOY_PERIOD"),
        ({"TOY_LEVELS": "{nonsense"}, "TOY_LEVELS"),
        ({"TOY_PARAMETERS": "period=3"}, "TOY_PARAMETERS"),
        ({"TOY_PARAMETERS": '{"perod": 3}'}, "perod"),
    ],
)
def test_a_wrong_value_names_its_variable(environment: dict[str, str], named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        load_parameters(ScriptParameters, environment=environment, prefix="TOY")


def test_an_unknown_parameter_names_those_that_exist() -> None:
    with pytest.raises(Misconfigured, match="period, share, levels"):
        load_parameters(ScriptParameters, overrides={"perod": "3"})


def test_an_override_without_a_value_says_how_to_write_it() -> None:
    with pytest.raises(Misconfigured, match="key=value"):
        parse_overrides(["period"])
    assert parse_overrides(["period=3", "levels={}"]) == {"period": "3", "levels": "{}"}


def test_parameters_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ScriptParameters().period = 3

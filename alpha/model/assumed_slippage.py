"""What a back-test assumes that a market order costs beside the fee, unless it is told otherwise."""

from decimal import Decimal

#: Basis points of the price.
ASSUMED_SLIPPAGE_BPS = Decimal(2)

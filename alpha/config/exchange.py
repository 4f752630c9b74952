"""Which exchange is used, and the real-money gate."""

from typing import Any

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from alpha.config.loader import _THOUSANDS, Names, Settings, Url
from alpha.config.regions import GLOBAL, RegionName, names_bybit
from alpha.errors import shown
from alpha.model.account import Environment as Environment


class ExchangeSettings(Settings):
    """Which exchange: Bybit's live, demo or testnet, or a simulated one; and whether real money may move."""

    bybit_demo: bool = Field(True, description="true for Bybit's demo trading, false otherwise")
    bybit_testnet: bool = Field(False, description="true for Bybit's testnet, false otherwise")
    bybit_region: RegionName = Field(GLOBAL, description="the Bybit site where the accounts are registered")
    bybit_rest_url: Url | None = Field(
        None, description="The REST address of a simulated exchange", pattern="^https?://"
    )
    bybit_ws_url: Url | None = Field(
        None, description="The WebSocket address of a simulated exchange", pattern="^wss?://"
    )
    alpha_live_trading: Names = Field(
        (), description="the ids of the bots that may trade real money, separated by commas"
    )
    alpha_live_max_order_usdt: str | None = Field(
        None, description="The largest order in USDT that may be sent with real money", pattern=r"^\d+(\.\d+)?$"
    )

    alpha_egress: str = Field(
        "",
        description="the name of the outgoing IP address, where several are used; each has its own request budget",
        pattern="^[a-z0-9-]{0,32}$",
    )

    @field_validator("alpha_live_max_order_usdt", mode="before")
    @classmethod
    def _largest_order(cls, value: Any) -> Any:
        return value.replace(",", "") if isinstance(value, str) and _THOUSANDS.fullmatch(value.strip()) else value

    @model_validator(mode="after")
    def _one_exchange(self) -> "ExchangeSettings":
        if (self.bybit_rest_url is None) != (self.bybit_ws_url is None):
            raise ValueError(
                "BYBIT_REST_URL and BYBIT_WS_URL belong together: set both for a simulated exchange, or neither for Bybit."
            )
        if self.bybit_rest_url is None and self.bybit_demo and self.bybit_testnet:
            raise ValueError(
                "BYBIT_DEMO and BYBIT_TESTNET are both true, and no exchange is both. Set one of them to false."
            )
        for name, url in (("BYBIT_REST_URL", self.bybit_rest_url), ("BYBIT_WS_URL", self.bybit_ws_url)):
            if url is not None and names_bybit(url):
                raise ValueError(
                    f"{name} names {shown(url)}, a host of Bybit. It is for a simulated exchange only: "
                    "remove it and choose Bybit with BYBIT_DEMO and BYBIT_TESTNET."
                )
        return self

    def environment(self, *, demo: bool | None = None) -> Environment:
        """The environment of a bot. `demo` is the bot's own `<PREFIX>_BYBIT_DEMO`, which overrides BYBIT_DEMO."""
        if self.bybit_rest_url is not None:
            return Environment.SIMULATED
        if self.bybit_testnet:
            return Environment.TESTNET
        return Environment.DEMO if (self.bybit_demo if demo is None else demo) else Environment.LIVE

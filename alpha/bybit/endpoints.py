"""The calls our services make: pybit's name, the limit per second, and whether a repeat is harmless."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One REST call.

    `method` is the name in pybit's HTTP. `per_second` is Bybit's limit per user and endpoint for the default tier
    (None: only the limit per IP address counts). `write` changes something at the exchange; `repeatable` says that
    sending the same write twice leaves the same state as sending it once.
    """

    path: str
    method: str
    per_second: int | None
    signed: bool = True
    write: bool = False
    repeatable: bool = True


SERVER_TIME = Endpoint("market/time", "get_server_time", None, signed=False)
INSTRUMENTS = Endpoint("market/instruments-info", "get_instruments_info", None, signed=False)
TICKERS = Endpoint("market/tickers", "get_tickers", None, signed=False)
RECENT_TRADES = Endpoint("market/recent-trade", "get_public_trade_history", None, signed=False)
KLINE = Endpoint("market/kline", "get_kline", None, signed=False)
FUNDING_HISTORY = Endpoint("market/funding/history", "get_funding_rate_history", None, signed=False)
OPEN_INTEREST = Endpoint("market/open-interest", "get_open_interest", None, signed=False)
SYSTEM_STATUS = Endpoint("system/status", "get_system_status", None, signed=False)

KEY_INFO = Endpoint("user/query-api", "get_api_key_information", 10)
SUB_MEMBERS = Endpoint("user/query-sub-members", "get_sub_uid_list", 10)
WALLET = Endpoint("account/wallet-balance", "get_wallet_balance", 50)
ACCOUNT_INFO = Endpoint("account/info", "get_account_info", 50)
USER_SETTINGS = Endpoint("account/user-setting-config", "get_user_setting_config", 50)
TRANSACTION_LOG = Endpoint("account/transaction-log", "get_transaction_log", 25)
FEE_RATES = Endpoint("account/fee-rate", "get_fee_rates", 5)
POSITIONS = Endpoint("position/list", "get_positions", 50)
CLOSED_PNL = Endpoint("position/closed-pnl", "get_closed_pnl", 50)
OPEN_ORDERS = Endpoint("order/realtime", "get_open_orders", 50)
ORDER_HISTORY = Endpoint("order/history", "get_order_history", 50)
EXECUTIONS = Endpoint("execution/list", "get_executions", 50)

CREATE_ORDER = Endpoint("order/create", "place_order", 10, write=True, repeatable=False)
AMEND_ORDER = Endpoint("order/amend", "amend_order", 10, write=True)
CANCEL_ORDER = Endpoint("order/cancel", "cancel_order", 10, write=True)
CANCEL_ALL = Endpoint("order/cancel-all", "cancel_all_orders", 10, write=True)
SET_LEVERAGE = Endpoint("position/set-leverage", "set_leverage", 10, write=True)
SWITCH_MODE = Endpoint("position/switch-mode", "switch_position_mode", 10, write=True)
TRADING_STOP = Endpoint("position/trading-stop", "set_trading_stop", 10, write=True)
SET_MARGIN_MODE = Endpoint("account/set-margin-mode", "set_margin_mode", 5, write=True)

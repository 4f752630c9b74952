"""Account, user, asset and system endpoints."""

from decimal import Decimal

from exchange_simulator.engine import settings
from exchange_simulator.engine.model import ZERO, LedgerLine, Refused, SessionSettled
from exchange_simulator.keys import PERMISSIONS, Key
from exchange_simulator.render import Row, ledger_row, settlement_row, text, wallet_row
from exchange_simulator.rest.args import ANY_SYMBOL, CATEGORY, CURSOR, WINDOW, Param, check, limit
from exchange_simulator.rest.endpoint import DAY_MS, DEMO, Call, Endpoint
from exchange_simulator.storage import ledger_kind

COINS = ("USDT", "USDC")
LEDGER_KINDS = ("TRADE", "SETTLEMENT", "DELIVERY", "LIQUIDATION", "ADL", "TRANSFER_IN", "TRANSFER_OUT")
LEDGER_COINS = (*COINS, "MNT")
APPLY_CAPS = {"USDT": Decimal(100_000), "USDC": Decimal(100_000), "BTC": Decimal(15), "ETH": Decimal(200)}


def wallet_balance(call: Call) -> Row:
    if call.args.text("accountType") != "UNIFIED":
        raise Refused(10001, "params error: accountType only support UNIFIED.")
    account = call.account
    row = wallet_row(call.exchange.engine.wallet_view(account))
    coins = [coin.strip() for coin in call.args.text("coin").split(",") if coin.strip()]
    if coins:
        row["coin"] = [coin for coin in row["coin"] if coin["coin"] in coins]
    return {"list": [row]}


def account_info(call: Call) -> Row:
    account = call.account
    return {
        "unifiedMarginStatus": 5,
        "marginMode": account.margin_mode,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
        "updatedTime": str(account.updated_ms),
        "dcpStatus": "ON" if _protected(call) else "OFF",
        "timeWindow": 0,
        "smpGroup": 0,
    }


def _protected(call: Call) -> bool:
    """Whether disconnect protection (DCP) is on for the account."""
    return any(key.dcp for key in call.exchange.keys.values() if key.uid == call.account.uid)


def dcp_info(call: Call) -> Row:
    """The products for which disconnect protection is set up; none where it never was."""
    rows = [{"product": "DERIVATIVES", "dcpStatus": "ON", "timeWindow": "10"}] if _protected(call) else []
    return {"dcpInfos": rows}


def fee_rate(call: Call) -> Row:
    account = call.account
    if account.demo:
        raise Refused(10001, DEMO)
    if not call.linear:
        return {"category": call.args.text("category"), "list": []}
    chosen = [call.symbol()] if call.args.text("symbol") else list(call.exchange.market.instruments)
    return {
        "category": call.args.text("category"),
        "list": [
            {
                "symbol": symbol,
                "baseCoin": "",
                "takerFeeRate": text(account.taker_fee),
                "makerFeeRate": text(account.maker_fee),
            }
            for symbol in chosen
        ],
    }


def transaction_log(call: Call) -> Row:
    args = call.args
    coin = args.text("currency")
    if coin not in ("", *LEDGER_COINS) or args.text("category") not in ("", "linear"):
        return {"list": [], "nextPageCursor": ""}
    start, end = call.window(default_ms=DAY_MS)
    if args.text("transSubType"):  # no ledger line here has one
        return {"list": [], "nextPageCursor": ""}
    kind = args.text("type")
    kinds = tuple(
        ledger_kind(each, of)
        for each in ((kind,) if kind else LEDGER_KINDS)
        for of in ((coin,) if coin else LEDGER_COINS)
    )
    base = args.text("baseCoin")
    symbols = tuple(s for s, i in call.exchange.market.instruments.items() if i.base_coin == base) if base else ()
    if args.text("category") and not symbols:
        symbols = tuple(call.exchange.market.instruments)
    query = call.history(args.integer("limit"), from_ms=start, to_ms=end, symbols=symbols, kinds=kinds)
    page = call.exchange.storage.page("ledger", query, LedgerLine)
    return {"list": [ledger_row(line) for line in page.rows], "nextPageCursor": page.cursor}


def set_margin_mode(call: Call) -> Row:
    try:
        settings.set_margin_mode(call.exchange.engine, call.account, call.args.text("setMarginMode"))
    except settings.MarginModeRefused as refusal:
        refusal.result = {"reasons": [{"reasonCode": str(refusal.code), "reasonMsg": refusal.message}]}
        raise
    return {"reasons": []}


def collateral_info(call: Call) -> Row:
    wanted = call.args.text("currency")
    return {
        "list": [
            {
                "currency": coin,
                "hourlyBorrowRate": "0",
                "maxBorrowingAmount": "0",
                "freeBorrowingLimit": "0",
                "freeBorrowAmount": "0",
                "borrowAmount": "0",
                "otherBorrowAmount": "0",
                "availableToBorrow": "0",
                "borrowable": False,
                "freeBorrowingAmount": "0",
                "borrowUsageRate": "0",
                "marginCollateral": True,
                "collateralSwitch": True,
                "collateralRatio": "1",
            }
            for coin in COINS
            if wanted in ("", coin)
        ]
    }


def user_settings(call: Call) -> Row:
    """User settings: prices outside the band are refused; whether fees are paid in MNT (`fmsef` for contracts)."""
    return {"lpaSpot": False, "lpaPerp": True, "deltaEnable": False, "smsef": False, "fmsef": call.account.mnt_fees}


def apply_money(call: Call) -> Row:
    """Adds (`adjustType` 0) or removes (1) demo funds."""
    sign = -1 if call.args.integer("adjustType") == 1 else 1
    wanted = call.args.items("utaDemoApplyMoney")
    if not wanted:
        raise Refused(10001, "params error: utaDemoApplyMoney is required")
    for entry in wanted:
        if not isinstance(entry, dict):
            raise Refused(10001, "params error: utaDemoApplyMoney must hold JSON objects")
        sent = check((Param("coin", required=True), Param("amountStr", "number", required=True)), entry)
        coin, amount = sent.text("coin"), sent.number("amountStr") or ZERO
        if coin not in COINS:
            raise Refused(10001, f"params error: this exchange keeps USDT and USDC, not {coin}")
        if not 0 < amount <= APPLY_CAPS[coin]:
            raise Refused(10001, f"params error: amountStr must be above 0 and at most {APPLY_CAPS[coin]}")
        call.exchange.engine.transfer(call.account, amount * sign, coin)
    return {}


def key_information(call: Call) -> Row:
    key: Key | None = call.key
    if key is None:
        raise Refused(10003, "API key is invalid.")
    permissions = {
        name: list(grants) if key.allows(name) or (name == "Options" and key.allows("Options")) else []
        for name, grants in PERMISSIONS.items()
    }
    permissions["Wallet"] = list(key.wallet_permissions)
    return {
        "id": str(key.uid),
        "note": "simulated",
        "apiKey": key.api_key,
        "readOnly": int(key.read_only),
        "secret": "",
        "permissions": permissions,
        "ips": list(key.ips) or ["*"],
        "type": 1,
        "deadlineDay": 90,
        "expiredAt": f"{key.ends:%Y-%m-%dT%H:%M:%SZ}",
        "createdAt": "2024-01-01T00:00:00Z",
        "unified": 0,
        "uta": 1,
        "userID": key.uid,
        "userIDInt64": key.uid,
        "inviterID": 0,
        "inviterIDInt64": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "affiliateIDInt64": 0,
        "rsaPublicKey": "",
        "isMaster": not key.parent,
        "parentUid": str(key.parent),
        "kycLevel": "LEVEL_1",
        "kycRegion": "",
    }


def sub_members(call: Call) -> Row:
    """The sub-accounts of a main account; as on Bybit its key needs a right to transfer or to withdraw."""
    key: Key | None = call.key
    if key is None or key.parent or not key.wallet_permissions:
        raise Refused(10005, "Permission denied, please check your API key permissions.")
    found = {each.uid: each.api_key for each in call.exchange.keys.values() if each.parent == key.uid}
    return {
        "subMembers": [
            {"uid": str(uid), "username": name, "memberType": 1, "status": 1, "remark": ""}
            for uid, name in found.items()
        ]
    }


def coin_info(call: Call) -> Row:
    wanted = call.args.text("coin")
    chain = {
        "chain": "ETH",
        "chainType": "ERC20",
        "confirmation": "6",
        "withdrawFee": "1",
        "depositMin": "0",
        "withdrawMin": "10",
        "withdrawMax": "1000000",
        "minAccuracy": "4",
        "chainDeposit": "0",
        "chainWithdraw": "0",
        "withdrawPercentageFee": "0",
        "contractAddress": "",
        "safeConfirmNumber": "6",
    }
    return {
        "rows": [
            {"name": coin, "coin": coin, "remainAmount": "0", "chains": [chain]}
            for coin in COINS
            if wanted in ("", coin)
        ]
    }


def system_status(call: Call) -> Row:
    wanted, state = call.args.text("id"), call.args.text("state")
    rows = call.exchange.maintenance.rows()
    return {"list": [row for row in rows if wanted in ("", row["id"]) and state in ("", row["state"])]}


def settlements(call: Call) -> Row:
    """P&L realised by session settlement of USDC contracts."""
    args = call.args
    if not call.linear:
        return no_records(call)
    start, end = call.window(default_ms=30 * DAY_MS, most_ms=30 * DAY_MS)
    query = call.history(args.integer("limit"), from_ms=start, to_ms=end, symbols=call.symbols())
    page = call.exchange.storage.page("settlements", query, SessionSettled)
    rows = [settlement_row(row) for row in page.rows]
    return {"category": args.text("category"), "nextPageCursor": page.cursor, "list": rows}


def no_records(call: Call) -> Row:
    """An empty list, for records that never occur here."""
    return {"category": call.args.text("category"), "nextPageCursor": "", "list": []}


def no_loans(call: Call) -> Row:
    return {"list": [], "nextPageCursor": ""}


def announcements(call: Call) -> Row:
    return {"total": 0, "list": []}


_ACCOUNT = "/v5/account"
ENDPOINTS = (
    Endpoint(
        "GET",
        f"{_ACCOUNT}/wallet-balance",
        wallet_balance,
        (Param("accountType", required=True), Param("coin")),
        calls=50,
    ),
    Endpoint("GET", f"{_ACCOUNT}/info", account_info, calls=50),
    Endpoint("GET", f"{_ACCOUNT}/user-setting-config", user_settings, calls=50),
    Endpoint("GET", f"{_ACCOUNT}/fee-rate", fee_rate, (CATEGORY, ANY_SYMBOL, Param("baseCoin")), calls=5),
    Endpoint(
        "GET",
        f"{_ACCOUNT}/transaction-log",
        transaction_log,
        (
            Param("accountType", default="UNIFIED"),
            Param("category", choices=("linear", "inverse", "spot", "option")),
            Param("currency"),
            Param("baseCoin"),
            Param("type"),
            Param("transSubType"),
            *WINDOW,
            limit(20, 50),
            CURSOR,
        ),
        calls=25,
    ),
    Endpoint(
        "POST",
        f"{_ACCOUNT}/set-margin-mode",
        set_margin_mode,
        (Param("setMarginMode", required=True),),
        writes=True,
        calls=5,
    ),
    Endpoint("GET", f"{_ACCOUNT}/collateral-info", collateral_info, (Param("currency"),), calls=50),
    Endpoint(
        "POST",
        f"{_ACCOUNT}/demo-apply-money",
        apply_money,
        (Param("adjustType", "int", choices=("0", "1"), default=0), Param("utaDemoApplyMoney", "list")),
        calls=1,
        window_s=60,
    ),
    Endpoint("GET", "/v5/user/query-api", key_information, calls=10),
    Endpoint("GET", "/v5/user/query-sub-members", sub_members, calls=10),
    Endpoint("GET", "/v5/asset/coin/query-info", coin_info, (Param("coin"),), calls=5),
    Endpoint(
        "GET",
        "/v5/asset/delivery-record",
        no_records,
        (CATEGORY, ANY_SYMBOL, *WINDOW, Param("expDate"), limit(20, 50), CURSOR),
        calls=50,
    ),
    Endpoint(
        "GET",
        "/v5/asset/settlement-record",
        settlements,
        (CATEGORY, ANY_SYMBOL, *WINDOW, limit(20, 50), CURSOR),
        calls=50,
    ),
    Endpoint(
        "GET", f"{_ACCOUNT}/borrow-history", no_loans, (Param("currency"), *WINDOW, limit(20, 50), CURSOR), calls=50
    ),
    Endpoint("GET", f"{_ACCOUNT}/query-dcp-info", dcp_info, (), calls=5),
    Endpoint("GET", "/v5/system/status", system_status, (Param("id"), Param("state")), private=False),
    Endpoint(
        "GET",
        "/v5/announcements/index",
        announcements,
        (Param("locale"), Param("type"), Param("tag"), Param("page", "int", low=1), limit(20, 1000)),
        private=False,
    ),
)

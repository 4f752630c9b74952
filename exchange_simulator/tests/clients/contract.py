"""Bybit's V5 API contract for linear perpetuals as tables: every supported call and topic with its fields and types.

Kinds of values
    text    a string
    number  a string containing a decimal, or empty where not applicable
    ms      a string of UTC milliseconds, or empty, or "0"
    int, bool, list, object   the JSON type itself
    any     documented with more than one type
A `Row` checks that every field is present with its type and that there is no field that Bybit does not document.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

Value = str | int | bool | float | None | list["Value"] | dict[str, "Value"]
Query = Mapping[str, Value]


@dataclass(frozen=True)
class Row:
    """Fields of an object by kind; `optional` ones may be absent; `parts` are nested objects or lists of objects."""

    kinds: Mapping[str, str]
    optional: frozenset[str] = frozenset()
    parts: Mapping[str, "Row"] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of documented fields, those of the parts included."""
        return len(self.kinds) + sum(part.size for part in self.parts.values())

    def without(self, *names: str) -> "Row":
        """A copy of the row without some fields."""
        return Row({key: kind for key, kind in self.kinds.items() if key not in names}, self.optional, self.parts)

    def faults(self, value: Value, where: str) -> Iterator[str]:
        """The faults of a value, one sentence each."""
        if not isinstance(value, dict):
            yield f"{where} is {type(value).__name__}, not an object"
            return
        known = {*self.kinds, *self.parts}
        for name in sorted(known - set(value) - self.optional):
            yield f"{where}.{name} is missing"
        for name in sorted(set(value) - known):
            yield f"{where}.{name} is not documented"
        for name, kind in self.kinds.items():
            if name in value and not is_kind(kind, value[name]):
                yield f"{where}.{name} must be {kind}, is {value[name]!r}"
        for name, part in self.parts.items():
            inner = value.get(name)
            for number, each in enumerate(inner if isinstance(inner, list) else [inner]):
                if name in value:
                    yield from part.faults(each, f"{where}.{name}[{number}]")


def is_kind(kind: str, value: Value) -> bool:
    """Whether a JSON value is of the kind."""
    match kind:
        case "text":
            return isinstance(value, str)
        case "number":
            return isinstance(value, str) and (value == "" or _is_decimal(value))
        case "ms":
            return isinstance(value, str) and (value in ("", "0") or (value.isdigit() and len(value) == 13))
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "list":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "any":
            return True
        case _:
            raise ValueError(f"unknown kind {kind}")


def _is_decimal(text: str) -> bool:
    try:
        return Decimal(text).is_finite() and "e" not in text.lower()
    except InvalidOperation:
        return False


def row(parts: Mapping[str, Row] | None = None, optional: str = "", **kinds: str) -> Row:
    """A `Row` from names by kind: `row(text="symbol side", number="price qty", int="seq")`."""
    by_name = {name: kind for kind, names in kinds.items() for name in names.split()}
    return Row(by_name, frozenset(optional.split()), parts or {})


# Enumerated fields, with the values that occur for linear contracts; "" and UNKNOWN where not applicable.
ENUMERATED: Mapping[str, frozenset[str]] = {
    name: frozenset(values.split()) | {""}
    for name, values in {
        "side": "Buy Sell None",
        "orderType": "Market Limit UNKNOWN",
        "timeInForce": "GTC IOC FOK PostOnly RPI",
        "orderStatus": "New PartiallyFilled Untriggered Rejected Filled Cancelled Triggered Deactivated",
        "createType": """CreateByUser CreateByClosing CreateBySettle CreateByStopOrder CreateByTakeProfit
            CreateByPartialTakeProfit CreateByStopLoss CreateByPartialStopLoss CreateByTrailingStop
            CreateByTrailingProfit CreateByLiq CreateByTakeOver_PassThrough CreateByAdl_PassThrough""",
        "stopOrderType": "TakeProfit StopLoss TrailingStop Stop PartialTakeProfit PartialStopLoss MmRateClose UNKNOWN",
        "cancelType": """CancelByUser CancelByReduceOnly CancelByPrepareLiq CancelAllBeforeLiq CancelByPrepareAdl
            CancelAllBeforeAdl CancelByAdmin CancelBySettle CancelByTpSlTsClear CancelBySmp CancelByDCP
            CancelByOCOTpCanceledBySlTriggered CancelByOCOSlCanceledByTpTriggered UNKNOWN""",
        "rejectReason": """EC_NoError EC_Others EC_PostOnlyWillTakeLiquidity EC_NoImmediateQtyToFill EC_NoEnoughQtyToFill
            EC_CancelForNoFullFill EC_OrigClOrdIDDoesNotExist EC_TooLateToCancel EC_PerCancelRequest EC_BySelfMatch
            EC_DuplicatedClOrdID EC_ReachRiskPriceLimit EC_ReachMarketPriceLimit EC_InvalidSymbolStatus
            EC_ReachMaxTradeNum EC_QtyCannotBeZero EC_OrderNotExist""",
        "execType": "Trade AdlTrade Funding BustTrade Delivery Settle CorporateAction SessionSettlePnL",
        "triggerBy": "LastPrice IndexPrice MarkPrice",
        "tpTriggerBy": "LastPrice IndexPrice MarkPrice",
        "slTriggerBy": "LastPrice IndexPrice MarkPrice",
        "tpslMode": "Full Partial",
        "smpType": "None CancelMaker CancelTaker CancelBoth",
        "slippageToleranceType": "TickSize Percent UNKNOWN",
        "positionStatus": "Normal Liq Adl",
        "type": "TRANSFER_IN TRANSFER_OUT TRADE SETTLEMENT DELIVERY LIQUIDATION ADL",
    }.items()
}


def unlisted(value: Mapping[str, Value]) -> list[str]:
    """The enumerated fields of a row whose value is not documented."""
    return [f"{name} {value[name]}" for name, known in ENUMERATED.items() if value.get(name, "") not in known]


NOTHING = row()
ENVELOPE = row(int="retCode time", text="retMsg", object="retExtInfo result")

# --- rows shared by calls and topics ----------------------------------------------------------------------------------

ORDER = row(
    text="""orderId orderLinkId parentOrderLinkId blockTradeId symbol side isLeverage orderStatus createType cancelType
        rejectReason timeInForce orderType stopOrderType orderIv marketUnit tpslMode ocoTriggerBy tpTriggerBy
        slTriggerBy triggerBy placeType smpType smpOrderId slippageToleranceType""",
    number="""price qty avgPrice leavesQty leavesValue cumExecQty cumExecValue cumExecFee triggerPrice takeProfit
        stopLoss tpLimitPrice slLimitPrice lastPriceOnCreated slippageTolerance rpiMatchedQty basePrice""",
    int="positionIdx triggerDirection smpGroup",
    bool="reduceOnly closeOnTrigger rpiTakerAccess",
    ms="createdTime updatedTime",
    object="cumFeeDetail",
    any="extraFees",
    optional="slippageToleranceType slippageTolerance extraFees rpiTakerAccess rpiMatchedQty basePrice",
)
ORDER_PUSH = Row(
    {
        **{name: kind for name, kind in ORDER.kinds.items() if name != "basePrice"},
        "category": "text",
        "closedPnl": "number",
        "feeCurrency": "text",
        "brokerOrderPrice": "number",
    },
    frozenset({"slippageToleranceType", "slippageTolerance", "extraFees", "brokerOrderPrice"}),
)
EXECUTION = row(
    text="""symbol orderId orderLinkId side createType orderType stopOrderType execId execType feeCurrency
        blockTradeId""",
    number="""orderPrice orderQty leavesQty execFee execFeeV2 execPrice execQty execValue feeRate tradeIv markIv
        markPrice indexPrice underlyingPrice closedSize""",
    ms="execTime",
    bool="isMaker",
    int="seq",
    any="extraFees",
)
EXECUTION_PUSH = row(
    text="""category symbol orderId orderLinkId side execId execType createType orderType stopOrderType feeCurrency
        blockTradeId isLeverage marketUnit""",
    number="""execPrice execQty execValue execFee feeRate orderPrice orderQty leavesQty closedSize execPnl markPrice
        indexPrice underlyingPrice tradeIv markIv""",
    ms="execTime",
    bool="isMaker",
    int="seq",
    list="extraFees",
)
FAST_EXECUTION = row(
    text="category symbol orderId orderLinkId execId side",
    number="execPrice execQty",
    ms="execTime",
    bool="isMaker",
    int="seq",
)
_POSITION_NUMBERS = """riskLimitValue size positionValue leverage breakEvenPrice markPrice liqPrice bustPrice positionIM
    positionIMByMp positionMM positionMMByMp positionBalance takeProfit stopLoss trailingStop sessionAvgPrice delta
    gamma vega theta unrealisedPnl curRealisedPnl cumRealisedPnl"""
POSITION = row(
    text="symbol side positionStatus tpslMode",
    number=f"avgPrice {_POSITION_NUMBERS}",
    int="positionIdx riskId autoAddMargin adlRankIndicator openTime seq tradeMode",
    ms="createdTime updatedTime mmrSysUpdatedTime leverageSysUpdatedTime",
    bool="isReduceOnly",
)
POSITION_PUSH = row(
    text="category symbol side positionStatus tpslMode",
    number=f"entryPrice {_POSITION_NUMBERS}",
    int="positionIdx riskId autoAddMargin adlRankIndicator openTime seq tradeMode",
    ms="createdTime updatedTime mmrSysUpdatedTime leverageSysUpdatedTime",
    bool="isReduceOnly",
)
COIN = row(
    text="coin",
    number="""equity usdValue walletBalance locked spotHedgingQty borrowAmount accruedInterest totalOrderIM
        totalPositionIM totalPositionMM unrealisedPnl cumRealisedPnl bonus colRes spotBorrow free availableToWithdraw
        availableToBorrow""",
    bool="marginCollateral collateralSwitch",
    optional="free",
)
WALLET = row(
    text="accountType",
    number="""accountIMRate accountIMRateByMp accountMMRate accountMMRateByMp totalEquity totalWalletBalance
        totalMarginBalance totalAvailableBalance totalPerpUPL totalInitialMargin totalInitialMarginByMp
        totalMaintenanceMargin totalMaintenanceMarginByMp accountLTV""",
    parts={"coin": COIN},
)
_TICKER_NUMBERS = """lastPrice indexPrice markPrice prevPrice24h price24hPcnt highPrice24h lowPrice24h prevPrice1h
    openInterest openInterestValue singleOpenInterest singleOpenInterestValue turnover24h volume24h fundingRate
    predictedDeliveryPrice basisRate basis basisRateYear deliveryFeeRate bid1Price bid1Size ask1Price ask1Size
    preOpenPrice preQty fundingIntervalHour fundingCap"""
TICKER = row(text="symbol curPreListingPhase", number=_TICKER_NUMBERS, ms="nextFundingTime deliveryTime")

# --- REST -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A REST call. `query` is sent as query or body, `{symbol}` filled in; `page` holds the rows in `rows_key`.

    `columns` is for lists of lists: the kind of each column. `may_be_empty`: the response may have no row to check.
    """

    method: str
    path: str
    query: Query
    result: Row = NOTHING
    page: Row | None = None
    rows_key: str = "list"
    columns: tuple[str, ...] = ()
    signed: bool = True
    may_be_empty: bool = False
    code: int = 0  # the documented retCode when it is not success

    @property
    def size(self) -> int:
        """Number of documented fields of the response, without the envelope."""
        return self.result.size + (self.page.size if self.page else 0) + len(self.columns)


LINEAR: Query = {"category": "linear"}
ON_SYMBOL: Query = {"category": "linear", "symbol": "{symbol}"}
_KLINE: Query = {**ON_SYMBOL, "interval": "5", "limit": 3}
_PRICE = ("ms", "number", "number", "number", "number")
_PAGE = row(text="category nextPageCursor", list="list")

INSTRUMENT = row(
    text="symbol contractType status baseCoin quoteCoin settleCoin symbolType copyTrading displayName marketRegion",
    number="priceScale deliveryFeeRate upperFundingRate lowerFundingRate",
    ms="launchTime deliveryTime",
    int="symbolId fundingInterval",
    bool="unifiedMarginTrade isPreListing forbidUplWithdrawal",
    any="preListingInfo",
    optional="forbidUplWithdrawal",
    parts={
        "leverageFilter": row(number="minLeverage maxLeverage leverageStep"),
        "priceFilter": row(number="minPrice maxPrice tickSize"),
        "lotSizeFilter": row(
            number="qtyStep minOrderQty maxOrderQty maxMktOrderQty minNotionalValue postOnlyMaxOrderQty"
        ),
        "riskParameters": row(number="priceLimitRatioX priceLimitRatioY"),
    },
)
RISK_LIMIT = row(
    int="id isLowestRisk",
    text="symbol",
    number="riskLimitValue maintenanceMargin initialMargin maxLeverage mmDeduction",
)
TRADE = row(text="execId symbol side", number="price size", ms="time", bool="isBlockTrade isRPITrade", any="seq")
CLOSED = row(
    text="symbol orderId side orderType execType",
    number="""qty orderPrice closedSize cumEntryValue avgEntryPrice cumExitValue avgExitPrice closedPnl fillCount
        leverage openFee closeFee""",
    ms="createdTime updatedTime",
)
LEDGER = row(
    text="id symbol category side type transSubType currency tradeId orderId orderLinkId",
    number="qty size tradePrice funding fee cashFlow change cashBalance feeRate bonusChange",
    ms="transactionTime",
    any="extraFees",
)
SUB_MEMBER = row(text="uid username remark", int="memberType status")
KEY = row(
    text="""id note apiKey secret expiredAt createdAt vipLevel mktMakerLevel rsaPublicKey parentUid kycLevel
        kycRegion""",
    int="""readOnly type deadlineDay userID userIDInt64 inviterID inviterIDInt64 affiliateID affiliateIDInt64 uta""",
    bool="isMaster",
    any="unified",
    list="ips",
    object="permissions",
    optional="unified deadlineDay",
)
COIN_INFO = row(
    text="name coin",
    number="remainAmount",
    parts={
        "chains": row(
            text="chain chainType contractAddress safeConfirmNumber",
            number="""confirmation withdrawFee depositMin withdrawMin minAccuracy withdrawMax chainDeposit chainWithdraw
                withdrawPercentageFee""",
            optional="contractAddress safeConfirmNumber",
        )
    },
)
COLLATERAL = row(
    text="currency",
    number="""hourlyBorrowRate maxBorrowingAmount freeBorrowingLimit freeBorrowAmount borrowAmount otherBorrowAmount
        freeBorrowingAmount availableToBorrow borrowUsageRate collateralRatio""",
    bool="borrowable marginCollateral collateralSwitch",
)
ORDER_IDS = row(text="orderId orderLinkId")

MARKET_CALLS = (
    Call("GET", "/v5/market/time", {}, row(number="timeSecond timeNano"), signed=False),
    Call(
        "GET",
        "/v5/market/kline",
        _KLINE,
        row(text="category symbol", list="list"),
        columns=(*_PRICE, "number", "number"),
        signed=False,
    ),
    *(
        Call("GET", path, _KLINE, row(text="category symbol", list="list"), columns=_PRICE, signed=False)
        for path in (
            "/v5/market/mark-price-kline",
            "/v5/market/index-price-kline",
            "/v5/market/premium-index-price-kline",
        )
    ),
    Call("GET", "/v5/market/instruments-info", LINEAR, _PAGE, INSTRUMENT, signed=False),
    Call("GET", "/v5/market/tickers", LINEAR, row(text="category", list="list"), TICKER, signed=False),
    Call("GET", "/v5/market/orderbook", ON_SYMBOL, row(text="s", list="a b", int="ts u seq cts"), signed=False),
    Call("GET", "/v5/market/recent-trade", ON_SYMBOL, row(text="category", list="list"), TRADE, signed=False),
    Call(
        "GET",
        "/v5/market/funding/history",
        ON_SYMBOL,
        row(text="category", list="list"),
        row(text="symbol", number="fundingRate", ms="fundingRateTimestamp"),
        signed=False,
    ),
    Call(
        "GET",
        "/v5/market/open-interest",
        {**ON_SYMBOL, "intervalTime": "1h"},
        row(text="symbol category nextPageCursor", list="list"),
        row(number="openInterest singleOpenInterest", ms="timestamp"),
        signed=False,
    ),
    Call("GET", "/v5/market/risk-limit", ON_SYMBOL, _PAGE, RISK_LIMIT, signed=False),
    Call(
        "GET", "/v5/market/price-limit", ON_SYMBOL, row(text="symbol", number="buyLmt sellLmt", ms="ts"), signed=False
    ),
    Call(
        "GET",
        "/v5/market/adlAlert",
        {"symbol": "{symbol}"},
        row(ms="updatedTime", list="list"),
        row(
            text="coin symbol",
            number="balance maxBalance insurancePnlRatio pnlRatio adlTriggerThreshold adlStopRatio",
        ),
        signed=False,
    ),
    Call(
        "GET",
        "/v5/system/status",
        {},
        row(list="list"),
        row(text="id title state begin end href", list="serviceTypes product uidSuffix", any="maintainType env"),
        signed=False,
        may_be_empty=True,
    ),
    Call(
        "GET",
        "/v5/announcements/index",
        {"locale": "en-US"},
        row(int="total", list="list"),
        signed=False,
        may_be_empty=True,
    ),
)
READ_CALLS = (
    Call("GET", "/v5/order/realtime", ON_SYMBOL, _PAGE, ORDER),
    Call("GET", "/v5/order/history", ON_SYMBOL, _PAGE, ORDER),
    Call("GET", "/v5/execution/list", ON_SYMBOL, _PAGE, EXECUTION),
    Call("GET", "/v5/position/list", ON_SYMBOL, _PAGE, POSITION),
    Call("GET", "/v5/position/closed-pnl", ON_SYMBOL, _PAGE, CLOSED),
    Call("GET", "/v5/account/wallet-balance", {"accountType": "UNIFIED"}, row(list="list"), WALLET),
    Call(
        "GET",
        "/v5/account/info",
        {},
        row(
            int="unifiedMarginStatus timeWindow smpGroup",
            text="marginMode spotHedgingStatus dcpStatus",
            bool="isMasterTrader",
            ms="updatedTime",
            optional="dcpStatus timeWindow smpGroup",
        ),
    ),
    Call("GET", "/v5/account/user-setting-config", {}, row(bool="lpaSpot lpaPerp deltaEnable smsef fmsef")),
    Call(
        "GET",
        "/v5/account/fee-rate",
        ON_SYMBOL,
        row(text="category", list="list", optional="category"),
        row(text="symbol baseCoin", number="takerFeeRate makerFeeRate", optional="baseCoin"),
    ),
    Call(
        "GET",
        "/v5/account/transaction-log",
        {"accountType": "UNIFIED"},
        row(text="nextPageCursor", list="list"),
        LEDGER,
    ),
    Call("GET", "/v5/account/collateral-info", {}, row(list="list"), COLLATERAL),
    Call("GET", "/v5/user/query-api", {}, KEY),
    Call("GET", "/v5/user/query-sub-members", {}, row(list="subMembers"), SUB_MEMBER, rows_key="subMembers"),
    Call("GET", "/v5/asset/coin/query-info", {}, row(list="rows"), COIN_INFO, rows_key="rows"),
    Call(
        "GET",
        "/v5/account/query-dcp-info",
        {},
        row(list="dcpInfos"),
        row(text="product dcpStatus timeWindow"),
        rows_key="dcpInfos",
        may_be_empty=True,
    ),
    Call("GET", "/v5/account/borrow-history", {}, row(list="list", text="nextPageCursor"), may_be_empty=True),
    Call("GET", "/v5/asset/delivery-record", LINEAR, _PAGE, may_be_empty=True),
    Call("GET", "/v5/asset/settlement-record", LINEAR, _PAGE, may_be_empty=True),
)
BATCH_IDS = row(text="category symbol orderId orderLinkId")
_BATCHED: Query = {"symbol": "{symbol}", "orderLinkId": "table-2"}
# Write calls, in an order in which each of them succeeds on an account with a position in `{symbol}`.
WRITE_CALLS = (
    Call(
        "POST",
        "/v5/order/create",
        {**ON_SYMBOL, "side": "Buy", "orderType": "Limit", "qty": "{qty}", "price": "{low}", "orderLinkId": "table-1"},
        ORDER_IDS,
    ),
    Call("POST", "/v5/order/amend", {**ON_SYMBOL, "orderLinkId": "table-1", "qty": "{more}"}, ORDER_IDS),
    Call("POST", "/v5/order/cancel", {**ON_SYMBOL, "orderLinkId": "table-1"}, ORDER_IDS),
    Call(
        "POST",
        "/v5/order/create-batch",
        {
            **LINEAR,
            "request": [{**_BATCHED, "side": "Buy", "orderType": "Limit", "qty": "{qty}", "price": "{low}"}],
        },
        row(list="list"),
        row(text="category symbol orderId orderLinkId", ms="createAt"),
    ),
    Call(
        "POST",
        "/v5/order/amend-batch",
        {**LINEAR, "request": [{**_BATCHED, "qty": "{more}"}]},
        row(list="list"),
        BATCH_IDS,
    ),
    Call("POST", "/v5/order/cancel-batch", {**LINEAR, "request": [{**_BATCHED}]}, row(list="list"), BATCH_IDS),
    Call("POST", "/v5/position/set-leverage", {**ON_SYMBOL, "buyLeverage": "7", "sellLeverage": "7"}),
    Call(
        "POST",
        "/v5/position/trading-stop",
        {**ON_SYMBOL, "tpslMode": "Full", "positionIdx": 0, "stopLoss": "{lower}", "takeProfit": "{higher}"},
    ),
    Call(
        "POST",
        "/v5/order/cancel-all",
        {**ON_SYMBOL, "orderFilter": "Order"},
        row(list="list", text="success"),
        ORDER_IDS,
    ),
    Call("POST", "/v5/position/switch-mode", {"category": "linear", "symbol": "{idle}", "mode": 0}, code=110025),
    Call(
        "POST",
        "/v5/account/set-margin-mode",
        {"setMarginMode": "ISOLATED_MARGIN"},
        row(list="reasons"),
        row(text="reasonCode reasonMsg"),
        rows_key="reasons",
        may_be_empty=True,
    ),
    Call(
        "POST",
        "/v5/position/add-margin",
        {**ON_SYMBOL, "margin": "10", "positionIdx": 0},
        row(
            text="category symbol positionStatus",
            number="""riskLimitValue size avgPrice liqPrice bustPrice markPrice positionValue leverage positionIM
                positionMM takeProfit stopLoss trailingStop unrealisedPnl cumRealisedPnl""",
            int="positionIdx riskId autoAddMargin",
            ms="createdTime updatedTime",
        ),
    ),
    Call("POST", "/v5/position/switch-isolated", {**ON_SYMBOL, "tradeMode": 1}, code=100028),
    Call(
        "POST",
        "/v5/account/demo-apply-money",
        {"adjustType": 0, "utaDemoApplyMoney": [{"coin": "USDT", "amountStr": "1000"}]},
    ),
)
EMPTY_CALLS = tuple(
    Call("GET", path, query, may_be_empty=True)
    for path, query in (
        ("/v5/market/instruments-info", {"category": "spot"}),
        ("/v5/market/instruments-info", {"category": "inverse"}),
        ("/v5/market/instruments-info", {"category": "option"}),
        ("/v5/order/realtime", {"category": "spot"}),
        ("/v5/position/list", {"category": "inverse", "symbol": "BTCUSD"}),
        ("/v5/execution/list", {"category": "option"}),
    )
)

# --- streams ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Topic:
    """A topic and its pushes. `delta` is the row of messages of type delta, in which any field may be absent."""

    name: str
    envelope: Row
    data: Row
    private: bool = False
    delta: bool = False
    quiet: bool = False  # pushes only on rare events

    @property
    def size(self) -> int:
        """Number of documented fields of a push."""
        return self.envelope.size + self.data.size


_PRIVATE = row(text="id topic", int="creationTime", list="data")
_SNAPSHOT = row(text="topic type", int="ts", list="data")
_OBJECT = row(text="topic type", int="ts", object="data")
BOOK = row(text="s", list="b a", int="u seq")
TOPICS = (
    Topic("order", _PRIVATE, ORDER_PUSH, private=True),
    Topic("order.linear", _PRIVATE, ORDER_PUSH, private=True),
    Topic("execution", _PRIVATE, EXECUTION_PUSH, private=True),
    Topic("execution.linear", _PRIVATE, EXECUTION_PUSH, private=True),
    Topic("execution.fast", _PRIVATE.without("id"), FAST_EXECUTION, private=True),
    Topic("execution.fast.linear", _PRIVATE.without("id"), FAST_EXECUTION, private=True),
    Topic("position", _PRIVATE, POSITION_PUSH, private=True),
    Topic("position.linear", _PRIVATE, POSITION_PUSH, private=True),
    Topic("wallet", _PRIVATE, WALLET, private=True),
    Topic(
        "kline.1.{symbol}",
        _SNAPSHOT,
        row(int="start end timestamp", text="interval", number="open high low close volume turnover", bool="confirm"),
    ),
    Topic(
        "tickers.{symbol}",
        row(text="topic type", int="ts cs", object="data"),
        Row({**TICKER.kinds, "tickDirection": "text", "deliveryTime": "text"}),
        delta=True,
    ),
    Topic(
        "publicTrade.{symbol}",
        _SNAPSHOT,
        row(int="T seq", text="s S L i", number="v p", bool="BT RPI"),
    ),
    *(
        Topic(f"orderbook.{depth}.{{symbol}}", Row({**_OBJECT.kinds, "cts": "int"}), BOOK, delta=depth > 1)
        for depth in (1, 50, 200)
    ),
    Topic("adlAlert.USDT", _SNAPSHOT, row(text="c s", any="b mb i_pr pr adl_tt adl_sr")),
    Topic("allLiquidation.{symbol}", _SNAPSHOT, row(int="T", text="s S", number="v p"), quiet=True),
)

"""What Bybit documents of its rows: the fields of each kind, the values of enumerated fields, and return codes.

Source: developer documentation of July 2026. What is not here is noted as drift (alpha.drift) and otherwise ignored. A test
compares the fields with the tables of the simulated exchange's contract.
"""

from collections.abc import Mapping

from alpha.drift import NOTES, DriftKind


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: The kinds are those of `alpha.bybit.fields.Fields`.
FIELDS: Mapping[str, frozenset[str]] = {
    "execution": _names(
        """blockTradeId category closedSize createType execFee execFeeV2 execId execPnl execPrice execQty execTime
        execType execValue extraFees feeCurrency feeRate indexPrice isLeverage isMaker leavesQty markIv markPrice
        marketUnit orderId orderLinkId orderPrice orderQty orderType seq side stopOrderType symbol tradeIv
        underlyingPrice"""
    ),
    "order": _names(
        """avgPrice basePrice blockTradeId brokerOrderPrice cancelType category closeOnTrigger closedPnl createType
        createdTime cumExecFee cumExecQty cumExecValue cumFeeDetail extraFees feeCurrency isLeverage
        lastPriceOnCreated leavesQty leavesValue marketUnit ocoTriggerBy orderId orderIv orderLinkId orderStatus
        orderType parentOrderLinkId placeType positionIdx price qty reduceOnly rejectReason rpiMatchedQty
        rpiTakerAccess side slLimitPrice slTriggerBy slippageTolerance slippageToleranceType smpGroup smpOrderId
        smpType stopLoss stopOrderType symbol takeProfit timeInForce tpLimitPrice tpTriggerBy tpslMode triggerBy
        triggerDirection triggerPrice updatedTime"""
    ),
    "position": _names(
        """adlRankIndicator autoAddMargin avgPrice breakEvenPrice bustPrice category createdTime cumRealisedPnl
        curRealisedPnl delta entryPrice gamma isReduceOnly leverage leverageSysUpdatedTime liqPrice markPrice
        mmrSysUpdatedTime openTime positionBalance positionIM positionIMByMp positionIdx positionMM positionMMByMp
        positionStatus positionValue riskId riskLimitValue seq sessionAvgPrice side size stopLoss symbol takeProfit
        theta tpslMode tradeMode trailingStop unrealisedPnl updatedTime vega"""
    ),
    "wallet": _names(
        """accountIMRate accountIMRateByMp accountLTV accountMMRate accountMMRateByMp accountType coin
        totalAvailableBalance totalEquity totalInitialMargin totalInitialMarginByMp totalMaintenanceMargin
        totalMaintenanceMarginByMp totalMarginBalance totalPerpUPL totalWalletBalance"""
    ),
    "wallet coin": _names(
        """accruedInterest availableToBorrow availableToWithdraw bonus borrowAmount coin colRes collateralSwitch
        cumRealisedPnl equity free locked marginCollateral spotBorrow spotHedgingQty totalOrderIM totalPositionIM
        totalPositionMM unrealisedPnl usdValue walletBalance"""
    ),
    "instrument": _names(
        """baseCoin contractType copyTrading deliveryFeeRate deliveryTime displayName forbidUplWithdrawal fullName
        fundingInterval isPreListing launchTime leverageFilter lotSizeFilter lowerFundingRate marketRegion preListingInfo
        priceFilter priceScale quoteCoin riskParameters settleCoin status symbol symbolId symbolType underlyingTicker
        unifiedMarginTrade upperFundingRate"""
    ),
    "ticker": _names(
        """ask1Price ask1Size basis basisRate basisRateYear bid1Price bid1Size curPreListingPhase deliveryFeeRate
        deliveryTime fundingCap fundingIntervalHour fundingRate highPrice24h indexPrice lastPrice lowPrice24h
        markPrice nextFundingTime openInterest openInterestValue preOpenPrice preQty predictedDeliveryPrice
        prevPrice1h prevPrice24h price24hPcnt singleOpenInterest singleOpenInterestValue symbol tickDirection
        turnover24h volume24h"""
    ),
    "closed-pnl": _names(
        """avgEntryPrice avgExitPrice closeFee closedPnl closedSize createdTime cumEntryValue cumExitValue execType
        fillCount leverage openFee orderId orderPrice orderType qty side symbol updatedTime"""
    ),
    "transaction-log": _names(
        """bonusChange cashBalance cashFlow category change currency extraFees fee feeRate funding id orderId
        orderLinkId qty side size symbol tradeId tradePrice transSubType transactionTime type"""
    ),
    "api-key": _names(
        """affiliateID affiliateIDInt64 apiKey createdAt deadlineDay expiredAt id inviterID inviterIDInt64 ips isMaster
        kycLevel kycRegion mktMakerLevel note parentUid permissions readOnly rsaPublicKey secret type unified userID
        userIDInt64 uta vipLevel"""
    ),
    "public trade": _names("""execId isBlockTrade isRPITrade price seq side size symbol time"""),
    "funding-history": _names("""fundingRate fundingRateTimestamp symbol"""),
    "open-interest": _names("""openInterest singleOpenInterest timestamp"""),
    "system-status": _names("""begin end env href id maintainType product serviceTypes state title uidSuffix"""),
    "fee-rate": _names("""baseCoin makerFeeRate symbol takerFeeRate"""),
    "account-info": _names(
        """dcpStatus isMasterTrader marginMode smpGroup spotHedgingStatus timeWindow unifiedMarginStatus updatedTime"""
    ),
}

#: "" stands for "none" everywhere.
VALUES: Mapping[str, Mapping[str, frozenset[str]]] = {
    "execution": {
        "execType": _names(
            """Trade Funding BustTrade AdlTrade Delivery Settle SessionSettlePnL BlockTrade MovePosition FutureSpread
            CorporateAction UNKNOWN"""
        ),
        "side": _names("Buy Sell None"),
    },
    "order": {
        "orderStatus": _names(
            """New PartiallyFilled Untriggered Rejected PartiallyFilledCanceled Filled Cancelled Triggered Deactivated
            Created Active PendingCancel"""
        ),
        "createType": _names(
            """CreateByUser CreateByClosing CreateByStopOrder CreateByTakeProfit CreateByPartialTakeProfit CreateByStopLoss
            CreateByPartialStopLoss CreateByTrailingStop CreateByTrailingProfit CreateByLiq CreateByTakeOver_PassThrough
            CreateByAdl_PassThrough CreateBySettle CreateByAdminClosing CreateByFutureSpread CreateByBlock_PassThrough
            CreateByBlockTradeMovePosition_PassThrough CreateByMmRateClose CreateByChaseOrder CreateByBboOrder CreateByTWAP
            CreateByIceBerg CreateByArbitrage CreateByDdh CreateByTVSignal CreateByFGridBot CloseByFGridBot
            CreateByMartingaleBot CloseByMartingaleBot CreateByPov UNKNOWN"""
        ),
        "stopOrderType": _names(
            """TakeProfit StopLoss TrailingStop Stop PartialTakeProfit PartialStopLoss tpslOrder OcoOrder MmRateClose
            BidirectionalTpslOrder UNKNOWN"""
        ),
        "timeInForce": _names("GTC IOC FOK PostOnly RPI"),
        "orderType": _names("Market Limit UNKNOWN"),
    },
    "position": {"positionStatus": _names("Normal Liq Adl"), "side": _names("Buy Sell None")},
    "instrument": {
        "status": _names("PreLaunch Trading Delivering Closed Settling"),
        "symbolType": _names("innovation adventure xstocks stock forex commodity depositinnovation fan"),
    },
    "closed-pnl": {
        "execType": _names(
            "Trade BustTrade SessionSettlePnL Settle MovePosition AdlTrade Delivery BlockTrade FutureSpread CorporateAction"
        )
    },
    "transaction-log": {
        "type": _names(
            """TRANSFER_IN TRANSFER_OUT TRADE SETTLEMENT DELIVERY LIQUIDATION ADL AIRDROP BONUS BONUS_RECOLLECT FEE_REFUND
            INTEREST CURRENCY_BUY CURRENCY_SELL BORROWED_AMOUNT_INS_LOAN PRINCIPLE_REPAYMENT_INS_LOAN
            INTEREST_REPAYMENT_INS_LOAN AUTO_SOLD_COLLATERAL_INS_LOAN AUTO_BUY_LIABILITY_INS_LOAN
            AUTO_PRINCIPLE_REPAYMENT_INS_LOAN AUTO_INTEREST_REPAYMENT_INS_LOAN TRANSFER_IN_INS_LOAN TRANSFER_OUT_INS_LOAN
            SPOT_REPAYMENT_SELL ONE_CLICK_REPAYMENT TOKENS_SUBSCRIPTION TOKENS_REDEMPTION AUTO_DEDUCTION
            FLEXIBLE_STAKING_SUBSCRIPTION FLEXIBLE_STAKING_REDEMPTION FIXED_STAKING_SUBSCRIPTION FLEXIBLE_STAKING_REFUND
            FIXED_STAKING_REFUND PREMARKET_TRANSFER_OUT PREMARKET_DELIVERY_SELL_NEW_COIN PREMARKET_DELIVERY_BUY_NEW_COIN
            PREMARKET_DELIVERY_PLEDGE_PAY_SELLER PREMARKET_DELIVERY_PLEDGE_BACK PREMARKET_ROLLBACK_PLEDGE_BACK
            PREMARKET_ROLLBACK_PLEDGE_PENALTY_TO_BUYER CUSTODY_NETWORK_FEE CUSTODY_SETTLE_FEE CUSTODY_LOCK CUSTODY_UNLOCK
            CUSTODY_UNLOCK_REFUND LOANS_BORROW_FUNDS LOANS_PLEDGE_ASSET BONUS_TRANSFER_IN BONUS_TRANSFER_OUT
            PEF_TRANSFER_IN PEF_TRANSFER_OUT PEF_PROFIT_SHARE ONCHAINEARN_SUBSCRIPTION ONCHAINEARN_REDEMPTION
            ONCHAINEARN_REFUND STRUCTURE_PRODUCT_SUBSCRIPTION STRUCTURE_PRODUCT_REFUND CLASSIC_WEALTH_MANAGEMENT_SUBSCRIPTION
            PREMIMUM_WEALTH_MANAGEMENT_SUBSCRIPTION LIQUIDITY_MINING_SUBSCRIPTION LIQUIDITY_MINING_REFUND PWM_SUBSCRIPTION
            PWM_REFUND DEFI_INVESTMENT_SUBSCRIPTION DEFI_INVESTMENT_REFUND DEFI_INVESTMENT_REDEMPTION
            INSTITUTION_LOAN_IN INSTITUTION_LIQUIDATION_IN INSTITUTION_FIN_TRANSFER"""
        )
    },
    "system-status": {"state": _names("scheduled ongoing completed canceled")},
}

#: Return codes with a documented meaning, beside the ranges below.
CODES = frozenset(
    int(code)
    for code in [
        "-1",
        "0",
        "429",
        "10000",
        "10001",
        "10002",
        "10003",
        "10004",
        "10005",
        "10006",
        "10007",
        "10008",
        "10009",
        "10010",
        "10014",
        "10016",
        "10017",
        "10018",
        "10019",
        "10024",
        "10027",
        "10028",
        "10029",
        "10403",
        "10404",
        "10429",
        "20003",
        "20006",
        "33004",
        "-2015",
        "34036",
        "34040",
        "100028",
        "500000",
        "3100326",
        "3200403",
        "181017",
        "30208",
        "30209",
        "30228",
    ]
)
#: Groups of codes, each documented as a whole: derivatives, spot, assets, modes, loans, margin, strategies.
_RANGES = (
    range(100, 600),  # statuses of HTTP
    range(110000, 110200),
    range(170000, 171000),
    *(range(first, first + 1000) for first in (131000, 140000, 148000, 176000, 177000, 182000, 60000)),
    range(34022000, 34023000),
)


def note_row(kind: str, row: Mapping[str, object]) -> None:
    """Note the fields of a row that its kind does not document, and the values of enumerated fields."""
    known = FIELDS.get(kind)
    if known is None:
        return
    if not row.keys() <= known:
        for name in row.keys() - known:
            NOTES.note(DriftKind.FIELD, kind, str(name), row[name])
    for name, values in VALUES.get(kind, {}).items():
        value = row.get(name)
        if value and type(value) is str and value not in values:
            NOTES.note(DriftKind.VALUE, kind, f"{name}={value}", value)


def note_code(path: str, code: int, message: str) -> None:
    """Note a return code that no document explains."""
    if code not in CODES and not any(code in group for group in _RANGES):
        NOTES.note(DriftKind.CODE, path, str(code), message)

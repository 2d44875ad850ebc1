"""The layout of placeOrder, by version, from 157 on (where it lost its own version field).

The three public clients agree on the order of the fields; they differ in how a number is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from openbell.gateway.errors import FieldError
from openbell.gateway.wire.fields import left_out
from openbell.gateway.wire.layout import Before, Counted, Item, Layout, Record, Since, When, names, read

CONTRACT = names(
    "conId symbol secType lastTradeDate strike right multiplier exchange primaryExchange currency localSymbol"
    " tradingClass"
)
# Kind of a condition → how many fields it has, its kind included.
CONDITIONS = {"1": 7, "3": 4, "4": 4, "5": 5, "6": 6, "7": 6}
SCALE_FIELDS = names(
    "scalePriceAdjustValue scalePriceAdjustInterval scaleProfitOffset scaleAutoReset scaleInitPosition"
    " scaleInitFillQty scaleRandomPercent"
)
BENCHMARK_FIELDS = names(
    "referenceContractId isPeggedChangeAmountDecrease peggedChangeAmount referenceChangeAmount referenceExchangeId"
)


def is_bag(texts: Mapping[str, str]) -> bool:
    """Whether the contract is a combination."""
    return texts["secType"] == "BAG"


def has_scale(texts: Mapping[str, str]) -> bool:
    """Whether the order is a scale order, which has seven fields more."""
    text = texts["scalePriceIncrement"]
    try:
        return not left_out(text) and float(text) > 0
    except ValueError:
        raise FieldError("Unable to parse field: 'scalePriceIncrement'") from None


def is_pegged_to_benchmark(texts: Mapping[str, str]) -> bool:
    """Whether the order is pegged to another contract."""
    return texts["orderType"] in {"PEG BENCH", "PEGBENCH"}


def is_pegged_to_best(texts: Mapping[str, str]) -> bool:
    """Whether the order is pegged to the best price."""
    return texts["orderType"] in {"PEG BEST", "PEGBEST"}


def is_pegged_to_middle(texts: Mapping[str, str]) -> bool:
    """Whether the order is pegged to the middle of the spread."""
    return texts["orderType"] in {"PEG MID", "PEGMID"}


def _offset_is_mid(texts: Mapping[str, str]) -> bool:
    return texts["competeAgainstBestOffset"].lower() in {"inf", "infinity", "infinite"}


def given(name: str, *items: Item) -> When:
    """Items that follow where `name` is not empty."""
    return When(lambda texts: bool(texts[name]), items)


PLACE_ORDER: Layout = (
    "orderId",
    *CONTRACT,
    *names(
        "secIdType secId action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account openClose origin"
        " orderRef transmit parentId blockOrder sweepToFill displaySize triggerMethod outsideRth hidden"
    ),
    When(is_bag, (Counted("comboLegs", 8), Counted("orderComboLegs", 1), Counted("smartComboRoutingParams", 2))),
    *names("sharesAllocation discretionaryAmt goodAfterTime goodTillDate faGroup faMethod faPercentage"),
    Before(177, ("faProfile",)),
    *names(
        "modelCode shortSaleSlot designatedLocation exemptCode ocaType rule80A settlingFirm allOrNone minQty"
        " percentOffset eTradeOnly firmQuoteOnly nbboPriceCap auctionStrategy startingPrice stockRefPrice delta"
        " stockRangeLower stockRangeUpper overridePercentageConstraints volatility volatilityType"
        " deltaNeutralOrderType deltaNeutralAuxPrice"
    ),
    given(
        "deltaNeutralOrderType",
        *names(
            "deltaNeutralConId deltaNeutralSettlingFirm deltaNeutralClearingAccount deltaNeutralClearingIntent"
            " deltaNeutralOpenClose deltaNeutralShortSale deltaNeutralShortSaleSlot deltaNeutralDesignatedLocation"
        ),
    ),
    *names(
        "continuousUpdate referencePriceType trailStopPrice trailingPercent scaleInitLevelSize scaleSubsLevelSize"
        " scalePriceIncrement"
    ),
    When(has_scale, SCALE_FIELDS),
    *names("scaleTable activeStartTime activeStopTime hedgeType"),
    given("hedgeType", "hedgeParam"),
    *names("optOutSmartRouting clearingAccount clearingIntent notHeld"),
    Counted("deltaNeutralContract", 3),
    "algoStrategy",
    given("algoStrategy", Counted("algoParams", 2)),
    *names("algoId whatIf orderMiscOptions solicited randomizeSize randomizePrice"),
    When(is_pegged_to_benchmark, BENCHMARK_FIELDS),
    Counted("conditions", widths=CONDITIONS, after=names("conditionsIgnoreRth conditionsCancelOrder")),
    *names(
        "adjustedOrderType triggerPrice lmtPriceOffset adjustedStopPrice adjustedStopLimitPrice"
        " adjustedTrailingAmount adjustableTrailingUnit extOperator softDollarTierName softDollarTierValue cashQty"
        " mifid2DecisionMaker mifid2DecisionAlgo mifid2ExecutionTrader mifid2ExecutionAlgo dontUseAutoPriceForHedge"
        " isOmsContainer discretionaryUpToLimitPrice usePriceMgmtAlgo"
    ),
    Since(158, ("duration",)),
    Since(160, ("postToAts",)),
    Since(162, ("autoCancelParent",)),
    Since(166, ("advancedErrorOverride",)),
    Since(169, ("manualOrderTime",)),
    Since(
        170,
        (
            When(lambda texts: texts["exchange"] == "IBKRATS", ("minTradeQty",)),
            When(
                is_pegged_to_best,
                (
                    "minCompeteSize",
                    "competeAgainstBestOffset",
                    When(_offset_is_mid, names("midOffsetAtWhole midOffsetAtHalf")),
                ),
            ),
            When(is_pegged_to_middle, names("midOffsetAtWhole midOffsetAtHalf")),
        ),
    ),
)


def read_order(fields: tuple[str, ...], version: int) -> Record:
    """What placeOrder says (its fields without the kind). Raises FieldError, also for fields that nothing reads."""
    record, taken = read(PLACE_ORDER, fields, version)
    if taken != len(fields):
        raise FieldError(f"Unable to parse the order: {len(fields)} fields, {taken} expected")
    return record

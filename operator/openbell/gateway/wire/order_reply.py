"""openOrder and completedOrder: what a client said, echoed, with what the gateway knows besides.

A real gateway fills in what was left out; the values here are those that it was seen to send for a plain order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from openbell.gateway.orders import TRAILING, Order, Status
from openbell.gateway.wire.fields import UNSET_DOUBLE, UNSET_LONG, show, stamp
from openbell.gateway.wire.layout import Before, Counted, Layout, Record, Since, When, named, names, write
from openbell.gateway.wire.placing import (
    BENCHMARK_FIELDS,
    CONDITIONS,
    SCALE_FIELDS,
    given,
    has_scale,
    is_pegged_to_benchmark,
)
from openbell.gateway.wire.replies import contract_fields

CONTRACT = names(
    "conId symbol secType lastTradeDate strike right multiplier exchange currency localSymbol tradingClass"
)
_CONDITIONS = Counted("conditions", widths=CONDITIONS, after=names("conditionsIgnoreRth conditionsCancelOrder"))
_COMBINATION: Layout = (Counted("comboLegs", 8), Counted("orderComboLegs", 1), Counted("smartComboRoutingParams", 2))
_SCALE: Layout = (*names("scaleInitLevelSize scaleSubsLevelSize scalePriceIncrement"), When(has_scale, SCALE_FIELDS))
_ALGORITHM: Layout = ("algoStrategy", given("algoStrategy", Counted("algoParams", 2)))
_PEGS = names("minTradeQty minCompeteSize competeAgainstBestOffset midOffsetAtWhole midOffsetAtHalf")

OPEN_ORDER: Layout = (
    "orderId",
    *CONTRACT,
    *names(
        "action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account openClose origin orderRef clientId"
        " permId outsideRth hidden discretionaryAmt goodAfterTime sharesAllocation faGroup faMethod faPercentage"
    ),
    Before(177, ("faProfile",)),
    *names(
        "modelCode goodTillDate rule80A percentOffset settlingFirm shortSaleSlot designatedLocation exemptCode"
        " auctionStrategy startingPrice stockRefPrice delta stockRangeLower stockRangeUpper displaySize blockOrder"
        " sweepToFill allOrNone minQty ocaType eTradeOnly firmQuoteOnly nbboPriceCap parentId triggerMethod volatility"
        " volatilityType deltaNeutralOrderType deltaNeutralAuxPrice"
    ),
    given(
        "deltaNeutralOrderType",
        *names(
            "deltaNeutralConId deltaNeutralSettlingFirm deltaNeutralClearingAccount deltaNeutralClearingIntent"
            " deltaNeutralOpenClose deltaNeutralShortSale deltaNeutralShortSaleSlot deltaNeutralDesignatedLocation"
        ),
    ),
    *names(
        "continuousUpdate referencePriceType trailStopPrice trailingPercent basisPoints basisPointsType"
        " comboLegsDescrip"
    ),
    *_COMBINATION,
    *_SCALE,
    "hedgeType",
    given("hedgeType", "hedgeParam"),
    *names("optOutSmartRouting clearingAccount clearingIntent notHeld"),
    Counted("deltaNeutralContract", 3),
    *_ALGORITHM,
    *names(
        "solicited whatIf status initMarginBefore maintMarginBefore equityWithLoanBefore initMarginChange"
        " maintMarginChange equityWithLoanChange initMarginAfter maintMarginAfter equityWithLoanAfter commission"
        " minCommission maxCommission commissionCurrency warningText randomizeSize randomizePrice"
    ),
    When(is_pegged_to_benchmark, BENCHMARK_FIELDS),
    _CONDITIONS,
    *names(
        "adjustedOrderType triggerPrice trailStopPrice lmtPriceOffset adjustedStopPrice adjustedStopLimitPrice"
        " adjustedTrailingAmount adjustableTrailingUnit softDollarTierName softDollarTierValue softDollarTierDisplay"
        " cashQty dontUseAutoPriceForHedge isOmsContainer discretionaryUpToLimitPrice usePriceMgmtAlgo"
    ),
    Since(159, ("duration",)),
    Since(160, ("postToAts",)),
    Since(162, ("autoCancelParent",)),
    Since(170, _PEGS),
)

COMPLETED_ORDER: Layout = (
    *CONTRACT,
    *names(
        "action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account openClose origin orderRef permId"
        " outsideRth hidden discretionaryAmt goodAfterTime faGroup faMethod faPercentage"
    ),
    Before(177, ("faProfile",)),
    *names(
        "modelCode goodTillDate rule80A percentOffset settlingFirm shortSaleSlot designatedLocation exemptCode"
        " startingPrice stockRefPrice delta stockRangeLower stockRangeUpper displaySize sweepToFill allOrNone minQty"
        " ocaType triggerMethod volatility volatilityType deltaNeutralOrderType deltaNeutralAuxPrice"
    ),
    given(
        "deltaNeutralOrderType",
        *names("deltaNeutralConId deltaNeutralShortSale deltaNeutralShortSaleSlot deltaNeutralDesignatedLocation"),
    ),
    *names("continuousUpdate referencePriceType trailStopPrice trailingPercent comboLegsDescrip"),
    *_COMBINATION,
    *_SCALE,
    "hedgeType",
    given("hedgeType", "hedgeParam"),
    *names("clearingAccount clearingIntent notHeld"),
    Counted("deltaNeutralContract", 3),
    *_ALGORITHM,
    *names("solicited status randomizeSize randomizePrice"),
    When(is_pegged_to_benchmark, BENCHMARK_FIELDS),
    _CONDITIONS,
    *names(
        "trailStopPrice lmtPriceOffset cashQty dontUseAutoPriceForHedge isOmsContainer autoCancelDate filledQuantity"
        " refFuturesConId autoCancelParent shareholder imbalanceOnly routeMarketableToBbo parentPermId completedTime"
        " completedStatus"
    ),
    Since(170, _PEGS),
)

# What a real gateway says where the client said nothing.
_SEEN = {
    "deltaNeutralOrderType": "None",
    "deltaNeutralConId": "0",
    "deltaNeutralOpenClose": "?",
    "deltaNeutralShortSale": "0",
    "deltaNeutralShortSaleSlot": "0",
    "adjustedOrderType": "None",
    "adjustableTrailingUnit": "0",
    "volatilityType": "0",
    "referencePriceType": "0",
    "clearingIntent": "IB",
    "dontUseAutoPriceForHedge": "1",
    "usePriceMgmtAlgo": "0",
    "ocaType": "3",
    "discretionaryAmt": "0",
    "autoCancelParent": "0",
    "auctionStrategy": "0",
    "triggerPrice": UNSET_DOUBLE,
    "lmtPriceOffset": UNSET_DOUBLE,
    "adjustedStopPrice": UNSET_DOUBLE,
    "adjustedStopLimitPrice": UNSET_DOUBLE,
    "adjustedTrailingAmount": UNSET_DOUBLE,
    "cashQty": "0",
    "shareholder": "Not an insider or substantial shareholder",
    "imbalanceOnly": "0",
    "routeMarketableToBbo": "0",
    "refFuturesConId": "0",
    "parentPermId": UNSET_LONG,
    **dict.fromkeys(
        names(
            "initMarginBefore maintMarginBefore equityWithLoanBefore initMarginChange maintMarginChange"
            " equityWithLoanChange initMarginAfter maintMarginAfter equityWithLoanAfter"
        ),
        UNSET_DOUBLE,
    ),
}
_ALL_NAMES = named(OPEN_ORDER) | named(COMPLETED_ORDER)


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order as it is; `margin` holds what it would do to the account, for a whatIf."""

    order: Order
    margin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CompletedOrder:
    """An order that is over. Its own id and its client are not told."""

    order: Order


def write_open_order(reply: OpenOrder, version: int) -> list[str]:
    """The fields of an openOrder."""
    order = reply.order
    record = _record(order)
    texts = {
        **record.texts,
        "whatIf": "1" if order.terms.what_if else "0",
        "totalQuantity": show(order.size),
        "status": order.status,
        **reply.margin,
    }
    if order.commission:
        texts |= {"commission": show(order.commission), "commissionCurrency": "USD"}
    elif order.terms.what_if:
        texts["commissionCurrency"] = "USD"
    return ["5", *write(OPEN_ORDER, Record(texts, record.groups), version)]


def write_completed_order(reply: CompletedOrder, version: int) -> list[str]:
    """The fields of a completedOrder. Of a filled order the gateway says its size as filledQuantity, not as total."""
    order = reply.order
    record = _record(order)
    filled = order.status is Status.FILLED
    texts = {
        **record.texts,
        "totalQuantity": "0" if filled else show(order.size),
        "filledQuantity": show(order.filled),
        "status": order.status,
        "completedTime": stamp(order.completed) if order.completed else "",
        "completedStatus": order.completed_status,
        "autoCancelDate": "",
    }
    if order.parent_perm_id:
        texts["parentPermId"] = str(order.parent_perm_id)
    return ["101", *write(COMPLETED_ORDER, Record(texts, record.groups), version)]


def _record(order: Order) -> Record:
    said = order.terms.record
    seen = {name: said.texts.get(name) or _SEEN.get(name, "") for name in _ALL_NAMES}
    terms = order.terms
    seen |= {
        "orderId": str(order.order_id),
        **dict(zip(CONTRACT, contract_fields(order.contract), strict=True)),
        "action": terms.action,
        "orderType": terms.kind,
        "tif": terms.tif,
        "lmtPrice": show(terms.limit) if terms.limit is not None else "0",
        "auxPrice": show(terms.aux) if terms.aux is not None else "0",
        "account": terms.account,
        "ocaGroup": order.oca_group,
        "ocaType": str(terms.oca_type or 3),
        "clientId": str(order.client_id),
        "permId": str(order.perm_id),
        "trailStopPrice": _trail_stop(order),
    }
    return Record(seen, said.groups)


def _trail_stop(order: Order) -> str:
    if order.terms.kind in TRAILING:
        stop = order.stop if order.stop is not None else order.terms.trail_stop
        return UNSET_DOUBLE if stop is None else show(stop)
    # A real gateway says limit + 1 for a plain limit order; nobody knows why, and a client must not rely on it.
    return show(order.terms.limit + 1) if order.terms.kind == "LMT" and order.terms.limit is not None else UNSET_DOUBLE

"""Decisions in plain sentences: what was decided of an order, a strategy or a symbol, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from openbell.domain.money import amount, text
from openbell.domain.orders import Fill, IntentKind, IntentState, Side
from openbell.domain.positions import ClosedTrade
from openbell.domain.reasons import Reason, reason_text
from openbell.engine.trail import Run, TrailKind

SHOWN_RUNS = 8
"""Earlier reasons that are told of each strategy and symbol."""


@dataclass(frozen=True, slots=True)
class OrderStory:
    """An order and what is known of it; None = the place that was asked does not tell."""

    order_ref: str
    kind: IntentKind
    strategy: str
    symbol: str
    side: Side
    quantity: Decimal
    filled: Decimal
    average_price: Decimal | None
    state: IntentState
    reason: str
    created_at: datetime
    detail: str = ""
    broker_order_id: str = ""
    confidence: float | None = None
    reference_price: Decimal | None = None
    bar_time: datetime | None = None
    epoch: int | None = None
    fills: tuple[Fill, ...] | None = None
    decision: Run | None = None


@dataclass(frozen=True, slots=True)
class PositionStory:
    """The orders of one position, oldest first, and its round trip or what holds it now."""

    orders: tuple[OrderStory, ...] = ()
    trade: ClosedTrade | None = None
    holding: Run | None = None


def explain_order(order: OrderStory, position: PositionStory) -> Iterator[str]:
    """Signal, verdict, intent, sending, fills and exit of one order, a sentence each."""
    yield f"Order {order.order_ref}: {_what(order)}, {_kind(order)} of {order.strategy}."
    yield from _decided(order)
    yield from _sent(order)
    yield from _filled(order)
    for other in position.orders:
        if other.order_ref == order.order_ref:
            continue
        if other.kind is IntentKind.ENTRY:
            yield f"The position was opened by order {other.order_ref}: {_what(other)} {_at(other.created_at)}."
        else:
            yield f"The position was left {_at(other.created_at)} by order {other.order_ref}: {_why_left(other)}."
            yield from _filled(other)
    if position.trade is not None:
        trade = position.trade
        yield (
            f"The round trip ended {_at(trade.exit_time)}, in at {amount(trade.entry_price)} and out at "
            f"{amount(trade.exit_price)}, with a profit of {amount(trade.pnl)} after fees of {amount(trade.fees)}."
        )
    elif position.holding is not None:
        yield f"The position is looked at since {_span(position.holding)}: {_words(position.holding)}."


def explain_runs(runs: Sequence[Run]) -> Iterator[str]:
    """What is said now of each strategy and symbol, and what was said before; `runs` come newest first."""
    keys = sorted({(run.strategy, run.symbol) for run in runs})
    for strategy, symbol in keys:
        of_both = [run for run in runs if (run.strategy, run.symbol) == (strategy, symbol)]
        yield f"{strategy}/{symbol}"
        for kind, subject in ((TrailKind.ENTRY, "strategy"), (TrailKind.EXIT, "position")):
            told = [run for run in of_both if run.kind is kind]
            if told:
                yield f"  {subject}: {_span(told[0])}: {_words(told[0])}."
        earlier = _without_newest(of_both)
        for run in earlier[:SHOWN_RUNS]:
            yield f"    before, {_span(run)}: {_words(run)}."
        if len(earlier) > SHOWN_RUNS:
            yield f"    and {len(earlier) - SHOWN_RUNS} earlier ones."


def _without_newest(runs: Iterable[Run]) -> list[Run]:
    seen: set[TrailKind] = set()
    earlier: list[Run] = []
    for run in runs:
        if run.kind in seen:
            earlier.append(run)
        seen.add(run.kind)
    return earlier


# -- parts of sentences ----------------------------------------------------------------------------------------


def _what(order: OrderStory) -> str:
    return f"{order.side.value} {text(order.quantity)} {order.symbol}"


def _kind(order: OrderStory) -> str:
    return "an entry" if order.kind is IntentKind.ENTRY else "an exit"


def _decided(order: OrderStory) -> Iterator[str]:
    if order.kind is IntentKind.EXIT and order.reason != "SIGNAL":
        yield f"{_moment(order.created_at)}: the position was to be left: {_why_left(order)}."
    else:
        said = order.decision.detail if order.decision is not None else ""
        if not said and order.confidence is not None and order.kind is IntentKind.ENTRY:
            said = f"{order.side.value} with confidence {order.confidence:.2f} ({order.reason})"
        bar = f" on the bar that ended {_at(order.bar_time)}" if order.bar_time is not None else ""
        yield f"{_moment(order.created_at)}: {order.strategy} said {said or order.reason}{bar}."
    if order.kind is IntentKind.ENTRY:
        size = f"{text(order.quantity)} shares"
        if order.reference_price is not None:
            worth = amount(order.quantity * order.reference_price)
            size += f" at a price of {text(order.reference_price)}, {worth} in all"
        yield f"No rule of risk spoke against it; its size came to {size}."


def _why_left(order: OrderStory) -> str:
    detail = f" ({order.decision.detail})" if order.decision is not None and order.decision.detail else ""
    return f"{order.reason}, {reason_text(order.reason)}{detail}"


def _sent(order: OrderStory) -> Iterator[str]:
    if order.epoch is not None:
        yield f"It was written to the journal before anything was sent, under epoch {order.epoch}."
    kept = order.decision.reason if order.decision is not None else ""
    if order.state is IntentState.WITHDRAWN:
        why = order.detail or (reason_text(kept) if kept and kept != Reason.ORDERED.value else "it was withdrawn")
        yield f"It was not sent: {why}."
        return
    known_as = f" as its order {order.broker_order_id}" if order.broker_order_id else ""
    detail = f": {order.detail}" if order.detail else ""
    words = {
        IntentState.INTENDED: "It was handed over, or is about to be, and the broker has not answered",
        IntentState.DOUBTFUL: "It was handed over, and the broker has not answered for certain",
        IntentState.WORKING: "The broker works on it",
        IntentState.FILLED: "The broker took it and filled it",
        IntentState.CANCELLED: "The broker confirmed that it is cancelled",
        IntentState.REJECTED: "The broker refused it",
    }[order.state]
    yield f"{words}{known_as}{detail}."


def _filled(order: OrderStory) -> Iterator[str]:
    if order.fills is None:
        if order.filled and order.average_price is not None:
            part = f"{text(order.filled)} of {text(order.quantity)}"
            yield f"{part} are filled, at {text(order.average_price)} on average."
        return
    for fill in order.fills:
        yield (
            f"{_moment(fill.time)}: {text(fill.quantity)} filled at {text(fill.price)}, "
            f"commission {amount(fill.commission)}."
        )


def _words(run: Run) -> str:
    order = f" by order {run.order_ref}" if run.order_ref else ""
    detail = f" ({run.detail})" if run.detail else ""
    return f"{run.reason}{order}, {reason_text(run.reason)}{detail}"


def _span(run: Run) -> str:
    if run.count == 1:
        return _moment(run.since)
    is_one_day = run.until.date() == run.since.date()
    until = f"{run.until:%H:%M:%S} UTC" if is_one_day else _moment(run.until)
    since = f"{run.since:%Y-%m-%d %H:%M:%S}" if is_one_day else _moment(run.since)
    return f"{since} to {until}, {run.count} ticks"


def _moment(moment: datetime) -> str:
    return f"{moment - timedelta(microseconds=moment.microsecond):%Y-%m-%d %H:%M:%S} UTC"


def _at(moment: datetime | None) -> str:
    return "" if moment is None else f"at {_moment(moment)}"

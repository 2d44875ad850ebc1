"""One tick's decisions: from signals to intents, each signal with its reason. Pure.

Signals are ranked; those that only reduce become exits, the others are sized and put before the rules of risk, each
seeing what the earlier ones of the tick have reserved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from openbell.domain.bars import Quote
from openbell.domain.identity import entry_ref, exit_ref, position_id
from openbell.domain.orders import Intent, IntentKind, OrderType, Side
from openbell.domain.policies import encode_policy
from openbell.domain.positions import ExitPolicy, Position
from openbell.domain.reasons import ExitReason, Reason
from openbell.domain.records import quick
from openbell.domain.signals import Action, Signal
from openbell.engine.exits import Exit, exit_quantity, is_exit, is_urgent, shares_at_broker, touch
from openbell.engine.rank import rank_signals
from openbell.engine.sizing import SizingRule, entry_quantity
from openbell.risk.checks import evaluate_entry
from openbell.risk.view import Candidate, Deny, RiskLimits, RiskView, reserve


@dataclass(frozen=True, slots=True)
class Terms:
    """By what one strategy's signals are traded."""

    min_confidence: float
    sizing: SizingRule
    exits: ExitPolicy
    is_shadow: bool = False


@quick
@dataclass(frozen=True, slots=True)
class Tick:
    """Everything that the decisions of one tick depend on.

    `entry_blocked` holds each strategy's reason for opening nothing now (absent: it may open); `leaving` the ids of
    positions whose exit is under way; `held_by_broker` its signed quantities, None where they are unknown; `escalated`
    the ids of positions that a limit order was tried on in vain. `ages` are those of the prices, in seconds of open
    market.
    """

    now: datetime
    owner: str
    epoch: int
    signals: tuple[Signal, ...]
    terms: Mapping[str, Terms]
    prices: Mapping[str, Decimal]
    risk: RiskView
    limits: RiskLimits
    entry_blocked: Mapping[str, Reason]
    leaving: frozenset[str]
    held_by_broker: Mapping[str, Decimal] | None = None
    ages: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    quotes: Mapping[str, Quote] = field(default_factory=dict)
    session_close: datetime | None = None
    escalated: frozenset[str] = frozenset()


@quick
@dataclass(frozen=True, slots=True)
class Decision:
    """What is done of one signal: an intent with the reason ORDERED, or none and why, perhaps only `until` a time."""

    signal: Signal
    reason: Reason
    detail: str = ""
    intent: Intent | None = None
    until: datetime | None = None


def decide(tick: Tick) -> tuple[Decision, ...]:
    """Decide every signal of the tick; intents come in the order in which they are to be sent."""
    lots = {(p.strategy, p.symbol): p for p in tick.risk.positions if p.is_open}
    ranked = rank_signals(
        tick.signals,
        now=tick.now,
        min_confidence=1.0,
        minima={name: terms.min_confidence for name, terms in tick.terms.items()},
        lots={key: position.quantity for key, position in lots.items()},
    )
    decisions = [Decision(signal, reason) for signal, reason in ranked.dropped]
    view, ordered = tick.risk, None
    for signal in ranked.survivors:
        lot = lots.get((signal.strategy, signal.symbol))
        if lot is not None and is_exit(signal, lot.quantity):
            decisions.append(_leave(tick, signal, lot))
            continue
        if ordered is not None:
            view, ordered = reserve(view, ordered), None
        decision, ordered = _open(tick, signal, view)
        decisions.append(decision)
    return tuple(decisions)


def without_broker(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """The decisions where the broker has gone meanwhile: no intent is made, which would only be written and withdrawn.

    The bar's signal can still be ordered by the next tick.
    """
    return tuple(
        Decision(each.signal, Reason.BROKER_DISCONNECTED) if each.intent is not None else each for each in decisions
    )


def _leave(tick: Tick, signal: Signal, lot: Position) -> Decision:
    if tick.terms[signal.strategy].is_shadow:
        return Decision(signal, Reason.SHADOW)
    if lot.position_id in tick.leaving:
        return Decision(signal, Reason.ALREADY_DECIDED, "an exit of this position is under way")
    held = tick.held_by_broker
    shares = None if held is None else shares_at_broker(tick.risk.positions, held, tick.leaving)
    quantity = exit_quantity(lot, None if shares is None else shares[lot.position_id])
    if quantity <= 0:
        return Decision(signal, Reason.NOT_HELD, "the broker holds none of it")
    side = Side.SELL if lot.is_long else Side.BUY
    found = Exit(ExitReason.SIGNAL, side, quantity, signal.reason, lot.best_price)
    price = tick.prices.get(lot.symbol, lot.best_price)
    gently = (
        not is_urgent(lot.policy, found.reason, tick.now, tick.session_close) and lot.position_id not in tick.escalated
    )
    limit = touch(lot, tick.quotes.get(lot.symbol)) if gently else None
    intent = exit_intent(lot, found, owner=tick.owner, epoch=tick.epoch, now=tick.now, price=price, limit=limit)
    return Decision(signal, Reason.ORDERED, intent=intent)


def _open(tick: Tick, signal: Signal, view: RiskView) -> tuple[Decision, Candidate | None]:
    """The decision, and what was ordered: the next opening of the tick is judged with that reserved."""
    if signal.action is Action.CLOSE:
        return Decision(signal, Reason.NOT_HELD), None
    terms = tick.terms[signal.strategy]
    price = tick.prices.get(signal.symbol)
    if price is None:
        return Decision(signal, Reason.STALE_DATA, "there is no price"), None
    ref = entry_ref(tick.owner, signal.strategy, signal.symbol, signal.bar_time, signal.action)
    candidate = Candidate(
        strategy=signal.strategy,
        symbol=signal.symbol,
        side=Side.BUY if signal.action is Action.BUY else Side.SELL,
        quantity=entry_quantity(signal.confidence, terms.min_confidence, view.equity, price, terms.sizing),
        price=price,
        position_id=position_id(ref),
        data_age_seconds=tick.ages.get(signal.symbol),
    )
    verdict = evaluate_entry(candidate, view, tick.limits)
    if isinstance(verdict, Deny):
        return Decision(signal, verdict.reason, verdict.detail, until=verdict.until), None
    if terms.is_shadow:
        return Decision(signal, Reason.SHADOW), None
    blocked = tick.entry_blocked.get(signal.strategy)
    if blocked is not None:
        return Decision(signal, blocked), None
    intent = Intent(
        order_ref=ref,
        kind=IntentKind.ENTRY,
        strategy=signal.strategy,
        symbol=signal.symbol,
        side=candidate.side,
        quantity=candidate.quantity,
        position_id=candidate.position_id,
        reason=signal.reason,
        bar_time=signal.bar_time,
        created_at=tick.now,
        epoch=tick.epoch,
        reference_price=price,
        exits=encode_policy(terms.exits),
        confidence=signal.confidence,
    )
    return Decision(signal, Reason.ORDERED, intent=intent), candidate


def exit_intent(
    position: Position,
    found: Exit,
    *,
    owner: str,
    epoch: int,
    now: datetime,
    price: Decimal,
    limit: Decimal | None = None,
) -> Intent:
    """The order by which a position is left, at the market or at `limit`; its identity is the position's next exit."""
    return Intent(
        order_ref=exit_ref(owner, position.position_id, position.exit_sequence + 1),
        kind=IntentKind.EXIT,
        strategy=position.strategy,
        symbol=position.symbol,
        side=found.side,
        quantity=found.quantity,
        position_id=position.position_id,
        reason=found.reason.value,
        bar_time=now,
        created_at=now,
        epoch=epoch,
        reference_price=price,
        order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
        limit_price=limit,
    )

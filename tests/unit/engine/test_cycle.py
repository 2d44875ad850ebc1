"""One tick's decisions: every signal has a reason, exits come first, and entries see what the tick has reserved."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.values import OWNER, T0, at, make_position, make_signal
from openbell.domain.identity import entry_ref, exit_ref, position_id
from openbell.domain.orders import IntentKind, Side
from openbell.domain.policies import decode_policy
from openbell.domain.positions import ExitPolicy
from openbell.domain.reasons import Reason
from openbell.domain.signals import Action, Signal
from openbell.engine.cycle import Decision, Terms, Tick, decide
from openbell.engine.sizing import SizingRule
from openbell.risk.view import RiskLimits, RiskView, WorkingEntry

RULE = SizingRule(min_fraction=0.02, max_fraction=0.10, max_notional=Decimal(25_000), max_equity_fraction=0.25)
TERMS = Terms(min_confidence=0.5, sizing=RULE, exits=ExitPolicy(stop_loss=0.03))


def view(**changes: Any) -> RiskView:
    values: dict[str, Any] = {
        "now": at(1),
        "day_start": T0,
        "equity": Decimal(100_000),
        "day_start_equity": Decimal(100_000),
        "realized_today": Decimal(0),
        "buying_power": Decimal(100_000),
    }
    return RiskView(**(values | changes))


def tick(*signals: Signal, **changes: Any) -> Tick:
    values: dict[str, Any] = {
        "now": at(1),
        "owner": OWNER,
        "epoch": 3,
        "signals": signals,
        "terms": {"trend": TERMS, "other": TERMS},
        "prices": {"AAPL": Decimal(100), "MSFT": Decimal(50)},
        "risk": view(),
        "limits": RiskLimits(),
        "entry_blocked": {},
        "leaving": frozenset(),
        "held_by_broker": None,
    }
    return Tick(**(values | changes))


def only(tick: Tick) -> Decision:
    (decision,) = decide(tick)
    return decision


def test_a_buy_becomes_an_entry_with_everything_that_it_needs() -> None:
    signal = make_signal(confidence=1.0)
    intent = only(tick(signal)).intent
    assert intent is not None
    assert intent.order_ref == entry_ref(OWNER, "trend", "AAPL", T0, Action.BUY)
    assert intent.position_id == position_id(intent.order_ref)
    assert (intent.kind, intent.side, intent.quantity, intent.epoch) == (IntentKind.ENTRY, Side.BUY, 100, 3)
    assert decode_policy(intent.exits) == TERMS.exits
    assert (intent.created_at, intent.bar_time, intent.reference_price) == (at(1), T0, 100)


@pytest.mark.parametrize("change", [{"confidence": 0.9}, {"reason": "rising faster"}, {"version": "2"}])
def test_an_entrys_identity_is_the_same_whatever_is_said_later_of_that_bar(change: dict[str, Any]) -> None:
    first, second = only(tick(make_signal())).intent, only(tick(make_signal(**change))).intent
    assert first is not None
    assert second is not None
    assert first.order_ref == second.order_ref


LONG = make_position("a")
REACHED: list[tuple[Reason, Tick]] = [
    (Reason.ORDERED, tick(make_signal())),
    (Reason.SHADOW, tick(make_signal(), terms={"trend": replace(TERMS, is_shadow=True)})),
    (
        Reason.SHADOW,
        tick(
            make_signal(action=Action.CLOSE),
            terms={"trend": replace(TERMS, is_shadow=True)},
            risk=view(positions=(LONG,)),
        ),
    ),
    (Reason.LOW_CONFIDENCE, tick(make_signal(confidence=0.49))),
    (Reason.INVALID_SIGNAL, tick(make_signal(confidence=float("nan")))),
    (Reason.EXPIRED, tick(make_signal(valid_until=at(1)))),
    (Reason.STALE_DATA, tick(make_signal(), prices={})),
    (Reason.NOT_HELD, tick(make_signal(action=Action.SELL))),
    (Reason.NOT_HELD, tick(make_signal(action=Action.CLOSE))),
    (
        Reason.NOT_HELD,
        tick(make_signal(action=Action.CLOSE), risk=view(positions=(LONG,)), held_by_broker={}),
    ),
    (Reason.ALREADY_HELD, tick(make_signal(), risk=view(positions=(LONG,)))),
    (
        Reason.ALREADY_HELD,
        tick(make_signal(), risk=view(working_entries=(WorkingEntry("p-x", "trend", "AAPL", Side.BUY),))),
    ),
    (
        Reason.ALREADY_DECIDED,
        tick(make_signal(action=Action.CLOSE), risk=view(positions=(LONG,)), leaving=frozenset({"p-a"})),
    ),
    (
        Reason.OPPOSITE_POSITION,
        tick(
            make_signal(action=Action.SELL),
            risk=view(positions=(make_position("b", strategy="other"),)),
            limits=RiskLimits(allow_short=True),
        ),
    ),
    (Reason.DAILY_LOSS, tick(make_signal(), risk=view(equity=Decimal(95_000)))),
    (Reason.ORDER_RATE_DAY, tick(make_signal(), risk=view(order_times=(T0,)), limits=RiskLimits(max_orders_per_day=1))),
    (
        Reason.ORDER_RATE_MINUTE,
        tick(make_signal(), risk=view(order_times=(T0,)), limits=RiskLimits(max_orders_per_minute=1)),
    ),
    (
        Reason.MAX_CONCURRENT_TRADES,
        tick(
            make_signal(),
            risk=view(positions=(make_position("m", symbol="MSFT"),)),
            limits=RiskLimits(max_concurrent_trades=1),
        ),
    ),
    (
        Reason.STRATEGY_MAX_TRADES,
        tick(
            make_signal(),
            risk=view(positions=(make_position("m", symbol="MSFT"),)),
            limits=RiskLimits(strategy_max_trades={"trend": 1}),
        ),
    ),
    (Reason.SIZE_ZERO, tick(make_signal(), prices={"AAPL": Decimal(90_000)})),
    (Reason.MAX_ORDER_NOTIONAL, tick(make_signal(), limits=RiskLimits(max_order_notional=Decimal(100)))),
    (Reason.BUYING_POWER, tick(make_signal(), risk=view(buying_power=Decimal(100)))),
    (Reason.PAUSED, tick(make_signal(), entry_blocked={"trend": Reason.PAUSED})),
]


@pytest.mark.parametrize(("reason", "tick"), REACHED, ids=[reason.value for reason, _ in REACHED])
def test_each_reason_is_reached(reason: Reason, tick: Tick) -> None:
    decision = only(tick)
    assert decision.reason is reason
    assert (decision.intent is not None) == (reason is Reason.ORDERED)


def test_opposite_opinions_on_one_symbol_the_higher_rank_wins() -> None:
    buy, sell = make_signal(confidence=0.9), make_signal(strategy="other", action=Action.SELL, confidence=0.8)
    decisions = {d.signal.strategy: d.reason for d in decide(tick(sell, buy, limits=RiskLimits(allow_short=True)))}
    assert decisions == {"trend": Reason.ORDERED, "other": Reason.CONFLICT}


def test_a_closing_signal_acts_while_entries_are_blocked() -> None:
    blocked = {"trend": Reason.PAUSED}
    decision = only(tick(make_signal(action=Action.CLOSE), risk=view(positions=(LONG,)), entry_blocked=blocked))
    assert decision.reason is Reason.ORDERED
    assert decision.intent is not None
    assert (decision.intent.kind, decision.intent.side) == (IntentKind.EXIT, Side.SELL)
    assert decision.intent.order_ref == exit_ref(OWNER, "p-a", 1)


def test_an_exit_needs_no_confidence_no_price_and_no_limit() -> None:
    hard = RiskLimits(max_concurrent_trades=1, max_orders_per_minute=1, max_order_notional=Decimal(1))
    poor = view(positions=(LONG,), equity=Decimal(1), buying_power=Decimal(0), order_times=(T0, T0))
    decision = only(tick(make_signal(action=Action.SELL, confidence=0.0), prices={}, risk=poor, limits=hard))
    assert decision.reason is Reason.ORDERED


def test_an_exit_is_for_what_the_broker_holds_at_most() -> None:
    held = {"AAPL": Decimal(4)}
    decision = only(tick(make_signal(action=Action.CLOSE), risk=view(positions=(LONG,)), held_by_broker=held))
    assert decision.intent is not None
    assert decision.intent.quantity == 4


def test_an_entry_sees_what_the_one_before_it_has_reserved() -> None:
    first, second = make_signal(confidence=0.9), make_signal(symbol="MSFT", confidence=0.8)
    limits = RiskLimits(max_concurrent_trades=1)
    assert [d.reason for d in decide(tick(second, first, limits=limits))] == [
        Reason.ORDERED,
        Reason.MAX_CONCURRENT_TRADES,
    ]


signals = st.builds(
    make_signal,
    strategy=st.sampled_from(["trend", "other"]),
    symbol=st.sampled_from(["AAPL", "MSFT"]),
    action=st.sampled_from(Action),
    confidence=st.floats(0, 1),
    valid_until=st.sampled_from([at(0.5), at(60)]),
)
lots = st.lists(
    st.builds(
        make_position,
        st.sampled_from("abcd"),
        strategy=st.sampled_from(["trend", "other"]),
        symbol=st.sampled_from(["AAPL", "MSFT"]),
        quantity=st.sampled_from([Decimal(10), Decimal(-10)]),
    ),
    max_size=4,
    unique_by=(lambda lot: lot.position_id, lambda lot: (lot.strategy, lot.symbol)),
)
blocks = st.dictionaries(st.sampled_from(["trend", "other"]), st.sampled_from([Reason.PAUSED, Reason.RECONCILING]))
worlds = st.builds(
    lambda said, held, blocked, short: tick(
        *said, risk=view(positions=tuple(held)), entry_blocked=blocked, limits=RiskLimits(allow_short=short)
    ),
    st.lists(signals, max_size=8),
    lots,
    blocks,
    st.booleans(),
)


@given(worlds)
def test_every_signal_has_one_decision(tick: Tick) -> None:
    decisions = decide(tick)
    assert sorted(map(id, (d.signal for d in decisions))) == sorted(map(id, tick.signals))
    assert all((d.intent is not None) == (d.reason is Reason.ORDERED) for d in decisions)


@given(worlds)
def test_exits_come_before_entries_and_nothing_is_said_twice(tick: Tick) -> None:
    intents = [decision.intent for decision in decide(tick) if decision.intent is not None]
    kinds = [intent.kind for intent in intents]
    assert kinds == sorted(kinds, key=[IntentKind.EXIT, IntentKind.ENTRY].index)
    refs = [intent.order_ref for intent in intents]
    assert len(refs) == len(set(refs))


@given(worlds)
def test_exits_only_reduce_and_entries_only_open(tick: Tick) -> None:
    lots = {position.position_id: position for position in tick.risk.positions}
    for decision in decide(tick):
        intent = decision.intent
        if intent is None:
            continue
        if intent.kind is IntentKind.EXIT:
            lot = lots[intent.position_id]
            assert intent.side.sign * lot.quantity < 0
            assert intent.quantity <= abs(lot.quantity)
            assert intent.strategy == lot.strategy
        else:
            assert intent.strategy not in tick.entry_blocked
            assert not any(lot.symbol == intent.symbol and lot.quantity * intent.side.sign < 0 for lot in lots.values())


@given(worlds, st.randoms(use_true_random=False))
def test_the_order_in_which_signals_come_decides_nothing(tick: Tick, random: Any) -> None:
    shuffled = list(tick.signals)
    random.shuffle(shuffled)
    intents = [decision.intent for decision in decide(tick)]
    assert [decision.intent for decision in decide(replace(tick, signals=tuple(shuffled)))] == intents

"""Exits win: whatever any rule, lock, settlement or day-trading state says, what is held can be left."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fakes.values import OWNER, T0, make_position, make_signal
from openbell.domain.limits import AccountKind, LockScope, Regime
from openbell.domain.orders import IntentKind, Side
from openbell.domain.positions import ExitPolicy
from openbell.domain.reasons import Reason
from openbell.domain.signals import Action
from openbell.engine.cycle import Terms, Tick, decide
from openbell.engine.sizing import SizingRule
from openbell.risk import RiskLimits, RiskView
from openbell.risk.day_trading import DayTradingLimits, DayTradingView
from openbell.risk.intraday_margin import MarginState
from openbell.risk.locks import Lock
from openbell.risk.pattern_day_trader import Window
from openbell.risk.settled_cash import SettlementLimits, SettlementView

NOTHING = Decimal(0)
DAY = date(2026, 7, 6)
ratios = st.one_of(st.none(), st.sampled_from([0.0, 1e-9]))

limits = st.builds(
    RiskLimits,
    allow_short=st.booleans(),
    max_concurrent_trades=st.just(0),
    max_order_notional=st.sampled_from([NOTHING, Decimal(1)]),
    max_daily_loss_fraction=st.sampled_from([0.0, 1.0]),
    max_orders_per_minute=st.integers(0, 1),
    max_orders_per_day=st.integers(0, 1),
    max_symbol_exposure=ratios,
    max_gross_exposure=ratios,
    max_drawdown_fraction=ratios,
    max_data_age_seconds=st.integers(0, 1),
    symbol_cooldown_seconds=st.integers(0, 10**6),
    opposite_order_seconds=st.integers(0, 10**6),
    max_round_trips_per_day=st.integers(0, 1),
    strategy_orders_per_minute=st.integers(0, 1),
    settlement=st.builds(SettlementLimits, st.sampled_from(AccountKind), st.booleans(), st.integers(1, 3)),
    day_trading=st.builds(DayTradingLimits, st.sampled_from(Regime), st.sampled_from([None, Decimal(10**9)])),
)

locks = st.lists(
    st.builds(
        Lock,
        st.just("l"),
        st.sampled_from(LockScope),
        st.sampled_from(["", "AAPL", "trend"]),
        st.sampled_from([Reason.LOCKED, Reason.COOLDOWN]),
        st.just(""),
        st.just(T0),
        st.none(),
        st.just("ada"),
    ),
    max_size=3,
).map(tuple)


def view(made: tuple[Lock, ...], quantity: int) -> RiskView:
    """An account in ruins that holds AAPL."""
    settlement = SettlementView(SettlementLimits(AccountKind.CASH), -Decimal(10**6), -Decimal(10**6), DAY)
    margin = MarginState(NOTHING, -Decimal(10**6), -Decimal(10**6), restricted_until=DAY)
    return RiskView(
        now=T0,
        day_start=T0,
        equity=Decimal(1),
        day_start_equity=Decimal(10**6),
        realized_today=-Decimal(10**6),
        buying_power=NOTHING,
        positions=(make_position(quantity=Decimal(quantity)),),
        order_times=(T0,) * 9,
        peak_equity=Decimal(10**6),
        strategy_order_times={"trend": (T0,) * 9},
        last_exits={"AAPL": T0},
        last_orders={("AAPL", side): T0 for side in Side},
        round_trips_today=99,
        locks=made,
        settlement=settlement,
        day_trading=DayTradingView(DAY, NOTHING, Window((DAY,), (99,), 99), margin, 0, ("AAPL",)),
    )


@given(limits, locks, st.integers(1, 500), st.booleans(), st.sampled_from(list(Reason)))
def test_no_exit_passes_through_any_rule(
    rules: RiskLimits, made: tuple[Lock, ...], size: int, is_short: bool, blocked: Reason
) -> None:
    quantity = -size if is_short else size
    tick = Tick(
        now=T0,
        owner=OWNER,
        epoch=1,
        signals=(make_signal(action=Action.CLOSE),),
        terms={"trend": Terms(0.5, SizingRule(), ExitPolicy())},
        prices={},
        risk=view(made, quantity),
        limits=rules,
        entry_blocked={"trend": blocked},
        leaving=frozenset(),
        ages={"AAPL": 1e9},
    )
    (decision,) = decide(tick)
    assert decision.reason is Reason.ORDERED
    assert decision.intent is not None
    assert decision.intent.kind is IntentKind.EXIT
    assert decision.intent.quantity == size
    assert decision.intent.side is (Side.BUY if is_short else Side.SELL)

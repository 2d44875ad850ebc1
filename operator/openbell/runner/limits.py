"""The rules' limits and protections from the resources'."""

from __future__ import annotations

from decimal import Decimal

from openbell.domain.limits import Regime
from openbell.resources.risk import (
    CooldownSpec,
    DayTradingSpec,
    DrawdownGuardSpec,
    LowProfitSpec,
    ProtectionSpec,
    ProtectionType,
    RiskSpec,
    SettlementSpec,
    StopLossGuardSpec,
)
from openbell.resources.surroundings import BrokerType
from openbell.risk.day_trading import DayTradingLimits
from openbell.risk.protections import Cooldown, DrawdownGuard, LowProfit, Protection, StopLossGuard
from openbell.risk.settled_cash import SettlementLimits
from openbell.risk.view import RiskLimits
from openbell.runner.control import Control


def limits_of(control: Control) -> RiskLimits:
    """The engine's risk limits from the resources'."""
    risk = control.spec.risk
    return RiskLimits(
        allow_short=risk.allow_short,
        max_concurrent_trades=control.spec.max_concurrent_trades,
        strategy_max_trades={
            name: entry.spec.max_concurrent_trades
            for name, entry in control.entries.items()
            if entry.spec.max_concurrent_trades is not None
        },
        max_order_notional=Decimal(risk.max_order_notional),
        max_daily_loss_fraction=risk.max_daily_loss_fraction,
        max_orders_per_minute=risk.max_orders_per_minute,
        max_orders_per_day=risk.max_orders_per_day,
        max_symbol_exposure=risk.max_symbol_exposure,
        max_gross_exposure=risk.max_gross_exposure,
        max_drawdown_fraction=drawdown_limit(risk),
        max_data_age_seconds=risk.max_data_age_seconds,
        symbol_cooldown_seconds=risk.symbol_cooldown_seconds,
        opposite_order_seconds=risk.opposite_order_seconds,
        max_round_trips_per_day=risk.max_round_trips_per_day,
        strategy_orders_per_minute=risk.max_strategy_orders_per_minute,
        settlement=_settlement(risk.settlement),
        day_trading=_day_trading(risk.day_trading, control.spec.broker.type),
    )


def drawdown_limit(risk: RiskSpec) -> float | None:
    """The fraction from which on a drawdown denies; None where the rule is off."""
    return None if risk.max_drawdown_fraction == 1 else risk.max_drawdown_fraction


def _settlement(spec: SettlementSpec) -> SettlementLimits:
    return SettlementLimits(
        account=spec.account,
        allow_unsettled_funding=spec.allow_unsettled_funding,
        good_faith_limit=spec.good_faith_limit,
        cost_allowance=spec.cost_allowance,
        fee_allowance=Decimal(spec.fee_allowance),
    )


def _day_trading(spec: DayTradingSpec, broker: BrokerType) -> DayTradingLimits:
    # Auto asks the broker, and the simulated one has no such rule.
    is_none = spec.regime is Regime.AUTO and broker is BrokerType.SIMULATED
    return DayTradingLimits(
        regime=Regime.NONE if is_none else spec.regime,
        min_excess_liquidity=None if spec.min_excess_liquidity is None else Decimal(spec.min_excess_liquidity),
    )


def protections_of(risk: RiskSpec) -> tuple[Protection, ...]:
    """The protections in the order of the resource, which is part of what a lock of theirs is known by."""
    return tuple(_protection(spec) for spec in risk.protections)


def _protection(spec: ProtectionSpec) -> Protection:
    match spec.type:
        case ProtectionType.STOP_LOSS_GUARD:
            guard = spec.stop_loss_guard or StopLossGuardSpec()
            return StopLossGuard(guard.lookback_seconds, guard.lock_seconds, guard.stops, guard.scope)
        case ProtectionType.DRAWDOWN_GUARD:
            fall = spec.drawdown_guard or DrawdownGuardSpec()
            return DrawdownGuard(fall.lookback_seconds, fall.lock_seconds, fall.max_fraction, fall.least_trades)
        case ProtectionType.LOW_PROFIT:
            low = spec.low_profit or LowProfitSpec()
            return LowProfit(low.lookback_seconds, low.lock_seconds, low.required, low.least_trades, low.scope)
        case ProtectionType.COOLDOWN:
            cooldown = spec.cooldown or CooldownSpec()
            return Cooldown(cooldown.lock_seconds, cooldown.scope)

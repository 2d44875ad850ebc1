"""Every field of spec.risk reaches the rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fakes.trading import control_of, scheduler_manifest, strategy_manifest
from openbell.domain.errors import ManifestError
from openbell.domain.limits import AccountKind, LockScope, Regime
from openbell.risk.day_trading import DayTradingLimits
from openbell.risk.protections import Cooldown, DrawdownGuard, LowProfit, StopLossGuard
from openbell.risk.settled_cash import SettlementLimits
from openbell.risk.view import RiskLimits
from openbell.runner.limits import limits_of, protections_of


def limits(**risk: Any) -> RiskLimits:
    return limits_of(control_of(scheduler_manifest(risk=risk), strategy_manifest()))


def test_the_defaults_are_what_the_reference_says() -> None:
    made = limits()
    assert (made.max_symbol_exposure, made.max_gross_exposure, made.max_drawdown_fraction) == (0.5, 1.0, 0.25)
    assert (made.symbol_cooldown_seconds, made.opposite_order_seconds, made.max_round_trips_per_day) == (0, 0, 0)
    assert (made.max_data_age_seconds, made.strategy_orders_per_minute) == (300, 0)
    assert made.settlement == SettlementLimits()
    assert made.day_trading == DayTradingLimits(Regime.NONE)


def test_what_is_written_is_what_limits() -> None:
    made = limits(
        maxSymbolExposure=0.3,
        maxGrossExposure=2,
        maxDrawdownFraction=1,
        maxDataAgeSeconds=7,
        symbolCooldownSeconds=8,
        oppositeOrderSeconds=9,
        maxRoundTripsPerDay=10,
        maxStrategyOrdersPerMinute=11,
        settlement={
            "account": "Cash",
            "allowUnsettledFunding": True,
            "goodFaithLimit": 4,
            "costAllowance": 0.02,
            "feeAllowance": "1.5",
        },
        dayTrading={"regime": "IntradayMargin", "minExcessLiquidity": "700"},
    )
    assert (made.max_symbol_exposure, made.max_gross_exposure, made.max_drawdown_fraction) == (0.3, 2, None)
    assert (made.max_data_age_seconds, made.symbol_cooldown_seconds, made.opposite_order_seconds) == (7, 8, 9)
    assert (made.max_round_trips_per_day, made.strategy_orders_per_minute) == (10, 11)
    assert made.settlement == SettlementLimits(AccountKind.CASH, True, 4, 0.02, Decimal("1.5"))
    assert made.day_trading == DayTradingLimits(Regime.INTRADAY_MARGIN, Decimal(700))


def test_a_protection_has_its_own_block_or_the_defaults_of_its_type() -> None:
    written = [
        {"type": "StopLossGuard", "stopLossGuard": {"lookbackSeconds": 60, "lockSeconds": 30, "stops": 2}},
        {"type": "DrawdownGuard"},
        {"type": "LowProfit", "lowProfit": {"required": -0.01, "scope": "Strategy"}},
        {"type": "Cooldown", "cooldown": {"lockSeconds": 5, "scope": "Global"}},
    ]
    control = control_of(scheduler_manifest(risk={"protections": written}), strategy_manifest())
    week, day = 604_800, 86_400
    assert protections_of(control.spec.risk) == (
        StopLossGuard(60, 30, 2),
        DrawdownGuard(week, day, 0.05, 3),
        LowProfit(week, day, -0.01, 3, LockScope.STRATEGY),
        Cooldown(5, LockScope.GLOBAL),
    )


@pytest.mark.parametrize(
    ("risk", "sentence"),
    [
        (
            {"protections": [{"type": "Cooldown", "lowProfit": {}}]},
            "spec.risk.protections[].lowProfit is only allowed when its type is LowProfit",
        ),
        (
            {"allowShort": True, "settlement": {"account": "Cash"}},
            "spec.risk.allowShort must be false when spec.risk.settlement.account is Cash",
        ),
        ({"protections": [{"type": "Luck"}]}, "StopLossGuard, DrawdownGuard, LowProfit, Cooldown"),
        ({"dayTrading": {"regime": "PDT"}}, "Auto, LegacyPDT, IntradayMargin, None"),
    ],
)
def test_what_does_not_fit_together_is_refused(risk: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ManifestError) as caught:
        limits(**risk)
    assert sentence in str(caught.value)

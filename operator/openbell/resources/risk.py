"""The block `spec.risk`: limits of the whole scheduler, protections, settlement and day trading."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from openbell.domain.limits import AccountKind, LockScope, Regime
from openbell.resources.common import Bool, Model, Money, PositiveMoney, Ratio, Rule, list_type, one_of, whole

DAY_SECONDS = 86_400
MONTH_SECONDS = 31 * DAY_SECONDS
MAX_PROTECTIONS = 16

PositiveRatio = Annotated[float, Field(strict=True, gt=0, le=1)]
Leverage = Annotated[float, Field(strict=True, gt=0, le=10)]
Seconds = Annotated[int, Field(strict=True, ge=0, le=MONTH_SECONDS), whole]
PositiveSeconds = Annotated[int, Field(strict=True, ge=1, le=MONTH_SECONDS), whole]
FewTrades = Annotated[int, Field(strict=True, ge=1, le=1_000), whole]
SignedRatio = Annotated[float, Field(strict=True, ge=-1, le=1)]

_LOOKBACK = "How far back closed trades count, in seconds."
_LOCK = "How long openings stay locked after the last of these trades, in seconds."
_SCOPE = "What is locked: Global is every opening, Symbol and Strategy those of the trades' own."


class ProtectionType(StrEnum):
    STOP_LOSS_GUARD = "StopLossGuard"
    DRAWDOWN_GUARD = "DrawdownGuard"
    LOW_PROFIT = "LowProfit"
    COOLDOWN = "Cooldown"


class StopLossGuardSpec(Model):
    """Locks after several losing exits by a stop loss or a trailing stop."""

    lookback_seconds: PositiveSeconds = Field(DAY_SECONDS, description=_LOOKBACK)
    lock_seconds: PositiveSeconds = Field(3_600, description=_LOCK)
    stops: FewTrades = Field(4, description="So many losing stops lock.")
    scope: Annotated[LockScope, one_of(LockScope)] = Field(LockScope.GLOBAL, description=_SCOPE)


class DrawdownGuardSpec(Model):
    """Locks when the equity line of the closed trades has fallen too far from its highest point."""

    lookback_seconds: PositiveSeconds = Field(7 * DAY_SECONDS, description=_LOOKBACK)
    lock_seconds: PositiveSeconds = Field(DAY_SECONDS, description=_LOCK)
    max_fraction: PositiveRatio = Field(0.05, description="Fall that locks, as a ratio of the highest point.")
    least_trades: FewTrades = Field(3, description="Fewer closed trades than this do not lock.")


class LowProfitSpec(Model):
    """Locks when the closed trades brought too little for what their entries cost."""

    lookback_seconds: PositiveSeconds = Field(7 * DAY_SECONDS, description=_LOOKBACK)
    lock_seconds: PositiveSeconds = Field(DAY_SECONDS, description=_LOCK)
    required: SignedRatio = Field(0.0, description="Least profit after fees, as a ratio of what the entries cost.")
    least_trades: FewTrades = Field(3, description="Fewer closed trades than this do not lock.")
    scope: Annotated[LockScope, one_of(LockScope)] = Field(LockScope.SYMBOL, description=_SCOPE)


class CooldownSpec(Model):
    """Locks after every exit."""

    lock_seconds: PositiveSeconds = Field(300, description="How long openings stay locked after an exit, in seconds.")
    scope: Annotated[LockScope, one_of(LockScope)] = Field(LockScope.SYMBOL, description=_SCOPE)


def _only_for(kind: ProtectionType, name: str, attribute: str) -> Rule:
    return Rule(
        cel=f"self.type == '{kind.value}' || !has(self.{name})",
        message=f"spec.risk.protections[].{name} is only allowed when its type is {kind.value}",
        check=lambda protection: protection.type is kind or getattr(protection, attribute) is None,
        field_path=f".{name}",
        reason="FieldValueForbidden",
    )


class ProtectionSpec(Model):
    """One protection: its type, and the block of that type where its defaults are not wanted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _only_for(ProtectionType.STOP_LOSS_GUARD, "stopLossGuard", "stop_loss_guard"),
        _only_for(ProtectionType.DRAWDOWN_GUARD, "drawdownGuard", "drawdown_guard"),
        _only_for(ProtectionType.LOW_PROFIT, "lowProfit", "low_profit"),
        _only_for(ProtectionType.COOLDOWN, "cooldown", "cooldown"),
    )

    type: Annotated[ProtectionType, one_of(ProtectionType)] = Field(
        description="StopLossGuard: after several losing stops. DrawdownGuard: after a drawdown of closed trades. "
        "LowProfit: after too little profit. Cooldown: after every exit."
    )
    stop_loss_guard: StopLossGuardSpec | None = Field(None, description="Settings of type StopLossGuard.")
    drawdown_guard: DrawdownGuardSpec | None = Field(None, description="Settings of type DrawdownGuard.")
    low_profit: LowProfitSpec | None = Field(None, description="Settings of type LowProfit.")
    cooldown: CooldownSpec | None = Field(None, description="Settings of type Cooldown.")


class SettlementSpec(Model):
    """What may be bought with which money. The broker's own figure of settled cash counts too, where it gives one."""

    account: Annotated[AccountKind, one_of(AccountKind)] = Field(
        AccountKind.MARGIN,
        description="Margin: settlement limits nothing. Cash: purchases are paid with settled money that no open "
        "purchase needs, nothing is sold short, and sales before their purchase was paid are counted.",
    )
    allow_unsettled_funding: Bool = Field(
        False,
        description="Cash accounts: whether proceeds that have not settled may buy too. A sale before they have is "
        "a good-faith violation: it is done all the same, and counted.",
    )
    good_faith_limit: Annotated[int, Field(strict=True, ge=2, le=10), whole] = Field(
        3,
        description="Good-faith violations within 12 months from which the broker restricts the account; one before "
        "that, only settled money buys. Free-riding means settled money for 90 days at once.",
    )
    cost_allowance: Ratio = Field(
        0.005, description="What slippage may add to a purchase, as a ratio of its worth; kept free of settled cash."
    )
    fee_allowance: Money = Field(
        Decimal(5), description="What fees may add to a purchase, as a decimal string; kept free of settled cash."
    )


class DayTradingSpec(Model):
    """Which rule of day trading holds for a margin account; before 2026-06-04 only LegacyPDT exists, after
    2027-10-20 only IntradayMargin, also in simulated time."""

    regime: Annotated[Regime, one_of(Regime)] = Field(
        Regime.AUTO,
        description="Auto: what the broker says of day trades and excess liquidity, else the stricter of both rules; "
        "the simulated broker has no such rule, so that Auto limits nothing there. LegacyPDT: below $25,000 no "
        "opening that could become the fourth day trade in five business days. IntradayMargin: openings leave "
        "minExcessLiquidity. None: no rule.",
    )
    min_excess_liquidity: Money | None = Field(
        None,
        description="IntradayMargin: excess liquidity that is to be left after an opening, as a decimal string; "
        "absent = the greater of 5 % of equity and 1000.",
    )


class RiskSpec(Model):
    """Limits of the whole scheduler. They only ever block openings, never exits."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!(self.allowShort && self.settlement.account == 'Cash')",
            message="spec.risk.allowShort must be false when spec.risk.settlement.account is Cash",
            check=lambda risk: not (risk.allow_short and risk.settlement.account is AccountKind.CASH),
            field_path=".allowShort",
        ),
    )

    kill_switch: Bool = Field(
        False,
        description="true = reduce-only at once: nothing is opened, working entries are cancelled, exits go on; "
        "acknowledged by the condition Paused with the reason KillSwitch.",
    )
    allow_short: Bool = Field(False, description="Whether a Sell without a position opens a short one.")
    max_order_notional: PositiveMoney = Field(
        Decimal(50000), description="Most that one opening order may be worth, as a decimal string."
    )
    max_symbol_exposure: Leverage = Field(
        0.5, description="Most that one symbol may come to, all strategies together, as a ratio of equity."
    )
    max_gross_exposure: Leverage = Field(
        1.0, description="Most that all positions may come to, long and short added up, as a ratio of equity."
    )
    max_daily_loss_fraction: PositiveRatio = Field(
        0.05, description="Openings stop for the day once the day's loss reaches this fraction of equity; 1 = off."
    )
    max_drawdown_fraction: PositiveRatio = Field(
        0.25,
        description="Openings stop once equity has fallen by this fraction from its highest, until it has recovered "
        "or a person lifts the lock, from which on the highest is counted anew; 1 = off.",
    )
    max_data_age_seconds: Annotated[int, Field(strict=True, ge=0, le=DAY_SECONDS), whole] = Field(
        300, description="Oldest price that an opening may be made with, in seconds of open market; 0 = off."
    )
    max_orders_per_minute: Annotated[int, Field(strict=True, ge=1, le=10_000), whole] = Field(
        30, description="Most opening orders within one minute."
    )
    max_orders_per_day: Annotated[int, Field(strict=True, ge=1, le=1_000_000), whole] = Field(
        500, description="Most opening orders within one trading day."
    )
    max_strategy_orders_per_minute: Annotated[int, Field(strict=True, ge=0, le=500), whole] = Field(
        0, description="From so many orders of one strategy within one minute on it opens nothing; 0 = off."
    )
    max_round_trips_per_day: Annotated[int, Field(strict=True, ge=0, le=10_000), whole] = Field(
        0, description="Most positions opened and closed within one trading day, those still open included; 0 = off."
    )
    symbol_cooldown_seconds: Seconds = Field(
        0, description="How long a symbol is not opened after any strategy's last exit of it, in seconds; 0 = off."
    )
    opposite_order_seconds: Seconds = Field(
        0, description="How long a symbol is not opened after an order to the other side, in seconds; 0 = off."
    )
    protections: tuple[ProtectionSpec, ...] = Field(
        (),
        max_length=MAX_PROTECTIONS,
        description="What makes locks: openings are held back for a while after what happened. A lock survives "
        "restarts, is listed in status.locks, and is lifted by the annotation openbell.dev/unlock=<id>.",
        json_schema_extra=list_type("atomic"),
    )
    settlement: SettlementSpec = Field(
        default_factory=SettlementSpec, description="Settled money: what a cash account may buy with."
    )
    day_trading: DayTradingSpec = Field(
        default_factory=DayTradingSpec, description="Day trading: which rule a margin account keeps."
    )

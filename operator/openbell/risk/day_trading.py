"""Day trading in a margin account: which regime holds on a day, and what it says to an opening. Pure.

Two regimes exist. The old FINRA Rule 4210(f)(8)(B) counts day trades (`pattern_day_trader`); its replacement by Rule
4210(d)(2) looks at margin within the day (`intraday_margin`): SR-FINRA-2025-017, approved by Release 34-105226, and
Regulatory Notice 26-10, effective 2026-06-04, with a phase-in for brokers until 2027-10-20. Only openings come here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from openbell.domain.limits import Regime
from openbell.domain.orders import Side
from openbell.risk import intraday_margin, pattern_day_trader
from openbell.risk.intraday_margin import MarginState
from openbell.risk.pattern_day_trader import Window
from openbell.risk.verdict import Deny

INTRADAY_MARGIN_FROM = date(2026, 6, 4)
PHASE_IN_TO = date(2027, 10, 20)


@dataclass(frozen=True, slots=True)
class DayTradingLimits:
    """`min_excess_liquidity` None: the greater of 5 % of equity and $1,000."""

    regime: Regime = Regime.NONE
    min_excess_liquidity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class DayTradingView:
    """The state of the account. `window` are its trades of the last five business days.

    `day_trades_remaining` is the broker's own count (-1: unlimited; None: it gives none), `opened` the symbols that
    were opened today or are about to be and may still become day trades, `prior_equity` the equity at the close of
    the day before.
    """

    today: date
    prior_equity: Decimal
    window: Window
    margin: MarginState
    day_trades_remaining: int | None = None
    opened: tuple[str, ...] = ()

    def after_opening(self, symbol: str, notional: Decimal) -> DayTradingView:
        """The view after an opening was allowed."""
        return replace(self, opened=(*self.opened, symbol), margin=self.margin.after_opening(notional))


def regimes_on(configured: Regime, day: date) -> tuple[Regime, ...]:
    """The rules that hold on a day, also a simulated one; Auto has every rule that exists then.

    Before 2026-06-04 only the old rule exists, after 2027-10-20 only the new one.
    """
    if configured is Regime.NONE:
        return ()
    if day < INTRADAY_MARGIN_FROM:
        return (Regime.LEGACY_PDT,)
    if day > PHASE_IN_TO:
        return (Regime.INTRADAY_MARGIN,)
    return (Regime.LEGACY_PDT, Regime.INTRADAY_MARGIN) if configured is Regime.AUTO else (configured,)


def judge(symbol: str, notional: Decimal, side: Side, view: DayTradingView, limits: DayTradingLimits) -> Deny | None:
    """Why this opening may not be made, or None.

    Under Auto the broker's count of day trades, where it gives one, is taken in place of ours: a broker that says
    -1 has left the old rule behind or does not apply it to this account.
    """
    rules = regimes_on(limits.regime, view.today)
    remaining = view.day_trades_remaining if limits.regime is Regime.AUTO else None
    if Regime.LEGACY_PDT in rules or remaining is not None:
        denied = (
            pattern_day_trader.judge(view.window, view.opened, symbol, view.prior_equity)
            if remaining is None
            else pattern_day_trader.judge_remaining(remaining, view.window, view.opened, symbol)
        )
        if denied is not None:
            return denied
    denied = intraday_margin.minimum_equity(notional, side, view.margin) if rules else None
    if denied is None and Regime.INTRADAY_MARGIN in rules:
        denied = intraday_margin.judge(notional, side, view.margin, limits.min_excess_liquidity)
    return denied

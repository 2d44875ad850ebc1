"""How often may be traded; exits count, but are never held back."""

from __future__ import annotations

from datetime import timedelta

from openbell.domain.reasons import Reason
from openbell.risk.view import Candidate, Deny, RiskLimits, RiskView

MINUTE = timedelta(minutes=1)


def per_minute(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Orders of the last 60 s. A time after `now` (the clock was set back) counts too."""
    limit = limits.max_orders_per_minute
    recent = sorted(time for time in view.order_times if time > view.now - MINUTE)
    if len(recent) < limit:
        return None
    until = recent[-limit] + MINUTE if limit else None
    return Deny(Reason.ORDER_RATE_MINUTE, f"{len(recent)} orders in the last minute, at most {limit}", until)


def per_day(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Orders since the trading day began."""
    sent = sum(1 for time in view.order_times if time >= view.day_start)
    if sent >= limits.max_orders_per_day:
        return Deny(Reason.ORDER_RATE_DAY, f"{sent} orders today, at most {limits.max_orders_per_day}")
    return None


def strategy_per_minute(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Orders of the candidate's strategy in the last 60 s; 0 = no limit."""
    limit = limits.strategy_orders_per_minute
    times = view.strategy_order_times.get(candidate.strategy, ())
    recent = sorted(time for time in times if time > view.now - MINUTE)
    if not limit or len(recent) < limit:
        return None
    detail = f"{candidate.strategy} sent {len(recent)} orders in the last minute, at most {limit}"
    return Deny(Reason.STRATEGY_ORDER_RATE, detail, recent[-limit] + MINUTE)


def symbol_cooldown(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Seconds after any strategy's last exit of the symbol; 0 = none."""
    left = view.last_exits.get(candidate.symbol)
    if left is None or not limits.symbol_cooldown_seconds:
        return None
    until = left + timedelta(seconds=limits.symbol_cooldown_seconds)
    if view.now >= until:
        return None
    detail = (
        f"{candidate.symbol} was left {_seconds(view.now - left)} s ago, {limits.symbol_cooldown_seconds} s are set"
    )
    return Deny(Reason.SYMBOL_COOLDOWN, detail, until)


def opposite_order(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Seconds after the last order of the symbol to the other side, an exit's included; 0 = none."""
    last = view.last_orders.get((candidate.symbol, candidate.side.opposite))
    if last is None or not limits.opposite_order_seconds:
        return None
    until = last + timedelta(seconds=limits.opposite_order_seconds)
    if view.now >= until:
        return None
    side = candidate.side.opposite.value
    detail = f"the last {side} of {candidate.symbol} is {_seconds(view.now - last)} s old, "
    return Deny(Reason.OPPOSITE_ORDER, f"{detail}{limits.opposite_order_seconds} s are set", until)


def round_trips(candidate: Candidate, view: RiskView, limits: RiskLimits) -> Deny | None:
    """Round trips of the day: those completed, and those opened today that may still be completed; 0 = no limit."""
    if not limits.max_round_trips_per_day:
        return None
    open_today = {p.position_id for p in view.positions if p.is_open and p.opened_at >= view.day_start}
    possible = view.round_trips_today + len(open_today | {entry.position_id for entry in view.working_entries})
    if possible < limits.max_round_trips_per_day:
        return None
    detail = f"{possible} round trips were made or begun today, at most {limits.max_round_trips_per_day}"
    return Deny(Reason.MAX_ROUND_TRIPS, detail)


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f}"

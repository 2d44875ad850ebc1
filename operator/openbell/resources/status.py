"""Blocks that the status of both kinds is made of. Every field is optional: absent means not known yet."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from openbell.domain.limits import LockScope
from openbell.domain.state import TradingState
from openbell.resources.common import Count, Model, Moment, Text

State = TradingState


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionModel(Model):
    """One observation of the resource, as metav1.Condition has it."""

    type: Annotated[str, Field(min_length=1, max_length=316)] = Field(description="What is observed.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: Count | None = Field(None, description="Generation of the spec that this is about.")
    last_transition_time: Moment = Field(description="When the status last changed.")
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="The cause, in one word.")
    message: Annotated[str, Field(max_length=32_768)] = Field(description="The cause, for people.")


class PnlStatus(Model):
    """Profit and loss after fees, realised and unrealised, as decimal strings."""

    day: Text | None = Field(None, description="Since the start of the session's day.")
    total: Text | None = Field(None, description="Since the scheduler first started.")


class StatsStatus(Model):
    """Counters since the first start; they survive restarts."""

    evaluations_run: Count | None = Field(None, description="Evaluation cycles that ran.")
    signals_generated: Count | None = Field(None, description="Signals that strategies gave.")
    trades_executed: Count | None = Field(None, description="Entries that the broker filled.")
    trades_rejected: Count | None = Field(None, description="Entries that a rule or the broker refused.")
    exits_executed: Count | None = Field(None, description="Positions that were left.")
    errors: Count | None = Field(None, description="Errors of strategies, data and calls.")
    monitored_positions: Count | None = Field(None, description="Open positions whose exits are watched.")
    last_evaluation: Moment | None = Field(None, description="When the last evaluation ran.")
    last_trade: Moment | None = Field(None, description="When the last entry was filled.")
    started_at: Moment | None = Field(None, description="When the scheduler first started.")


class LockStatus(Model):
    """Openings that are held back; exits never are."""

    id: Text = Field(description="By which it is lifted: kubectl annotate tsch NAME openbell.dev/unlock=ID.")
    scope: LockScope = Field(description="Global, or Symbol or Strategy as subject names it.")
    subject: Text | None = Field(None, description="The symbol or strategy.")
    reason: Text = Field(description="What an opening that it holds back is denied with.")
    since: Moment = Field(description="When it began.")
    until: Moment | None = Field(None, description="When it ends; absent = when a person lifts it.")
    why: Text = Field(description="Why it was made, in one clause.")
    made_by: Text = Field(description="The protection with its place in the list, or who asked for it.")


class PositionStatus(Model):
    """An open position."""

    strategy: Text = Field(description="Strategy that owns it.")
    symbol: Text = Field(description="What is held.")
    quantity: Text = Field(description="Signed quantity as a decimal string; short is negative.")
    average_price: Text = Field(description="Average entry price as a decimal string.")
    pnl: Text | None = Field(None, description="Unrealised profit as a decimal string.")
    opened_at: Moment | None = Field(None, description="When it was opened.")

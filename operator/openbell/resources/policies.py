"""Blocks of the spec that say how to trade: sizing, exits, risk, and what pausing and stopping do."""

from __future__ import annotations

import itertools
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from openbell.domain.positions import Escalation, ExitPolicy, ScaleOut, TrailingStop
from openbell.resources.common import Bool, Model, PositiveMoney, Ratio, Rule, list_type, whole

YEAR_SECONDS = 31_536_000

ProfitRatio = Annotated[float, Field(strict=True, ge=0, le=10)]
HoldingSeconds = Annotated[int, Field(strict=True, ge=0, le=YEAR_SECONDS), whole]
LimitSeconds = Annotated[int, Field(strict=True, ge=0, le=3600), whole]
CloseSeconds = Annotated[int, Field(strict=True, ge=0, le=86_400), whole]

_FRACTIONS_ORDERED = "spec.sizing.minFraction must not be above spec.sizing.maxFraction"


class PausedExits(StrEnum):
    CONTINUE = "Continue"
    HALT = "Halt"


class PausedOrders(StrEnum):
    KEEP = "Keep"
    CANCEL_ENTRIES = "CancelEntries"


class StoppedPositions(StrEnum):
    KEEP = "Keep"
    FLATTEN = "Flatten"


class StoppedRunner(StrEnum):
    KEEP = "Keep"
    SCALE_TO_ZERO = "ScaleToZero"


class PausePolicy(Model):
    """What pausing does besides closing the gate for entries."""

    exits: PausedExits = Field(
        PausedExits.CONTINUE,
        description="Continue: exits go on while paused. Halt: they stop too, and the condition "
        "UnmonitoredPositions is raised while positions are open.",
    )
    open_orders: PausedOrders = Field(
        PausedOrders.CANCEL_ENTRIES,
        description="CancelEntries: working entry orders are cancelled when pausing. Keep: they stay.",
    )


class StopPolicy(Model):
    """What stopping (enabled false, or deletion) does with positions and with the runner."""

    positions: StoppedPositions = Field(
        StoppedPositions.KEEP,
        description="Keep: positions stay open, without exits but for the stops that rest at the broker. "
        "Flatten: they are closed at the market first.",
    )
    runner: StoppedRunner = Field(
        StoppedRunner.KEEP,
        description="Keep: the runner pod stays and answers its API. ScaleToZero: no pod; volume and journal stay.",
    )


# Not `whole`: 60.0 is no int to the CEL rule that compares them, and the API server refuses it.
AdaptiveSeconds = Annotated[int, Field(strict=True, ge=1, le=86_400)]


class AdaptiveSpec(Model):
    """Evaluation intervals that follow the volatility: prices that move more are looked at more often."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.minSeconds <= self.maxSeconds",
            message="spec.adaptive.minSeconds must not be above spec.adaptive.maxSeconds",
            check=lambda adaptive: adaptive.min_seconds <= adaptive.max_seconds,
            field_path=".minSeconds",
        ),
    )

    enabled: Bool = Field(
        False,
        description="Whether each strategy's evaluation interval follows the realised volatility of its symbols: twice "
        "the usual one makes it a quarter, half of it four times as long, in steps on the session's grid. A strategy "
        "whose own interval lies outside of minSeconds to maxSeconds keeps it. A replay evaluates each bar instead.",
    )
    min_seconds: AdaptiveSeconds = Field(15, description="Shortest interval in seconds.")
    max_seconds: AdaptiveSeconds = Field(240, description="Longest interval in seconds.")
    lookback_bars: Annotated[int, Field(strict=True, ge=5, le=200), whole] = Field(
        20, description="Newest bars whose volatility is held against that of the four times as many before them."
    )


class SizingSpec(Model):
    """How large an entry is: a fraction of equity, linear in confidence above minConfidence, then capped."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.minFraction <= self.maxFraction",
            message=_FRACTIONS_ORDERED,
            check=lambda sizing: sizing.min_fraction <= sizing.max_fraction,
            field_path=".minFraction",
        ),
    )

    min_fraction: Ratio = Field(0.02, description="Fraction of equity of an entry at exactly minConfidence.")
    max_fraction: Ratio = Field(0.10, description="Fraction of equity of an entry at confidence 1.")
    max_notional: PositiveMoney = Field(
        Decimal(25000), description="Most that one entry may cost, in the account's currency, as a decimal string."
    )
    max_equity_fraction: Ratio = Field(
        0.25, description="Largest fraction of equity that one symbol may reach, all strategies together."
    )


class SizingOverrides(Model):
    """A strategy's own sizing; what is left out is its scheduler's."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.minFraction) || !has(self.maxFraction) || self.minFraction <= self.maxFraction",
            message=_FRACTIONS_ORDERED,
            check=lambda sizing: (
                sizing.min_fraction is None or sizing.max_fraction is None or sizing.min_fraction <= sizing.max_fraction
            ),
            field_path=".minFraction",
        ),
    )

    min_fraction: Ratio | None = Field(None, description="Fraction of equity of an entry at exactly minConfidence.")
    max_fraction: Ratio | None = Field(None, description="Fraction of equity of an entry at confidence 1.")
    max_notional: PositiveMoney | None = Field(
        None, description="Most that one entry may cost, in the account's currency, as a decimal string."
    )
    max_equity_fraction: Ratio | None = Field(
        None, description="Largest fraction of equity that one symbol may reach, all strategies together."
    )

    def over(self, base: SizingSpec) -> SizingSpec:
        """`base` with what is set here; raises pydantic's ValidationError where the two do not fit together."""
        return SizingSpec.model_validate(base.model_dump() | self.model_dump(exclude_none=True))


class TrailingSpec(Model):
    """A stop that follows the best price."""

    activation: ProfitRatio = Field(
        0.0, description="Profit, as a ratio of the entry price, from which the trailing stop is active."
    )
    distance: Ratio = Field(
        description="Distance of the stop from the best price since the entry, as a ratio of that price; "
        "0 turns the trailing stop off."
    )

    def to_stop(self) -> TrailingStop | None:
        """The domain's value; None where the distance turns it off."""
        return TrailingStop(self.activation, self.distance) if self.distance else None


class ScaleOutSpec(Model):
    """One step in which a part of a position is left."""

    profit: Annotated[float, Field(strict=True, gt=0, le=10)] = Field(
        description="Profit, as a ratio of the entry price, at which the part is left."
    )
    fraction: Annotated[float, Field(strict=True, gt=0, lt=1)] = Field(
        description="How much of what was opened is left then, in whole shares, rounded down."
    )


class EscalationSpec(Model):
    """How an exit without haste is ordered: at a limit first, and at the market when that is not filled in time.

    Stops, trailing stops, flattening, a person's order to close and the last seconds before the close never wait, nor
    does anything in a replay or a backtest.
    """

    limit_seconds: LimitSeconds = Field(
        0, description="Seconds for which a limit order is tried before the market order; 0 = market at once."
    )
    limit_offset_bps: Annotated[float, Field(strict=True, ge=0, le=1000)] = Field(
        0.0,
        description="How far through the touch the limit lies, in basis points: below the bid when selling, above "
        "the ask when buying; 0 = at the touch.",
    )

    def to_escalation(self) -> Escalation | None:
        """The domain's value; None where it is off."""
        return Escalation(self.limit_seconds, self.limit_offset_bps) if self.limit_seconds else None


ScaleOutList = Annotated[tuple[ScaleOutSpec, ...], Field(max_length=5)]

_SCALE_OUT = "Parts of the position that are left on the way to the target, by ascending profit; empty = off."
_BROKER_SIDE = (
    "Whether a stop (and the target) rests at the broker beside each open position, for the time when no runner "
    "watches. A replay and a backtest go without: there the exits themselves fill at the levels."
)


def _ascends(exits: ExitsSpec | ExitsOverrides) -> bool:
    profits = [rung.profit for rung in exits.scale_out or ()]
    return all(one < next_one for one, next_one in itertools.pairwise(profits))


def _leaves_something(exits: ExitsSpec | ExitsOverrides) -> bool:
    total = 0.0
    for rung in exits.scale_out or ():
        total += rung.fraction  # one by one, as CEL adds: Python's own sum() is more exact
    return total < 1


_SCALE_OUT_RULES = (
    Rule(
        cel="!has(self.scaleOut) || (self.scaleOut.map(rung, rung.profit).isSorted() && self.scaleOut.all(one, "
        "self.scaleOut.filter(other, other.profit == one.profit).size() == 1))",
        message="spec.exits.scaleOut must have its profits in ascending order",
        check=_ascends,
        field_path=".scaleOut",
    ),
    Rule(
        cel="!has(self.scaleOut) || self.scaleOut.map(rung, rung.fraction).sum() < 1.0",
        message="spec.exits.scaleOut must have fractions that come to less than 1",
        check=_leaves_something,
        field_path=".scaleOut",
    ),
)


class ExitsSpec(Model):
    """When a position is left. Whatever comes first counts; 0 turns a rule off."""

    rules: ClassVar[tuple[Rule, ...]] = _SCALE_OUT_RULES

    stop_loss: Ratio = Field(0.02, description="Leave at this loss, as a ratio of the entry price; 0 = off.")
    take_profit: ProfitRatio = Field(0.04, description="Leave at this profit, as a ratio of the entry price; 0 = off.")
    trailing: TrailingSpec | None = Field(None, description="Trailing stop; absent = off.")
    max_holding_seconds: HoldingSeconds = Field(0, description="Leave after so many seconds; 0 = off.")
    flat_before_close_seconds: CloseSeconds = Field(
        0, description="Leave so many seconds before the session closes; 0 = positions may stay overnight."
    )
    scale_out: ScaleOutList = Field((), description=_SCALE_OUT, json_schema_extra=list_type("atomic"))
    escalation: EscalationSpec = Field(
        default_factory=EscalationSpec, description="Exits without haste go as a limit order first."
    )
    broker_side: Bool = Field(True, description=_BROKER_SIDE)

    def to_policy(self) -> ExitPolicy:
        """The domain's exit policy, in which None stands for a rule that is off."""
        return ExitPolicy(
            stop_loss=self.stop_loss or None,
            take_profit=self.take_profit or None,
            trailing=self.trailing.to_stop() if self.trailing else None,
            max_holding_seconds=self.max_holding_seconds,
            flat_before_close_seconds=self.flat_before_close_seconds,
            scale_out=tuple(ScaleOut(rung.profit, rung.fraction) for rung in self.scale_out),
            escalation=self.escalation.to_escalation(),
            broker_side=self.broker_side,
        )


class ExitsOverrides(Model):
    """A strategy's own exits; what is left out is its scheduler's."""

    rules: ClassVar[tuple[Rule, ...]] = _SCALE_OUT_RULES

    stop_loss: Ratio | None = Field(None, description="Leave at this loss, as a ratio of the entry price; 0 = off.")
    take_profit: ProfitRatio | None = Field(
        None, description="Leave at this profit, as a ratio of the entry price; 0 = off."
    )
    trailing: TrailingSpec | None = Field(
        None, description="Trailing stop; distance 0 turns the scheduler's off for this strategy."
    )
    max_holding_seconds: HoldingSeconds | None = Field(None, description="Leave after so many seconds; 0 = off.")
    flat_before_close_seconds: CloseSeconds | None = Field(
        None, description="Leave so many seconds before the session closes; 0 = positions may stay overnight."
    )
    scale_out: ScaleOutList | None = Field(
        None,
        description="Parts of the position that are left on the way to the target, instead of all of the scheduler's.",
        json_schema_extra=list_type("atomic"),
    )
    escalation: EscalationSpec | None = Field(
        None, description="Exits without haste go as a limit order first; limitSeconds 0 turns the scheduler's off."
    )
    broker_side: Bool | None = Field(None, description=_BROKER_SIDE)

    def over(self, base: ExitsSpec) -> ExitsSpec:
        """`base` with what is set here."""
        return ExitsSpec.model_validate(base.model_dump() | self.model_dump(exclude_none=True))

"""TradingScheduler: one account, one runner, and everything that its strategies share."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from openbell.domain.state import TradingState, asked_state
from openbell.resources.common import Bool, Confidence, Count, Model, Moment, Rule, Text, list_type, whole
from openbell.resources.policies import AdaptiveSpec, ExitsSpec, PausePolicy, SizingSpec, StopPolicy
from openbell.resources.risk import RiskSpec
from openbell.resources.runner import ApiSpec, JournalSpec, RunnerSpec
from openbell.resources.status import ConditionModel, LockStatus, PnlStatus, PositionStatus, State, StatsStatus
from openbell.resources.surroundings import (
    BrokerSpec,
    BrokerType,
    MarketDataSpec,
    MarketDataType,
    MarketSpec,
    Mode,
)

KIND = "TradingScheduler"
PLURAL = "tradingschedulers"
MAX_STATUS_POSITIONS = 50
MAX_STATUS_LOCKS = 20

EvaluationSeconds = Annotated[int, Field(strict=True, ge=1, le=86_400), whole]
ExitCheckSeconds = Annotated[int, Field(strict=True, ge=1, le=3_600), whole]
ConcurrentTrades = Annotated[int, Field(strict=True, ge=1, le=1_000), whole]


class SchedulerSpec(Model):
    """What a person wants of a scheduler."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!(self.mode == 'Live' && self.broker.type == 'Simulated')",
            message="spec.mode Live needs spec.broker.type IBKR",
            check=lambda spec: spec.mode is not Mode.LIVE or spec.broker.type is BrokerType.IBKR,
            field_path=".mode",
        ),
        Rule(
            cel="!(self.broker.type == 'IBKR' && self.marketData.type in ['Synthetic', 'Replay', 'IBKR'])",
            message="spec.marketData.type must be Broker when spec.broker.type is IBKR",
            check=lambda spec: (
                spec.broker.type is not BrokerType.IBKR or spec.market_data.type is MarketDataType.BROKER
            ),
            field_path=".marketData.type",
        ),
        Rule(
            cel="!(self.mode == 'Live' && !self.exits.brokerSide)",
            message="spec.exits.brokerSide must be true when spec.mode is Live",
            check=lambda spec: spec.mode is not Mode.LIVE or spec.exits.broker_side,
            field_path=".exits.brokerSide",
        ),
        Rule(
            cel="!(self.mode == 'Live' && has(self.broker.ibkr) && self.broker.ibkr.allowDelayedData)",
            message="spec.broker.ibkr.allowDelayedData must be false when spec.mode is Live",
            check=lambda spec: (
                spec.mode is not Mode.LIVE or spec.broker.ibkr is None or not spec.broker.ibkr.allow_delayed_data
            ),
            field_path=".broker.ibkr.allowDelayedData",
        ),
        Rule(
            cel="!(self.marketData.type == 'Replay' && self.broker.simulated.address != '')",
            message="spec.broker.simulated.address is not allowed when spec.marketData.type is Replay",
            check=lambda spec: (
                spec.market_data.type is not MarketDataType.REPLAY or spec.broker.simulated.address == ""
            ),
            field_path=".broker.simulated.address",
            reason="FieldValueForbidden",
        ),
        Rule(
            cel="!(self.marketData.type == 'IBKR' && self.broker.simulated.address != '')",
            message="spec.broker.simulated.address is not allowed when spec.marketData.type is IBKR",
            check=lambda spec: spec.market_data.type is not MarketDataType.IBKR or spec.broker.simulated.address == "",
            field_path=".broker.simulated.address",
            reason="FieldValueForbidden",
        ),
        Rule(
            cel="!self.adaptive.enabled || (self.adaptive.minSeconds <= self.evaluationIntervalSeconds && "
            "self.evaluationIntervalSeconds <= self.adaptive.maxSeconds)",
            message="spec.evaluationIntervalSeconds must lie between spec.adaptive.minSeconds and "
            "spec.adaptive.maxSeconds when spec.adaptive.enabled is true",
            check=lambda spec: (
                not spec.adaptive.enabled
                or spec.adaptive.min_seconds <= spec.evaluation_interval_seconds <= spec.adaptive.max_seconds
            ),
            field_path=".evaluationIntervalSeconds",
        ),
    )

    enabled: Bool = Field(
        False, description="false = Stopped: nothing is evaluated or ordered; the runner still answers its API."
    )
    paused: Bool = Field(
        False, description="true = Paused: evaluation goes on and is recorded, but nothing is opened; exits go on."
    )
    pause_policy: PausePolicy = Field(default_factory=PausePolicy, description="What pausing does.")
    stop_policy: StopPolicy = Field(default_factory=StopPolicy, description="What stopping and deletion do.")
    evaluation_interval_seconds: EvaluationSeconds = Field(
        60, description="Seconds between evaluations; with adaptive, at the usual volatility."
    )
    exit_check_interval_seconds: ExitCheckSeconds = Field(30, description="Seconds between checks of exits.")
    adaptive: AdaptiveSpec = Field(
        default_factory=AdaptiveSpec, description="Evaluation intervals that follow the volatility."
    )
    min_confidence: Confidence = Field(
        0.5, description="A signal whose confidence is below this is recorded, not traded; from 0 to 1."
    )
    max_concurrent_trades: ConcurrentTrades = Field(
        5, description="Most open positions and working entries at a time, all strategies together."
    )
    require_broker_connection: Bool = Field(
        True, description="Whether entries are only evaluated while the broker is connected."
    )
    market: MarketSpec = Field(default_factory=MarketSpec, description="When there is a market.")
    broker: BrokerSpec = Field(default_factory=BrokerSpec, description="Who executes orders.")
    mode: Mode = Field(Mode.PAPER, description="Paper or Live; Live needs the broker IBKR.")
    market_data: MarketDataSpec = Field(default_factory=MarketDataSpec, description="Where bars and quotes come from.")
    sizing: SizingSpec = Field(default_factory=SizingSpec, description="How large an entry is.")
    risk: RiskSpec = Field(default_factory=RiskSpec, description="Limits that block openings, never exits.")
    exits: ExitsSpec = Field(
        default_factory=ExitsSpec, description="When a position is left; a change counts for open ones too."
    )
    journal: JournalSpec = Field(default_factory=JournalSpec, description="Where what happened is kept.")
    runner: RunnerSpec = Field(default_factory=RunnerSpec, description="The pod that trades.")
    api: ApiSpec = Field(default_factory=ApiSpec, description="The runner's REST and WebSocket API.")

    def asked_state(self) -> TradingState:
        """The state that this spec asks for."""
        return asked_state(self.enabled, self.paused)


class MarketStatus(Model):
    """What the calendar says now."""

    open: Bool | None = Field(None, description="Whether the market trades; not in a lunch break.")
    next_open: Moment | None = Field(
        None,
        description="When trading next begins, also after a lunch break; absent where that is not known, and where the "
        "market is always open.",
    )
    next_close: Moment | None = Field(
        None, description="When the current or next session closes; absent where the market is always open."
    )
    summary: Text | None = Field(None, description='For people, like "open until 16:00 ET"; the column MARKET.')


class StrategiesStatus(Model):
    """Strategies that point at this scheduler, by effective state."""

    total: Count | None = Field(None, description="All of them.")
    running: Count | None = Field(None, description="Those that are evaluated and may open positions.")
    paused: Count | None = Field(None, description="Those that are paused.")
    stopped: Count | None = Field(None, description="Those that are off.")
    failed: Count | None = Field(None, description="Those that failed several times in a row or were not accepted.")
    summary: Text | None = Field(None, description='Running of all, like "2/3"; the column STRATEGIES.')


class PositionsStatus(Model):
    """Open positions; the list holds the first 50 of them."""

    open: Count | None = Field(None, description="How many there are; the column POSITIONS.")
    summary: Text | None = Field(None, description='For people, like "AAPL 12, MSFT -5".')
    items: tuple[PositionStatus, ...] | None = Field(
        None,
        max_length=MAX_STATUS_POSITIONS,
        description="The first of them, ordered by strategy and symbol.",
        json_schema_extra=list_type("atomic"),
    )


class RunnerStatus(Model):
    """The process that trades, as it says itself."""

    pod: Text | None = Field(None, description="Name of its pod.")
    epoch: Count | None = Field(None, description="Number of its leadership; grows with every takeover.")
    owner_tag: Text | None = Field(None, description="Mark of this scheduler's orders at the broker.")
    observed_generation: Count | None = Field(None, description="Generation of the spec that it acts on.")
    version: Text | None = Field(None, description="Version of Openbell that it runs.")


class SchedulerStatus(Model):
    """What is true of a scheduler."""

    observed_generation: Count | None = Field(None, description="Generation that the operator has acted on.")
    state: State | None = Field(None, description="Running, Paused or Stopped: derived, for people.")
    can_run: Bool | None = Field(None, description="Whether entries would be evaluated now.")
    why: Text | None = Field(None, description="Why entries are or are not evaluated, in one clause.")
    market: MarketStatus | None = Field(None, description="What the calendar says now.")
    broker_connected: Bool | None = Field(None, description="Whether the broker is connected.")
    equity: Text | None = Field(None, description="Equity of the account as a decimal string.")
    pnl: PnlStatus | None = Field(None, description="Profit and loss after fees.")
    stats: StatsStatus | None = Field(None, description="Counters since the first start.")
    strategies: StrategiesStatus | None = Field(None, description="Strategies that point at this scheduler.")
    positions: PositionsStatus | None = Field(None, description="Open positions.")
    settlement: Text | None = Field(
        None,
        description="Cash accounts: settled and unsettled money, and the good-faith and free-riding violations of "
        "the last 12 months, in one clause.",
    )
    locks: tuple[LockStatus, ...] | None = Field(
        None,
        max_length=MAX_STATUS_LOCKS,
        description="Locks that hold openings back now, the oldest 20 of them.",
        json_schema_extra=list_type("atomic"),
    )
    runner: RunnerStatus | None = Field(None, description="The process that trades.")
    conditions: tuple[ConditionModel, ...] | None = Field(
        None,
        max_length=32,
        description="Observations by the operator (Ready, Available, Reconciling, Stalled) and by the runner "
        "(Paused, RunnerLeading, BrokerConnected, DataFresh, BrokerInSync, UnmonitoredPositions, Degraded).",
        json_schema_extra=list_type("map", "type"),
    )

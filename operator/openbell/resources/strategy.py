"""Strategy: a rule that gives signals on some symbols, run by the scheduler that it points at."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, WithJsonSchema

from openbell.domain.state import TradingState, asked_state
from openbell.resources.common import (
    Bool,
    Confidence,
    Count,
    FreeObject,
    Model,
    Moment,
    ResourceName,
    Rule,
    Symbol,
    Text,
    block_of,
    list_type,
    matching,
    no_duplicates,
    one_of,
    whole,
)
from openbell.resources.policies import ExitsOverrides, SizingOverrides
from openbell.resources.scheduler import ConcurrentTrades, EvaluationSeconds
from openbell.resources.status import ConditionModel, PnlStatus, State, StatsStatus

KIND = "Strategy"
PLURAL = "strategies"


class StrategyType(StrEnum):
    """The built-in rules, and `Custom` for a class of one's own."""

    MOMENTUM = "Momentum"
    MEAN_REVERSION = "MeanReversion"
    BREAKOUT = "Breakout"
    CROSSOVER = "Crossover"
    CUSTOM = "Custom"


class SourceType(StrEnum):
    CONFIG_MAP = "ConfigMap"
    IMAGE = "Image"


_CLASS_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"
ClassName = Annotated[
    str,
    Field(strict=True),
    matching(_CLASS_PATTERN, "the name of a Python class, like Reversal"),
    WithJsonSchema({"type": "string", "pattern": _CLASS_PATTERN, "maxLength": 100}),
]

_ENTRY_POINT_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
EntryPoint = Annotated[
    str,
    Field(strict=True, max_length=255),
    matching(_ENTRY_POINT_PATTERN, "a module and a class, like package.module:Reversal"),
    WithJsonSchema({"type": "string", "pattern": _ENTRY_POINT_PATTERN, "maxLength": 255}),
]

_OBJECT_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
ObjectName = Annotated[
    str,
    Field(strict=True),
    matching(_OBJECT_NAME_PATTERN, "the name of an object"),
    WithJsonSchema({"type": "string", "pattern": _OBJECT_NAME_PATTERN, "maxLength": 253}),
]

_KEY_PATTERN = r"^[A-Za-z0-9._-]{1,253}$"
DataKey = Annotated[
    str,
    Field(strict=True),
    matching(_KEY_PATTERN, "a key of 1 to 253 letters, digits, dots, dashes and underscores"),
    WithJsonSchema({"type": "string", "pattern": _KEY_PATTERN, "maxLength": 253}),
]


class Execution(StrEnum):
    TRADE = "Trade"
    SHADOW = "Shadow"


class SchedulerRef(Model):
    """The scheduler that runs the strategy."""

    name: ResourceName = Field(description="Name of a TradingScheduler in the same namespace.")


class ConfigMapSource(Model):
    """A key of a ConfigMap in the same namespace, whose text is one Python module."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    key: DataKey = Field("strategy.py", description="Key that holds the module.")


class SourceSpec(Model):
    """Where the class of a strategy of type Custom comes from. It runs in a process of its own."""

    rules: ClassVar[tuple[Rule, ...]] = (
        *block_of("spec.source", "configMap", SourceType.CONFIG_MAP, "config_map"),
        *block_of("spec.source", "class", SourceType.CONFIG_MAP, "class_name"),
        *block_of("spec.source", "entryPoint", SourceType.IMAGE, "entry_point"),
    )

    type: Annotated[SourceType, one_of(SourceType)] = Field(
        description="ConfigMap: a module in a ConfigMap. Image: a module that is installed in the runner's image."
    )
    config_map: ConfigMapSource | None = Field(
        None, description="Where the module is. Required for type ConfigMap, refused for any other."
    )
    class_name: ClassName | None = Field(
        None,
        alias="class",
        description="The class in that module. Required for type ConfigMap, refused for any other.",
    )
    entry_point: EntryPoint | None = Field(
        None,
        description="Module and class, like package.module:Reversal. Required for type Image, refused for any other.",
    )


class StrategySpec(Model):
    """What a person wants of a strategy. Settings that are left out are the scheduler's."""

    rules: ClassVar[tuple[Rule, ...]] = block_of("spec", "source", StrategyType.CUSTOM)

    scheduler_ref: SchedulerRef = Field(description="The scheduler that runs the strategy.")
    enabled: Bool = Field(True, description="false = Stopped: the strategy is not evaluated; its exits go on.")
    paused: Bool = Field(False, description="true = Paused: it is evaluated and recorded, but opens nothing.")
    type: Annotated[StrategyType, one_of(StrategyType)] = Field(
        description="Which rule it is: Momentum, MeanReversion, Breakout, Crossover, or Custom, your own class; it "
        "decides what parameters may hold."
    )
    source: SourceSpec | None = Field(
        None, description="Where the class comes from. Required for type Custom, refused for any other."
    )
    parameters: FreeObject = Field(
        default_factory=dict,
        description="Parameters of the type, as status.parametersSchema describes them. A wrong one is told by the "
        "condition Accepted, and the last good ones stay in force.",
    )
    symbols: Annotated[tuple[Symbol, ...], no_duplicates(str, "{} is listed twice")] = Field(
        min_length=1,
        max_length=500,
        description="Symbols to trade, like AAPL.",
        json_schema_extra=list_type("set"),
    )
    bar_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400), whole] = Field(
        60, description="Seconds of one bar; 86400 = daily bars."
    )
    evaluation_interval_seconds: EvaluationSeconds | None = Field(
        None, description="Seconds between evaluations; absent = the scheduler's."
    )
    min_confidence: Confidence | None = Field(
        None, description="Least confidence to trade on, from 0 to 1; absent = the scheduler's."
    )
    max_concurrent_trades: ConcurrentTrades | None = Field(
        None, description="Most open positions and working entries of this strategy; absent = the scheduler's limit."
    )
    sizing: SizingOverrides | None = Field(None, description="Own sizing; what is left out is the scheduler's.")
    exits: ExitsOverrides | None = Field(None, description="Own exits; what is left out is the scheduler's.")
    priority: Annotated[int, Field(strict=True, ge=0, le=100), whole] = Field(
        0, description="Signals are ranked by (priority + 1) × confidence, higher first."
    )
    execution: Execution = Field(
        Execution.TRADE, description="Trade: signals become orders. Shadow: everything but orders."
    )

    def asked_state(self) -> TradingState:
        """The state that this spec asks for, before the scheduler's own is weighed in."""
        return asked_state(self.enabled, self.paused)


class LastSignal(Model):
    """The newest signal of the strategy."""

    symbol: Text = Field(description="What it is about.")
    action: Text = Field(description="Buy, Sell or Close.")
    confidence: Confidence = Field(description="From 0 to 1.")
    time: Moment = Field(description="End of the bar on which it was formed.")
    outcome: Text | None = Field(None, description="What became of it: a reason's name.")


class StrategyStatus(Model):
    """What is true of a strategy."""

    observed_generation: Count | None = Field(None, description="Generation that the operator has acted on.")
    state: State | None = Field(
        None, description="Running, Paused or Stopped: the safer of the scheduler's and the strategy's own."
    )
    why: Text | None = Field(None, description="What it is doing or waiting for, in one clause.")
    symbols: Text | None = Field(None, description='Its symbols for people, like "AAPL, MSFT +3"; the column SYMBOLS.')
    stats: StatsStatus | None = Field(None, description="Counters since the first start.")
    last_signal: LastSignal | None = Field(None, description="The newest signal.")
    open_positions: Count | None = Field(None, description="Open positions that it owns; the column POSITIONS.")
    pnl: PnlStatus | None = Field(None, description="Profit and loss after fees.")
    parameters_schema: FreeObject | None = Field(None, description="JSON schema of the type's parameters.")
    conditions: tuple[ConditionModel, ...] | None = Field(
        None,
        max_length=32,
        description="Observations by the operator (Accepted) and by the runner (Running, Paused, Failed).",
        json_schema_extra=list_type("map", "type"),
    )

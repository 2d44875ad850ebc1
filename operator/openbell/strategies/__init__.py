"""Rules that turn closed bars into signals. Pure: no I/O, no orders, no clock."""

from openbell.strategies.api import (
    Context,
    DataNeeds,
    ExitSignal,
    HeldPosition,
    SignalColumns,
    Strategy,
    StrategyParams,
)
from openbell.strategies.loader import (
    STRATEGY_TYPES,
    parameters_hash,
    parameters_schema,
    strategy_for,
    validate_parameters,
)

__all__ = [
    "STRATEGY_TYPES",
    "Context",
    "DataNeeds",
    "ExitSignal",
    "HeldPosition",
    "SignalColumns",
    "Strategy",
    "StrategyParams",
    "parameters_hash",
    "parameters_schema",
    "strategy_for",
    "validate_parameters",
]

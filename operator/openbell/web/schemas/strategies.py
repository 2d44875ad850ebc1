"""Strategies as they run."""

from __future__ import annotations

from typing import Any

from openbell.web.schemas.base import Answer, Body, Money, State, state_text
from openbell.web.schemas.scheduler import (
    CountersBody,
    counters_body,
)
from openbell.web.values import (
    Execution,
    StrategyView,
)


class Strategy(Body):
    """One strategy as it runs."""

    name: str
    type: str
    state: State
    why: str
    enabled: bool
    paused: bool
    execution: Execution
    symbols: list[str]
    bar_seconds: int
    priority: int
    parameters: dict[str, Any]
    stats: CountersBody
    open_positions: int
    realized_pnl: Money


class StrategyList(Answer):
    strategies: list[Strategy]


class StrategyAdded(Answer):
    name: str
    strategy: Strategy


def strategy_body(view: StrategyView) -> Strategy:
    """One strategy."""
    return Strategy(
        name=view.name,
        type=view.type,
        state=state_text(view.state),
        why=view.why,
        enabled=view.enabled,
        paused=view.paused,
        execution=view.execution,
        symbols=list(view.symbols),
        bar_seconds=view.bar_seconds,
        priority=view.priority,
        parameters=dict(view.parameters),
        stats=counters_body(view.counters),
        open_positions=view.open_positions,
        realized_pnl=view.realized_pnl,
    )

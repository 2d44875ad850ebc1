"""Modules of custom strategies, as a ConfigMap would hold them."""

from __future__ import annotations

STREAK = '''
from pydantic import Field
from openbell.domain.signals import Action
from openbell.strategies import DataNeeds, Strategy, StrategyParams


class Params(StrategyParams):
    bars: int = Field(2, ge=1, le=50, description="Closes that must have risen.")


class Rise(Strategy[Params]):
    """Buys after some closes that rose, closes when one falls."""

    version = "1.4"
    Params = Params

    def data(self, params, bar_seconds):
        return DataNeeds(bar_seconds, params.bars + 1)

    def evaluate(self, context):
        closes = context.bars.close[-context.params.bars - 1 :]
        rising = all(later > earlier for earlier, later in zip(closes, closes[1:]))
        if context.is_flat and rising:
            yield context.signal(Action.BUY, 0.8, "rising")
        elif not context.is_flat and closes[-1] < closes[-2]:
            yield context.signal(Action.CLOSE, 0.8, "fallen")
'''


def with_body(evaluate: str, *, top: str = "") -> str:
    """The module with other code in `evaluate` (which may use `os`, `sys` and `time`), and more at its top."""
    head, _, _ = STREAK.partition("        closes = ")
    lines = "\n".join(f"        {line}" for line in evaluate.splitlines())
    return f"import os, sys, time\n{head}{lines}\n{top}"

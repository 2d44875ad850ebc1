"""Which signals of a tick compete, and in what order. Pure and deterministic: the input's order does not matter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

from openbell.domain.money import ZERO
from openbell.domain.reasons import Reason
from openbell.domain.records import quick
from openbell.domain.signals import Action, Signal
from openbell.engine.exits import is_exit

Lots: TypeAlias = Mapping[tuple[str, str], Decimal]
"""Signed quantity held, by (strategy, symbol)."""

_NO_LOTS: Lots = MappingProxyType({})
_NO_MINIMA: Mapping[str, float] = MappingProxyType({})
_ACTIONS = {Action.CLOSE: 0, Action.SELL: 1, Action.BUY: 2}


@quick
@dataclass(frozen=True, slots=True)
class Ranked:
    """`survivors`: exits first, then openings by falling rank. `dropped`: the others, each with its reason."""

    survivors: tuple[Signal, ...]
    dropped: tuple[tuple[Signal, Reason], ...]


def rank_signals(
    signals: Iterable[Signal],
    *,
    now: datetime,
    min_confidence: float,
    minima: Mapping[str, float] = _NO_MINIMA,
    lots: Lots = _NO_LOTS,
) -> Ranked:
    """Filter and order the signals of one tick.

    In this order a signal is dropped as INVALID_SIGNAL (confidence outside [0, 1] or a time without a zone),
    EXPIRED (`now` has reached `valid_until`), LOW_CONFIDENCE (below `minima[strategy]`, else `min_confidence`) or
    CONFLICT: a second one of the same strategy and symbol, or an opening whose opposite is on the same symbol with
    a higher rank. A signal that only reduces the strategy's own lot is an exit: it needs no confidence and loses
    to nobody, and an opening against it loses. Ties go by strategy, symbol and action.
    """
    dropped: list[tuple[Signal, Reason]] = []
    exits: list[Signal] = []
    openings: list[Signal] = []
    found = tuple(signals)
    for signal in found if len(found) == 1 else sorted(found, key=_sort_key):
        leaves = is_exit(signal, lots.get((signal.strategy, signal.symbol), ZERO))
        minimum = minima.get(signal.strategy, min_confidence)
        if not _is_valid(signal):
            dropped.append((signal, Reason.INVALID_SIGNAL))
        elif now >= signal.valid_until:
            dropped.append((signal, Reason.EXPIRED))
        elif leaves:
            exits.append(signal)
        elif signal.confidence < minimum:
            dropped.append((signal, Reason.LOW_CONFIDENCE))
        else:
            openings.append(signal)

    survivors: list[Signal] = []
    spoken: set[tuple[str, str]] = set()
    sides: dict[str, set[Action]] = {}
    for signal in (*exits, *openings):
        lot = lots.get((signal.strategy, signal.symbol), ZERO)
        leaves = is_exit(signal, lot)
        taken = sides.setdefault(signal.symbol, set())
        opposed = not leaves and _opposite(signal.action) in taken
        if (signal.strategy, signal.symbol) in spoken or opposed:
            dropped.append((signal, Reason.CONFLICT))
            continue
        spoken.add((signal.strategy, signal.symbol))
        survivors.append(signal)
        taken.add((Action.SELL if lot > 0 else Action.BUY) if leaves else signal.action)
    return Ranked(tuple(survivors), tuple(dropped))


def _sort_key(signal: Signal) -> tuple[float, str, str, int, float, float, int, str]:
    rank = signal.rank if math.isfinite(signal.rank) else 0.0
    return (
        -rank,
        signal.strategy,
        signal.symbol,
        _ACTIONS[signal.action],
        -signal.bar_time.timestamp(),
        -signal.valid_until.timestamp(),
        -signal.priority,
        signal.reason,
    )


def _is_valid(signal: Signal) -> bool:
    zoned = signal.bar_time.tzinfo is not None and signal.valid_until.tzinfo is not None
    return zoned and math.isfinite(signal.confidence) and 0.0 <= signal.confidence <= 1.0


def _opposite(action: Action) -> Action | None:
    return {Action.BUY: Action.SELL, Action.SELL: Action.BUY}.get(action)

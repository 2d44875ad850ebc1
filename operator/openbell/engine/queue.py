"""Signals that wait: denied for a reason that passes by itself, and decided again while they live. Pure.

A strategy has one signal of a symbol in the queue, its newest. What waits is decided together with the signals of the
next evaluation, in the order of their rank (openbell.engine.rank), opposites included; it leaves the queue with its
first answer that is not passing. The journal knows each entry by strategy, symbol, bar and action, so that nothing is
ordered twice, whatever is decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from openbell.domain.money import ZERO
from openbell.domain.reasons import Reason
from openbell.domain.signals import Signal, SignalKey
from openbell.engine.cycle import Decision
from openbell.engine.exits import is_exit
from openbell.engine.rank import Lots

CAPACITY = 1_000
"""Openings that wait at the most; exits are not counted, there are never more of them than positions."""


Standing: TypeAlias = tuple[int, ...]
"""Whatever must not have changed for an opening to be still wanted: the resources' generations (a pause and a resume
between two evaluations are two of them) and the leadership. Equal or not is all that is asked of it.
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One signal, the passing reason that it was last denied for, and the standing that it was given under.

    It waits until `until`: its `valid_until`, less how old its bar was when it was said, so that no opening is ordered
    on a bar that is older than its signal was to live. A closing signal waits for all of its lifetime.
    """

    signal: Signal
    reason: Reason
    standing: Standing | None
    until: datetime


SignalQueue: TypeAlias = tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """`signals` are to be decided now, `known` are those of them that have waited, and `until` when those that were
    not said again may; `gone` waits no longer.
    """

    signals: tuple[Signal, ...]
    known: Mapping[SignalKey, Reason]
    until: Mapping[SignalKey, datetime]
    gone: tuple[Decision, ...]


def join(
    queue: SignalQueue,
    fresh: tuple[Signal, ...],
    *,
    now: datetime,
    standings: Mapping[str, Standing],
    lots: Lots,
) -> Joined:
    """The fresh signals with those that wait and still count.

    A waiting signal is SUPERSEDED by a fresh one of the same strategy and symbol; where that is the same entry, it
    goes on under the same name with the newer confidence and lifetime. It is SUPERSEDED too where the strategy is
    gone from `standings` or, for an opening, stands otherwise than it did; EXPIRED from its `until` on.
    """
    speaking: dict[tuple[str, str], set[SignalKey]] = {}
    for signal in fresh:
        speaking.setdefault((signal.strategy, signal.symbol), set()).add(signal.key)
    signals = list(fresh)
    known: dict[SignalKey, Reason] = {}
    until: dict[SignalKey, datetime] = {}
    gone: list[Decision] = []
    for each in queue:
        signal = each.signal
        said = speaking.get((signal.strategy, signal.symbol))
        leaves = is_exit(signal, lots.get((signal.strategy, signal.symbol), ZERO))
        if signal.strategy not in standings:
            gone.append(Decision(signal, Reason.SUPERSEDED, "the strategy is gone"))
        elif standings[signal.strategy] != each.standing and not leaves:
            # Also where the strategy says the same again: that is a new opinion, and counted as one.
            gone.append(Decision(signal, Reason.SUPERSEDED, "a resource or the leadership changed while it waited"))
        elif said is not None and signal.key not in said:
            gone.append(Decision(signal, Reason.SUPERSEDED, "the strategy has said something newer"))
        elif said is not None:
            known[signal.key] = each.reason
        elif now >= (signal.valid_until if leaves else each.until):
            gone.append(Decision(signal, Reason.EXPIRED, f"it waited in vain: {each.reason.text}"))
        else:
            known[signal.key] = each.reason
            until[signal.key] = each.until
            signals.append(signal)
    return Joined(tuple(signals), known, until, tuple(gone))


def keep(
    decisions: Iterable[Decision],
    *,
    standings: Mapping[str, Standing],
    lots: Lots,
    until: Callable[[Signal], datetime] = lambda signal: signal.valid_until,
    capacity: int = CAPACITY,
) -> tuple[SignalQueue, tuple[Decision, ...]]:
    """The queue after these decisions, and those that found no room, as QUEUE_FULL.

    What has an intent, or a reason that does not pass, does not wait. Exits come first and always have room; openings
    wait in the order of their rank, `capacity` of them, each `until` a time. No two are of one strategy and symbol: of
    those, all but one are decided as CONFLICT.
    """
    exits: list[Waiting] = []
    openings: list[Waiting] = []
    for decision in sorted(decisions, key=lambda each: _order(each.signal)):
        signal = decision.signal
        if decision.intent is not None or not decision.reason.is_passing:
            continue
        waiting = Waiting(signal, decision.reason, standings.get(signal.strategy), until(signal))
        if is_exit(signal, lots.get((signal.strategy, signal.symbol), ZERO)):
            exits.append(waiting)
        else:
            openings.append(waiting)
    full = tuple(Decision(each.signal, Reason.QUEUE_FULL, each.reason.text) for each in openings[capacity:])
    return (*exits, *openings[:capacity]), full


def _order(signal: Signal) -> tuple[float, str, str]:
    return -signal.rank, signal.strategy, signal.symbol

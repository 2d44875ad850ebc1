"""Strategies at their symbols: what each is shown at a session's close, as views of arrays that are made once."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from openbell.backtest.timeline import Timeline
from openbell.domain.bars import BarSeries, Floats
from openbell.domain.money import ZERO
from openbell.domain.signals import Signal
from openbell.engine.tightening import Tightening
from openbell.market.recorded import RecordedBars
from openbell.runner.asking import asked_to_exit, checked
from openbell.runner.entry import StrategyEntry
from openbell.strategies.api import Context, DataNeeds, HeldPosition, StrategyParams, has_exit


@dataclass(frozen=True, slots=True)
class Spoken:
    """Numbers of the sessions at which one rule speaks of one symbol: while flat, long, short; `said` has the flags."""

    flat: list[int]
    long: list[int]
    short: list[int]
    said: tuple[npt.NDArray[np.int8], ...]

    def after(self, number: int, quantity: Decimal) -> int | None:
        """The first session from `number` on at which it speaks with this position."""
        numbers = self.flat if quantity == 0 else self.long if quantity > 0 else self.short
        place = bisect_left(numbers, number)
        return numbers[place] if place < len(numbers) else None

    def speaks(self, number: int, quantity: Decimal) -> bool:
        """Whether it speaks at this session with this position."""
        return self.after(number, quantity) == number


@dataclass(slots=True)
class Seat:
    """One symbol of a strategy. `columns` (end, open, high, low, close, volume) are as seen since the last split.

    `window` bars are shown at most, as many as the hungriest strategy of the symbol asks for; `stops[k]` bars are
    closed at session k's close.
    """

    symbol: str
    window: int
    stops: Sequence[int]
    columns: tuple[Floats, ...]
    quantity: Decimal = ZERO
    held: HeldPosition | None = None  # where the strategy wants to know
    spoken: Spoken | None = None  # where that is known, the rule is asked at no other session


class Table:
    """One strategy with its seats."""

    def __init__(self, entry: StrategyEntry, needs: DataNeeds, seats: Sequence[Seat]) -> None:
        self.entry = entry
        self.name = entry.name
        self.seats = tuple(seats)
        self.warmup = needs.warmup
        self.has_exit = has_exit(entry.strategy)
        self._bar_seconds = needs.bar_seconds
        self._evaluate = entry.strategy.evaluate
        self._parameters = entry.parameters
        self._priority = entry.settings.priority
        self._version = entry.strategy.version
        self._hash = entry.parameters_hash

    def ask(self, number: int, now: datetime) -> list[Signal]:
        """What the strategy says at the close of session `number`. Raises whatever it raises."""
        signals: list[Signal] = []
        for seat in self.seats:
            stop = seat.stops[number]
            if stop < self.warmup or (seat.spoken is not None and not seat.spoken.speaks(number, seat.quantity)):
                continue
            context = self.context(seat, stop, seat.quantity, now)
            said = self._evaluate(context)
            if said:
                signals += [checked(each, context) for each in said]
        return signals

    def ask_to_exit(self, number: int, now: datetime) -> tuple[list[Signal], tuple[Tightening, ...]]:
        """What it says of its open positions then. Raises whatever it raises."""
        asked = [
            self.context(seat, seat.stops[number], seat.quantity, now)
            for seat in self.seats
            if seat.held is not None and seat.stops[number] >= self.warmup
        ]
        held = {(self.name, seat.symbol): seat.held for seat in self.seats if seat.held is not None}
        return asked_to_exit(self.entry.strategy, asked, held)

    def context(self, seat: Seat, stop: int, quantity: Decimal, now: datetime) -> Context[StrategyParams]:
        """What is shown of a seat's first `stop` bars."""
        window = seat.window
        begin = stop - window if stop > window else 0
        end, opening, high, low, close, volume = seat.columns
        return Context(
            seat.symbol,
            BarSeries(
                seat.symbol,
                self._bar_seconds,
                end[begin:stop],
                opening[begin:stop],
                high[begin:stop],
                low[begin:stop],
                close[begin:stop],
                volume[begin:stop],
            ),
            self._parameters,
            quantity,
            now,
            self.name,
            self._priority,
            self._version,
            self._hash,
        )


def seated(entries: Mapping[str, StrategyEntry], recorded: RecordedBars, timeline: Timeline) -> list[Table]:
    """Every strategy with its seats as at the timeline's beginning."""
    needs = {name: entry.strategy.data(entry.parameters, entry.settings.bar_seconds) for name, entry in entries.items()}
    windows: Counter[str] = Counter()
    for name, entry in entries.items():
        for symbol in entry.spec.symbols:
            windows[symbol] = max(windows[symbol], needs[name].warmup)
    first = timeline.sessions[0].open
    return [
        Table(
            entry,
            needs[name],
            [
                Seat(symbol, windows[symbol], timeline.tracks[symbol].stops, recorded.columns(symbol, first))
                for symbol in entry.spec.symbols
            ],
        )
        for name, entry in entries.items()
    ]

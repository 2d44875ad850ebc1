"""The shell of a backtest: steps through history, asks the strategies, and carries out what the engine decides.

It decides nothing itself: `engine.cycle.decide`, `engine.exits.decide_exit` and `engine.portfolio.book` do, as in a
runner. `Backtest.run` passes over what cannot matter: a session in which no order works and whose bar reaches no level
of a position is not stepped through, and the account is valued only for a decision. `step_through` takes every step
and is what `run` is proven against.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from openbell.backtest.batch import Horizon, speaking
from openbell.backtest.desk import OWNER, Desk, Rules
from openbell.backtest.outcome import Mark, Outcome
from openbell.backtest.readings import Readings
from openbell.backtest.seats import Seat, Table, seated
from openbell.backtest.setup import Setup
from openbell.backtest.timeline import Timeline, lay_out
from openbell.backtest.watch import Watch, watch
from openbell.domain.bars import Quote
from openbell.domain.money import ZERO, price
from openbell.domain.orders import Intent
from openbell.domain.positions import Position
from openbell.domain.reasons import Reason
from openbell.domain.signals import Signal
from openbell.domain.state import TradingState
from openbell.engine.cycle import Tick, decide, exit_intent
from openbell.engine.exits import Exit, decide_exit, exit_quantity, is_exit
from openbell.engine.tightening import holdings, tightened
from openbell.market.calendar import RESOLUTION
from openbell.market.recorded import DAY_SECONDS, ReplayMarket
from openbell.market.replay import BarsStep, CloseStep, OpenStep, PathStep, RepeatStep, ReplayDriver, SplitStep, Step
from openbell.market.sessions import Session
from openbell.runner.assembly import dates_of
from openbell.runner.evaluation import terms_of
from openbell.runner.exiting import armed_levels
from openbell.runner.limits import limits_of, protections_of

EPOCH = 1
TELL_EVERY = 1_000  # sessions between two words on progress

Progress: TypeAlias = Callable[[int], None]


class Backtest:
    """One run over the bars of a setup, from `start` to `end`, both included. Runs once."""

    def __init__(self, setup: Setup) -> None:
        control = setup.control
        self._setup = setup
        self._market = ReplayMarket(setup.recorded)
        spec = control.spec
        rules = Rules(limits_of(control), protections_of(spec.risk), dates_of(spec.market))
        self.desk = Desk(setup.venue, rules, self._market.last_quote)
        self.timeline: Timeline = lay_out(setup.recorded, setup.start, setup.end)
        self._readings = Readings(self.desk, self.timeline)
        self.outcome = Outcome()
        self._driver = ReplayDriver(
            self._market, lambda: armed_levels(self.desk.open_positions()), start=setup.start, end=setup.end
        )
        self._terms = {name: terms_of(entry) for name, entry in control.entries.items()}
        self._blocked = {
            name: Reason.KILL_SWITCH if spec.risk.kill_switch else Reason.STRATEGY_PAUSED
            for name, entry in control.entries.items()
            if spec.risk.kill_switch or entry.spec.asked_state() is not TradingState.RUNNING
        }
        self.recorded = setup.recorded
        self.tables = seated(setup.control.entries, setup.recorded, self.timeline)
        self._closes = [session.close for session in self.timeline.sessions]
        self._watches: tuple[Watch, ...] = ()
        self._number = 0
        # Decisions later in a day are measured from its beginning, which therefore is not passed over.
        is_intraday = setup.recorded.bar_seconds < DAY_SECONDS
        begins_day = enumerate(self.timeline.begins_day)
        self._valued = [number for number, begins in begins_day if begins and is_intraday]
        self._is_valued = frozenset(self._valued)
        self._shown: dict[str, int] = {symbol: track.first for symbol, track in self.timeline.tracks.items()}

    def last_price(self, symbol: str) -> Decimal:
        """A symbol's price at the end of what has been run."""
        track = self.timeline.tracks[symbol]
        return price(track.close[track.stops[-1] - 1])

    # -- the two ways ------------------------------------------------------------------------------------------

    def run(self, progress: Progress = lambda _: None, *, batch: bool = False) -> None:
        """Run to the end, passing over what cannot matter; `progress` is told of sessions done.

        With `batch` only sessions are visited at which a rule speaks by its columns or a position may be left.
        Raises ManifestError where a strategy has no batch form.
        """
        count = len(self.timeline.sessions)
        splits = self.timeline.sessions_on({split.date for split in self.recorded.splits})
        self._driver.show_prices_before(self.timeline.sessions[0].open)
        if batch:
            seats = speaking(self.tables, self.recorded, self.timeline)
            horizon = Horizon(self.timeline, self._closes, splits)
        number = told = 0
        while number < count:
            self._visit(number, has_split=number in splits)
            number += 1
            if number - told >= TELL_EVERY:
                told = number
                progress(number)
            if batch and not self.desk.in_flight:
                number = self._jump(number, seats, horizon)
        progress(count)

    def _jump(self, number: int, seats: Sequence[Seat], horizon: Horizon) -> int:
        """The next session that matters, from `number` on; best prices are kept of those before it."""
        nearest = horizon.next(number, seats, self._watches)
        if self._valued and nearest < len(self._closes):  # what is decided in a day is measured from its beginning
            nearest = max(number, self._valued[bisect_right(self._valued, nearest) - 1])
        if nearest > number:
            for at in self._watches:
                moved = horizon.follow(at, number, nearest) if at.follows else None
                if moved is not None:
                    self.desk.put(moved)
        return nearest

    def _visit(self, number: int, *, has_split: bool) -> None:
        self.outcome.visited += 1
        is_passed = not (self.desk.in_flight or has_split) and (not self._watches or self._is_quiet(number))
        if not is_passed:
            self._step_through_session(number)
        signals = self._ask(number)
        if signals or number in self._is_valued:
            if is_passed:
                self._value_session(number)
            self._show_closes(number)
            self._readings.catch_up(2 * number + 1)
            self._read_account(number, self.timeline.sessions[number].close)
        if signals:
            self._act(signals, self.timeline.sessions[number])

    def step_through(self) -> None:
        """Run to the end with every step of every session."""
        for step in self._driver:
            self._take(step)
            if isinstance(step, BarsStep):
                self._read_account(self._number, step.time)
                signals = self._ask(self._number)
                if signals:
                    self._act(signals, step.session)
                self._number += 1

    def _read_account(self, number: int, moment: datetime) -> None:
        self.desk.refresh_account(self._day_start(number, moment))
        self._readings.read(2 * number + (moment == self._closes[number]))

    # -- passing over ------------------------------------------------------------------------------------------

    def _is_quiet(self, number: int) -> bool:
        """Whether no position can be left in this session; best prices are kept."""
        for at in self._watches:
            track = at.track
            if not track.has_bar[number]:
                return False
            index = track.stops[number] - 1
            if not at.stays(
                track.low[index], track.high[index], self._closes[number], self.timeline.day_closes[number]
            ):
                return False
        for at in self._watches:
            if at.follows:
                index = at.track.stops[number] - 1
                moved = at.follow(at.track.low[index], at.track.high[index])
                if moved is not None:
                    self.desk.put(moved)
        return True

    def _step_through_session(self, number: int) -> None:
        session, tracks = self.timeline.sessions[number], self.timeline.tracks.values()
        self._number = number
        self._readings.catch_up(2 * number)
        self._show_closes(number - 1)
        bars = tuple(track.bar(track.stops[number] - 1) for track in tracks if track.has_bar[number])
        has_opened = False
        for step in self._driver.session(session, bars, begins_day=self.timeline.begins_day[number]):
            self._take(step)
            if isinstance(step, RepeatStep) and not has_opened:
                has_opened = True
                if not self.desk.in_flight:
                    self._settle(number)
                    if self._is_quiet(number):
                        return  # what worked has filled at the open, and nothing else can happen
        self.outcome.stepped += 1
        for track in tracks:
            self._shown[track.symbol] = track.stops[number]
        if self.desk.is_read_at_every_step:
            self._read_account(number, session.close)
        else:
            self._readings.read_equity(2 * number + 1)

    def _settle(self, number: int) -> None:
        """Take in what fills and steps have changed of the positions."""
        desk, outcome = self.desk, self.outcome
        held = desk.held()
        mark = Mark(number, float(desk.ledger.cash), {s: float(q) for s, q in held.items()})
        if not outcome.marks or (outcome.marks[-1].cash, outcome.marks[-1].held) != (mark.cash, mark.held):
            outcome.marks.append(mark)
        lots = desk.lots()
        for table in self.tables:
            for seat in table.seats:
                seat.quantity = lots.get((table.name, seat.symbol), ZERO)
        self._watch()

    def _watch(self) -> None:
        """Know the levels of what is held."""
        desk, tracks = self.desk, self.timeline.tracks
        self._watches = tuple(
            watch(position, tracks[position.symbol], hours_only=self._setup.hours_only)
            for position in desk.open_positions()
        )

    def _look_at_exits(self, table: Table, number: int, now: datetime) -> list[Signal]:
        """Ask a strategy of its open positions, and tighten the stops that it wants tighter."""
        held = holdings(self.desk.open_positions())
        for seat in table.seats:
            seat.held = held.get((table.name, seat.symbol))
        leaves, asked = table.ask_to_exit(number, now)
        moved = tuple(tightened(self.desk.open_positions(), asked))
        for position in moved:
            self.desk.put(position)
        if moved:
            self._watch()
        return leaves

    def _show_closes(self, number: int) -> None:
        """Catch up with the prices at the close of a session."""
        for track in self.timeline.tracks.values():
            stop = track.stops[number] if number >= 0 else 0
            if stop > self._shown[track.symbol]:
                self._shown[track.symbol] = stop
                quote = self._driver.skip(track.symbol, track.sessions[stop - 1], track.close[stop - 1])
                self.desk.venue.see(quote)

    def _value_session(self, number: int) -> None:
        """Value the account at the open of a session that was not stepped through, which begins its day."""
        session = self.timeline.sessions[number]
        if self._watches:
            self._show_closes(number - 1)
            for at in self._watches:
                opening = at.track.open[at.track.stops[number] - 1]
                quote = Quote(at.track.symbol, session.open, opening, opening, opening)
                self._market.show(quote)
                self.desk.venue.see(quote)
        self.desk.begin_day(self._day_start(number, session.open))

    # -- steps -------------------------------------------------------------------------------------------------

    def _take(self, step: Step) -> None:
        match step:
            case SplitStep(splits=splits):
                for each in splits:
                    self.desk.split(each.symbol, each.ratio)
                    self._see_split(each.symbol, step.time)
            case OpenStep(quotes=quotes, time=moment):
                self._match(quotes)
                if self.desk.is_read_at_every_step:
                    self._read_account(self._number, moment)
                else:
                    self.desk.begin_day(self._day_start(self._number, moment))
                    self._readings.read_equity(2 * self._number)
                self._check(moment)
            case PathStep(quotes=quotes, time=moment):
                self._match(quotes)
                self._check(moment)
            case CloseStep(quotes=quotes, time=moment):
                self._match(quotes)
                self._check(moment)
            case RepeatStep(quotes=quotes):
                self._match(quotes)
            case BarsStep():
                self._settle(self._number)

    def _match(self, quotes: Sequence[Quote]) -> None:
        for quote in quotes:
            self.desk.on_quote(quote)

    def _see_split(self, symbol: str, moment: datetime) -> None:
        columns = self.recorded.columns(symbol, moment)
        for table in self.tables:
            for seat in table.seats:
                if seat.symbol == symbol:
                    seat.columns = columns

    def _check(self, now: datetime) -> None:
        """Look at every position that no exit is under way for; send the exits that are due."""
        desk = self.desk
        if not desk.positions:
            return
        held = desk.held()
        close = self.timeline.day_closes[self._number] if self._setup.hours_only else None
        intents: list[Intent] = []
        for position in desk.open_positions():
            if desk.is_leaving(position.position_id):
                continue
            found = decide_exit(position, self._market.last_quote(position.symbol), now, close)
            if found.best_price != position.best_price:
                desk.put(replace(position, best_price=found.best_price))
            if isinstance(found, Exit):
                intents += self._leave(position, found, held, now)
        if intents:
            desk.place(intents, now)

    def _leave(self, position: Position, found: Exit, held: dict[str, Decimal], now: datetime) -> Iterator[Intent]:
        quantity = min(found.quantity, exit_quantity(position, held.get(position.symbol, ZERO)))
        if quantity > 0:
            at = self.desk.price_of(position.symbol) or position.best_price
            limited = replace(found, quantity=quantity)
            yield exit_intent(position, limited, owner=OWNER, epoch=EPOCH, now=now, price=at)

    # -- asking and deciding -----------------------------------------------------------------------------------

    def _ask(self, number: int) -> list[Signal]:
        """What the strategies say at a session's close; what one raises is counted, and it says nothing then."""
        now = self._closes[number]
        signals: list[Signal] = []
        for table in self.tables:
            try:
                said = table.ask(number, now)
                if table.has_exit and self.desk.positions:
                    said += self._look_at_exits(table, number, now)
            except Exception as error:  # noqa: BLE001 - the boundary of foreign code: contained, counted, reported
                self.outcome.errors[table.name] += 1
                self.outcome.error_texts[table.name] = f"{type(error).__name__}: {error}"
            else:
                if said:
                    signals += said
        return signals

    def _act(self, signals: Sequence[Signal], session: Session) -> None:
        """Decide the signals of a tick and send what is ordered."""
        self.outcome.signals += len(signals)
        desk, now = self.desk, session.close
        lots = desk.lots()
        leaves = any(is_exit(signal, lots.get((signal.strategy, signal.symbol), ZERO)) for signal in signals)
        prices = {signal.symbol: desk.price_of(signal.symbol) for signal in signals}
        tick = Tick(
            now=now,
            owner=OWNER,
            epoch=EPOCH,
            signals=tuple(signals),
            terms=self._terms,
            prices={symbol: at for symbol, at in prices.items() if at is not None},
            risk=desk.risk_view(now),
            limits=desk.limits,
            entry_blocked=self._blocked,
            leaving=frozenset(key for key in desk.positions if desk.is_leaving(key)),
            held_by_broker=desk.held() if leaves else None,
        )
        decisions = decide(tick)
        placed = desk.place([decision.intent for decision in decisions if decision.intent is not None], now)
        for decision in decisions:
            reason = placed[decision.intent.order_ref] if decision.intent is not None else decision.reason
            self.outcome.reasons[reason] += 1

    def _day_start(self, number: int, moment: datetime) -> datetime:
        """When the trading day began, at the open or the close of a session; at its close it is still today."""
        if moment == self._closes[number] or not self.timeline.begins_day[number]:
            return self.timeline.day_opens[number]
        before = moment - RESOLUTION
        session = self.recorded.calendar.session_at(before)
        return session.open if session else before.replace(hour=0, minute=0, second=0, microsecond=0)

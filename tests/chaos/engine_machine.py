"""The engine under any history: Hypothesis chooses the steps, `engine_history` does them, `engine_watch` judges.

A history that fails is shrunk by Hypothesis and printed as a sequence of steps, which can be run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine_history import PAIRS, STRATEGIES, SYMBOLS, History, Meanwhile, Said, Setting, again
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from openbell.domain.limits import LockScope
from openbell.domain.signals import Action
from openbell.domain.state import TradingState
from openbell.journal.killpoints import JOURNAL_POINTS

AT_FIRST_START = ("schema", "owner")
DESK_POINTS = (
    "desk.before-commit", "desk.committed", "desk.sent", "desk.handed-over", "desk.fill-booked",
    "comparison.answered", "comparison.applied",
)  # fmt: skip
POINTS = (*DESK_POINTS, *(point for point in JOURNAL_POINTS if point.split(".")[1] not in AT_FIRST_START))

MEANWHILE = (
    "paused", "stopped", "killed_switch", "held", "strategy_paused", "lease_lost", "lease_moved", "dropped",
    "reconnected", "disk_full", "price_fell", "locked", "killed",
)  # fmt: skip
FAULTS = (
    "lose-ack:nth=1", "reject:nth=1", "drop-before:nth=1", "drop-after:nth=1", "freeze:nth=1", "delay:nth=1",
    "delay:nth=2", "delay:every=2", "duplicate-fills", "reorder-fills:nth=1", "mute-queries:nth=2", "mute-queries",
    "lose-ack", "reject", "lose-cancel:nth=1", "lose-modify:nth=1",
)  # fmt: skip

symbols = st.sampled_from(SYMBOLS)
confidences = st.sampled_from((0.5, 0.7, 0.9, 1.0))
opinions = st.tuples(st.sampled_from((*[Action.BUY] * 6, Action.SELL, Action.CLOSE)), confidences)
said = st.dictionaries(st.sampled_from(PAIRS), opinions, min_size=1, max_size=len(PAIRS))
strikes = st.tuples(st.integers(1, 16), st.sampled_from(MEANWHILE))
meanwhile = st.one_of(st.none(), st.none(), strikes)
lasting = st.integers(1, 7)
"""After so many further steps it is well again."""
settings_of = st.builds(
    Setting,
    seed=st.integers(1, 1000),
    cash=st.booleans(),
    short=st.booleans(),
    partial=st.booleans(),
    trailing=st.booleans(),
    protected=st.booleans(),
).map(lambda setting: replace(setting, short=setting.short and not setting.cash))
changes = st.one_of(
    st.fixed_dictionaries(
        {"paused": st.just(True)}, optional={"halts_exits": st.booleans(), "keeps_orders": st.booleans()}
    ),
    st.fixed_dictionaries({"enabled": st.just(False)}, optional={"flatten": st.booleans()}),
    st.just({"killed": True}),
    st.just({"is_stale": True}),
    st.fixed_dictionaries({"paused_strategies": st.frozensets(st.sampled_from(STRATEGIES), min_size=1)}),
)
WELL: Mapping[str, Any] = {
    "enabled": True, "paused": False, "killed": False, "is_stale": False, "paused_strategies": frozenset(),
}  # fmt: skip


class EngineMachine(RuleBasedStateMachine):
    """Every rule is a step of the history or two; what goes wrong goes right again after some more."""

    replays_every = 1
    """One of so many histories is run once more from nothing, and must come to the same."""
    ended = 0

    def __init__(self) -> None:
        super().__init__()
        self.history = History(Setting())
        self.later: list[tuple[int, str, Mapping[str, Any]]] = []

    @initialize(setting=settings_of, said=said, corrected=st.sampled_from((None, None, None, 0.95)))
    def begins(self, setting: Setting, said: Said, corrected: float | None) -> None:
        self.history.close()
        self.history = History(setting)
        if corrected is not None:
            self.do("venue_misbehaves", faults=["reject"])
        self.do("bar_closes", said=said, meanwhile=None)
        if corrected is not None:
            self.do("venue_misbehaves", faults=[])
            for symbol in SYMBOLS:
                self.do("bar_is_corrected", symbol=symbol, confidence=corrected, meanwhile=None)
        for symbol in SYMBOLS:
            self.do("price_moves", symbol=symbol, bps=1)

    def do(self, step: str, **arguments: Any) -> None:
        self.history.do(step, **arguments)
        due = [each for each in self.later if each[0] <= 1]
        self.later = [(steps - 1, name, known) for steps, name, known in self.later if steps > 1]
        for _, name, known in due:
            self.history.do(name, **known)

    def then(self, steps: int, step: str, **arguments: Any) -> None:
        """A step that follows by itself after so many others."""
        self.later.append((steps, step, arguments))

    # -- the market --------------------------------------------------------------------------------------------------

    @rule(symbol=symbols, bps=st.integers(-60, 60))
    def price_moves(self, symbol: str, bps: int) -> None:
        self.do("price_moves", symbol=symbol, bps=bps)

    @rule(symbol=symbols, bps=st.sampled_from((-900, -350, 350, 900)))
    def price_gaps(self, symbol: str, bps: int) -> None:
        self.do("price_moves", symbol=symbol, bps=bps)

    @rule(said=said, meanwhile=meanwhile)
    def bar_closes(self, said: Said, meanwhile: Meanwhile) -> None:
        self.do("bar_closes", said=said, meanwhile=meanwhile)

    @rule(said=said, symbol=symbols, meanwhile=meanwhile)
    def bar_closes_and_price_moves(self, said: Said, symbol: str, meanwhile: Meanwhile) -> None:
        self.do("bar_closes", said=said, meanwhile=meanwhile)
        self.do("price_moves", symbol=symbol, bps=1)

    @rule(confidence=confidences, meanwhile=meanwhile)
    def everything_is_bought(self, confidence: float, meanwhile: Meanwhile) -> None:
        self.do("bar_closes", said=dict.fromkeys(PAIRS, (Action.BUY, confidence)), meanwhile=meanwhile)
        for symbol in SYMBOLS:
            self.do("price_moves", symbol=symbol, bps=1)

    @rule(confidence=confidences)
    def everything_is_sold_and_bought(self, confidence: float) -> None:
        """On the day of a sale its proceeds have not settled."""
        for action in (Action.CLOSE, Action.BUY):
            self.do("bar_closes", said=dict.fromkeys(PAIRS, (action, confidence)), meanwhile=None)
            for symbol in SYMBOLS:
                self.do("price_moves", symbol=symbol, bps=-1)

    @rule(confidence=confidences, what=st.sampled_from(MEANWHILE), at=st.integers(1, 3))
    def something_happens_while_entries_are_written(self, confidence: float, what: str, at: int) -> None:
        self.everything_is_left()
        said = dict.fromkeys(PAIRS, (Action.BUY, confidence))
        self.do("bar_closes", said=said, meanwhile=(at, what, "writing intents"))

    @rule(said=said, first=st.sampled_from((1, 20)), then=st.sampled_from((1, 6)), meanwhile=meanwhile)
    def entries_wait_for_the_broker(self, said: Said, first: int, then: int, meanwhile: Meanwhile) -> None:
        """It is connected again and answers nothing; when it does, no newer bar has closed."""
        self.everything_is_left()
        self.do("venue_misbehaves", faults=["mute-queries"])
        self.do("connection_is_lost")
        self.do("connection_comes_back")
        self.do("bar_closes", said=said, meanwhile=None)
        self.do("time_passes", seconds=first)
        self.do("evaluates", meanwhile=None)
        self.do("venue_misbehaves", faults=[])
        self.do("time_passes", seconds=then)
        self.do("evaluates", meanwhile=meanwhile)

    @rule(first=st.sampled_from(PAIRS), confidence=confidences, meanwhile=meanwhile, fills=st.booleans())
    def money_is_spent_in_parts(
        self, first: tuple[str, str], confidence: float, meanwhile: Meanwhile, fills: bool
    ) -> None:
        """All of it has settled; one position comes and goes, and what is left is asked for several times at once."""
        self.everything_is_left()
        for _ in range(2):
            self.do("day_passes")
        for action in (Action.BUY, Action.CLOSE):
            self.do("bar_closes", said={first: (action, confidence)}, meanwhile=None)
            for symbol in SYMBOLS:
                self.do("price_moves", symbol=symbol, bps=1)
        for name in STRATEGIES:
            said = {pair: (Action.BUY, confidence) for pair in PAIRS if pair[0] == name}
            self.do("bar_closes", said=said, meanwhile=meanwhile)
            if fills:
                self.do("price_moves", symbol=first[1], bps=1)

    def everything_is_left(self) -> None:
        """By the strategies' own word."""
        self.do("bar_closes", said=dict.fromkeys(PAIRS, (Action.CLOSE, 1.0)), meanwhile=None)
        for symbol in SYMBOLS:
            self.do("price_moves", symbol=symbol, bps=1)

    @rule(symbol=symbols, bps=st.sampled_from((-350, 450)), full=st.booleans(), steps=lasting)
    def exits_are_refused(self, symbol: str, bps: int, full: bool, steps: int) -> None:
        self.do("bar_closes", said={("trend", symbol): (Action.BUY, 0.9)}, meanwhile=None)
        self.do("price_moves", symbol=symbol, bps=1)
        if full:
            self.do("disk_is_full", full=True)
            self.then(steps + 5, "disk_is_full", full=False)
        self.do("venue_misbehaves", faults=["reject"])
        self.do("price_moves", symbol=symbol, bps=bps)
        for _ in range(2):
            self.do("exits_are_checked", meanwhile=None)
        self.do("venue_misbehaves", faults=[])
        self.do("exits_are_checked", meanwhile=None)

    @rule(symbol=symbols, steps=lasting)
    def runner_dies_after_an_exit_that_was_not_written_down(self, symbol: str, steps: int) -> None:
        """And the broker takes orders, but answers no question of the next process."""
        self.do("bar_closes", said={("trend", symbol): (Action.BUY, 0.9)}, meanwhile=None)
        self.do("price_moves", symbol=symbol, bps=1)
        self.do("disk_is_full", full=True)
        self.then(steps + 5, "disk_is_full", full=False)
        self.do("price_moves", symbol=symbol, bps=-350)
        self.do("exits_are_checked", meanwhile=None)
        self.do("venue_misbehaves", faults=["mute-queries"])
        self.do("runner_restarts")
        self.do("exits_are_checked", meanwhile=None)
        self.do("venue_misbehaves", faults=[])
        self.do("exits_are_checked", meanwhile=None)

    @rule(symbol=symbols, confidence=confidences, meanwhile=meanwhile)
    def bar_is_corrected(self, symbol: str, confidence: float, meanwhile: Meanwhile) -> None:
        self.do("bar_is_corrected", symbol=symbol, confidence=confidence, meanwhile=meanwhile)

    @rule(said=said, symbol=symbols, confidence=confidences, is_refused=st.booleans())
    def bar_is_corrected_after_its_trade(self, said: Said, symbol: str, confidence: float, is_refused: bool) -> None:
        """By then the first order was refused, or has been filled and left again."""
        self.do("bar_closes", said={("trend", symbol): (Action.CLOSE, 1.0)}, meanwhile=None)
        self.do("price_moves", symbol=symbol, bps=1)
        if is_refused:
            self.do("venue_misbehaves", faults=["reject:every=2"])
        self.do("bar_closes", said={**said, ("trend", symbol): (Action.BUY, 0.6)}, meanwhile=None)
        if is_refused:
            self.do("venue_misbehaves", faults=[])
        else:
            for bps in (1, -350, 1):
                self.do("price_moves", symbol=symbol, bps=bps)
                self.do("exits_are_checked", meanwhile=None)
        self.do("bar_is_corrected", symbol=symbol, confidence=confidence, meanwhile=None)

    @rule(symbol=symbols, bps=st.sampled_from((-350, 450)), meanwhile=meanwhile, fills=st.booleans())
    def price_reaches_an_exit(self, symbol: str, bps: int, meanwhile: Meanwhile, fills: bool) -> None:
        self.do("price_moves", symbol=symbol, bps=bps)
        self.do("exits_are_checked", meanwhile=meanwhile)
        if fills:
            self.do("price_moves", symbol=symbol, bps=-1)

    @rule(symbol=symbols, ratio=st.sampled_from((2, 3)))
    def shares_are_split(self, symbol: str, ratio: int) -> None:
        self.do("splits", symbol=symbol, ratio=ratio)
        self.do("exits_are_checked", meanwhile=None)

    @rule(seconds=st.sampled_from((1, 6, 20)))
    def time_passes(self, seconds: int) -> None:
        self.do("time_passes", seconds=seconds)

    @rule()
    def day_passes(self) -> None:
        self.do("day_passes")

    # -- the runner --------------------------------------------------------------------------------------------------

    @rule(said=said, meanwhile=meanwhile)
    def strategies_are_evaluated_twice(self, said: Said, meanwhile: Meanwhile) -> None:
        self.do("bar_closes", said=said, meanwhile=None)
        self.do("evaluates", meanwhile=meanwhile)

    @rule(meanwhile=meanwhile)
    def exits_are_checked(self, meanwhile: Meanwhile) -> None:
        self.do("exits_are_checked", meanwhile=meanwhile)

    @rule(said=said, meanwhile=meanwhile)
    def both_loops_run(self, said: Said, meanwhile: Meanwhile) -> None:
        self.do("bar_closes", said=said, meanwhile=None)
        self.do("both_loops_run", meanwhile=meanwhile)

    @rule()
    def runner_restarts(self) -> None:
        self.do("runner_restarts")

    @rule(point=st.sampled_from(POINTS), count=st.integers(1, 2))
    def runner_dies_at(self, point: str, count: int) -> None:
        self.do("runner_dies_at", point=f"{point}:{count}")

    # -- people ------------------------------------------------------------------------------------------------------

    @rule(changes=changes, steps=lasting)
    def people_ask(self, changes: dict[str, Any], steps: int) -> None:
        self.do("people_ask", changes=changes)
        self.then(steps, "people_ask", changes=WELL)

    @rule(state=st.sampled_from((TradingState.PAUSED, TradingState.STOPPED)), steps=lasting)
    def rest_holds(self, state: TradingState, steps: int) -> None:
        self.do("rest_holds", state=state)
        self.then(steps, "people_ask", changes=WELL)

    @rule(scope=st.sampled_from(LockScope), symbol=symbols, name=st.sampled_from(STRATEGIES),
          seconds=st.sampled_from((None, 5, 60)), steps=lasting)  # fmt: skip
    def openings_are_locked(self, scope: LockScope, symbol: str, name: str, seconds: int | None, steps: int) -> None:
        subject = {LockScope.GLOBAL: "", LockScope.SYMBOL: symbol, LockScope.STRATEGY: name}[scope]
        self.do("is_locked", scope=scope, subject=subject, seconds=seconds)
        self.then(steps, "is_unlocked")

    @rule(scope=st.sampled_from(LockScope), pair=st.sampled_from(PAIRS), confidence=confidences, steps=lasting)
    def openings_are_locked_and_wanted(
        self, scope: LockScope, pair: tuple[str, str], confidence: float, steps: int
    ) -> None:
        self.everything_is_left()
        self.openings_are_locked(scope=scope, symbol=pair[1], name=pair[0], seconds=None, steps=steps)
        self.do("bar_closes", said=dict.fromkeys(PAIRS, (Action.BUY, confidence)), meanwhile=None)

    @rule(symbol=symbols)
    def someone_trades_by_hand(self, symbol: str) -> None:
        self.do("someone_trades_by_hand", symbol=symbol)

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    @rule(faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=2, unique=True),
          order=st.lists(st.integers(0, 3), max_size=3), steps=lasting)  # fmt: skip
    def venue_misbehaves(self, faults: list[str], order: list[int], steps: int) -> None:
        self.do("venue_misbehaves", faults=faults)
        self.then(steps, "held_news_arrives", order=order)
        self.then(steps, "venue_misbehaves", faults=[])

    @rule(steps=lasting)
    def connection_is_lost(self, steps: int) -> None:
        self.do("connection_is_lost")
        self.then(steps, "connection_comes_back")

    @rule(steps=lasting)
    def disk_is_full(self, steps: int) -> None:
        self.do("disk_is_full", full=True)
        self.then(steps, "disk_is_full", full=False)

    @rule(steps=lasting)
    def market_is_mute(self, steps: int) -> None:
        self.do("market_is_mute", mute=True)
        self.then(steps, "market_is_mute", mute=False)

    @rule(steps=lasting, by=st.none() | st.integers(1, 2))
    def lease_is_lost(self, steps: int, by: int | None) -> None:
        self.do("lease_is_lost")
        if by is not None:
            self.then(steps, "lease_goes_back", by=by)
        self.then(steps, "lease_is_back")

    # -- the end -----------------------------------------------------------------------------------------------------

    @rule()
    def is_quiet(self) -> None:
        self.do("is_quiet")

    def teardown(self) -> None:
        history = self.history
        try:
            if history.watch.found:
                return  # it has failed already
            self.do("is_wound_up")
            type(self).ended += 1
            if history.setting.seed % self.replays_every == 0:
                assert again(history.setting, history.steps) == history.outcome()
        finally:
            history.close()

"""The engine under any history: Hypothesis chooses the steps, `engine_history` does them, `engine_watch` judges.

A history that fails is shrunk by Hypothesis and printed as a sequence of steps, which `replay` runs again.
"""

from __future__ import annotations

from typing import Any

from engine_history import PAIRS, STRATEGIES, SYMBOLS, History, Meanwhile, Said, Setting, replay
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
    "lose-ack", "reject",
)  # fmt: skip

symbols = st.sampled_from(SYMBOLS)
confidences = st.sampled_from((0.5, 0.7, 0.9, 1.0))
opinions = st.tuples(st.sampled_from((Action.BUY, Action.BUY, Action.BUY, Action.SELL, Action.CLOSE)), confidences)
said = st.dictionaries(st.sampled_from(PAIRS), opinions, max_size=len(PAIRS))
meanwhile = st.none() | st.tuples(st.integers(1, 16), st.sampled_from(MEANWHILE))
settings_of = st.builds(
    Setting,
    seed=st.integers(1, 1000),
    cash=st.booleans(),
    short=st.booleans(),
    partial=st.booleans(),
    trailing=st.booleans(),
).map(lambda setting: setting if not (setting.cash and setting.short) else Setting(setting.seed, cash=True))
changes = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.sampled_from((True, True, False)),
        "paused": st.booleans(),
        "killed": st.sampled_from((False, False, True)),
        "flatten": st.booleans(),
        "halts_exits": st.booleans(),
        "keeps_orders": st.booleans(),
        "is_stale": st.sampled_from((False, False, True)),
        "paused_strategies": st.frozensets(st.sampled_from(STRATEGIES)),
    },
)


class EngineMachine(RuleBasedStateMachine):
    """Every rule is one step of the history."""

    replays_every = 1
    """Each so many-th history is run once more from nothing, and must come to the same."""
    ended = 0

    def __init__(self) -> None:
        super().__init__()
        self.history = History(Setting())

    @initialize(setting=settings_of)
    def begins(self, setting: Setting) -> None:
        self.history.close()
        self.history = History(setting)

    def do(self, step: str, **arguments: Any) -> None:
        self.history.do(step, **arguments)

    # -- the market --------------------------------------------------------------------------------------------------

    @rule(symbol=symbols, bps=st.integers(-60, 60))
    def price_moves(self, symbol: str, bps: int) -> None:
        self.do("price_moves", symbol=symbol, bps=bps)

    @rule(symbol=symbols, bps=st.sampled_from((-900, -350, -250, 250, 450, 900)))
    def price_gaps(self, symbol: str, bps: int) -> None:
        self.do("price_moves", symbol=symbol, bps=bps)

    @rule(said=said, meanwhile=meanwhile)
    def bar_closes(self, said: Said, meanwhile: Meanwhile) -> None:
        self.do("bar_closes", said=said, meanwhile=meanwhile)

    @rule(name=st.sampled_from(STRATEGIES), symbol=symbols, confidence=confidences)
    def bar_closes_and_fills(self, name: str, symbol: str, confidence: float) -> None:
        self.do("bar_closes", said={(name, symbol): (Action.BUY, confidence)}, meanwhile=None)
        self.do("price_moves", symbol=symbol, bps=1)

    @rule(symbol=symbols, confidence=confidences, meanwhile=meanwhile)
    def bar_is_corrected(self, symbol: str, confidence: float, meanwhile: Meanwhile) -> None:
        self.do("bar_is_corrected", symbol=symbol, confidence=confidence, meanwhile=meanwhile)

    @rule(symbol=symbols, ratio=st.sampled_from((2, 3)))
    def shares_are_split(self, symbol: str, ratio: int) -> None:
        self.do("splits", symbol=symbol, ratio=ratio)

    @rule(seconds=st.sampled_from((1, 6, 20, 70)))
    def time_passes(self, seconds: int) -> None:
        self.do("time_passes", seconds=seconds)

    @rule()
    def day_passes(self) -> None:
        self.do("day_passes")

    # -- the runner --------------------------------------------------------------------------------------------------

    @rule(meanwhile=meanwhile)
    def strategies_are_evaluated(self, meanwhile: Meanwhile) -> None:
        self.do("evaluates", meanwhile=meanwhile)

    @rule(meanwhile=meanwhile)
    def exits_are_checked(self, meanwhile: Meanwhile) -> None:
        self.do("exits_are_checked", meanwhile=meanwhile)

    @rule(meanwhile=meanwhile)
    def both_loops_run(self, meanwhile: Meanwhile) -> None:
        self.do("both_loops_run", meanwhile=meanwhile)

    @rule(symbol=symbols, bps=st.sampled_from((-250, 450)))
    def price_reaches_an_exit(self, symbol: str, bps: int) -> None:
        self.do("price_moves", symbol=symbol, bps=bps)
        self.do("exits_are_checked", meanwhile=None)

    @rule()
    def runner_restarts(self) -> None:
        self.do("runner_restarts")

    @rule(point=st.sampled_from(POINTS), count=st.integers(1, 2))
    def runner_dies_at(self, point: str, count: int) -> None:
        self.do("runner_dies_at", point=f"{point}:{count}")

    # -- people ------------------------------------------------------------------------------------------------------

    @rule(changes=changes)
    def people_ask(self, changes: dict[str, Any]) -> None:
        self.do("people_ask", changes=changes)

    @rule()
    def people_let_it_run(self) -> None:
        self.do("people_ask", changes={
            "enabled": True, "paused": False, "killed": False, "is_stale": False, "paused_strategies": frozenset(),
        })  # fmt: skip

    @rule(state=st.sampled_from((TradingState.PAUSED, TradingState.STOPPED)))
    def rest_holds(self, state: TradingState) -> None:
        self.do("rest_holds", state=state)

    @rule(scope=st.sampled_from(LockScope), symbol=symbols, name=st.sampled_from(STRATEGIES),
          seconds=st.sampled_from((None, 5, 60)))  # fmt: skip
    def openings_are_locked(self, scope: LockScope, symbol: str, name: str, seconds: int | None) -> None:
        subject = {LockScope.GLOBAL: "", LockScope.SYMBOL: symbol, LockScope.STRATEGY: name}[scope]
        self.do("is_locked", scope=scope, subject=subject, seconds=seconds)

    @rule()
    def locks_are_lifted(self) -> None:
        self.do("is_unlocked")

    @rule(symbol=symbols)
    def someone_trades_by_hand(self, symbol: str) -> None:
        self.do("someone_trades_by_hand", symbol=symbol)

    # -- what goes wrong ---------------------------------------------------------------------------------------------

    @rule(faults=st.lists(st.sampled_from(FAULTS), max_size=2, unique=True))
    def venue_misbehaves(self, faults: list[str]) -> None:
        self.do("venue_misbehaves", faults=faults)

    @rule(order=st.lists(st.integers(0, 3), max_size=3))
    def held_news_arrives(self, order: list[int]) -> None:
        self.do("held_news_arrives", order=order)

    @rule(mute=st.booleans())
    def market_is_mute(self, mute: bool) -> None:
        self.do("market_is_mute", mute=mute)

    @rule()
    def connection_is_lost(self) -> None:
        self.do("connection_is_lost")

    @rule()
    def connection_comes_back(self) -> None:
        self.do("connection_comes_back")

    @rule(full=st.booleans())
    def disk_is_full(self, full: bool) -> None:
        self.do("disk_is_full", full=full)

    @rule()
    def lease_is_lost(self) -> None:
        self.do("lease_is_lost")

    @rule()
    def lease_is_back(self) -> None:
        self.do("lease_is_back")

    @rule(by=st.integers(0, 2))
    def lease_goes_back(self, by: int) -> None:
        self.do("lease_goes_back", by=by)

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
            if type(self).ended % self.replays_every == 0:
                assert replay(history.setting, history.steps) == history.outcome()
        finally:
            history.close()

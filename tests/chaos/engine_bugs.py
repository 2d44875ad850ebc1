"""Bugs that are planted in the engine under random histories, each of which makes one of them fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from openbell.domain.orders import Fill, Intent, IntentKind
from openbell.domain.positions import Position
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState
from openbell.engine import cycle, leaving
from openbell.engine import exits as exit_rules
from openbell.engine.portfolio import split as split_position
from openbell.journal import Journal, writes
from openbell.journal.unwritten import Unwritten
from openbell.risk import account_state, locks, settled_cash
from openbell.runner import accountbook, exiting, replaying
from openbell.runner.comparison import Comparison
from openbell.runner.desk import Desk
from openbell.runner.gate import Gate
from openbell.runner.inflight import Standing
from openbell.runner.leadership import Leadership
from openbell.runner.parts import Parts
from openbell.runner.waiting import WaitingSignals

Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Bug:
    """How it is planted, what it does in one clause, and what an invariant says of it."""

    plant: Plant
    does: str
    shows: str


def send_again_on_timeout(patch: pytest.MonkeyPatch) -> None:
    doubt = Desk.doubt

    def doubted(self: Desk, order_refs: Iterable[str]) -> None:
        refs = tuple(order_refs)
        doubt(self, refs)
        for ref in refs:
            if ref in self.in_flight and self._broker.is_connected:
                self._broker.send(self.in_flight[ref].intent)

    patch.setattr(Desk, "doubt", doubted)


def skip_the_comparison(patch: pytest.MonkeyPatch) -> None:
    async def compare(self: Comparison) -> None:
        self._gate.in_sync = True
        self.reason, self.why = "InSync", "assumed"
        self.answered.set()

    patch.setattr(Comparison, "compare", compare)


def accept_a_stale_epoch(patch: pytest.MonkeyPatch) -> None:
    def begin_epoch(connection: Any, *, epoch: int) -> None:
        connection.execute(writes.update_rows(writes.schema.journal).values(epoch=epoch))

    patch.setattr(writes, "begin_epoch", begin_epoch)
    patch.setattr(Leadership, "_refuse_older", lambda self: None)


def lead_without_the_lease(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leadership, "holds", lambda self: self._begun > 0)


def name_an_entry_by_its_confidence(patch: pytest.MonkeyPatch) -> None:
    opened, named = cycle._open, cycle.entry_ref
    confidence: list[float] = [0.0]

    def opening(tick: Any, signal: Any, view: Any) -> Any:
        confidence[0] = signal.confidence
        return opened(tick, signal, view)

    patch.setattr(cycle, "_open", opening)
    patch.setattr(cycle, "entry_ref", lambda owner, name, *rest: named(owner, f"{name}{confidence[0]}", *rest))


def leave_the_whole_lot(patch: pytest.MonkeyPatch) -> None:
    def quantity(position: Position, broker_quantity: Decimal | None, in_flight: Decimal = Decimal(0)) -> Decimal:
        return abs(position.quantity)

    for module in (cycle, exiting, exit_rules, leaving):
        patch.setattr(module, "exit_quantity", quantity, raising=False)


def exit_twice(patch: pytest.MonkeyPatch) -> None:
    standing = Desk.standing
    patch.setattr(Desk, "is_leaving", lambda self, position_id: False)
    patch.setattr(Desk, "standing", lambda self, position_id: replace(standing(self, position_id), exit=None))


def leave_beside_the_protection(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Standing, "joinable", property(lambda self: ""))


def book_every_telling(patch: pytest.MonkeyPatch) -> None:
    on_fill = Desk.on_fill

    async def booked(self: Desk, fill: Fill) -> None:
        again = fill.execution_id in self._booked
        await on_fill(self, replace(fill, execution_id=f"{fill.execution_id}#2") if again else fill)

    patch.setattr(Desk, "on_fill", booked)


def forget_what_open_buys_need(patch: pytest.MonkeyPatch) -> None:
    view_of = settled_cash.view_of

    def forgetful(ledger: Any, limits: Any, today: Any, *, open_buys: Iterable[Decimal] = (), **rest: Any) -> Any:
        return view_of(ledger, limits, today, **rest)

    patch.setattr(account_state, "view_of", forgetful)
    patch.setattr(settled_cash.SettlementView, "after_buy", lambda self, notional: self)


def settle_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accountbook.Dates, "settles_on", lambda self, day: accountbook.date.min)


def ignore_locks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(locks, "locked", lambda *_: None)


class _Early:
    """The gate's answer as it was."""

    def __init__(self, gate: Gate, answers: Mapping[str, Reason | None]) -> None:
        self._gate, self._answers = gate, answers
        self.order_ref = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gate, name)

    def blocked(self, *_: object) -> Reason | None:
        return self._answers[self.order_ref]


def read_the_gate_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    commit, hand_over = Desk._commit, Desk._hand_over
    early: dict[str, Reason | None] = {}

    async def committed(self: Desk, intents: Sequence[Intent], *rest: Any) -> frozenset[str]:
        early.update({intent.order_ref: self._gate.blocked(intent.kind, intent.strategy) for intent in intents})
        return await commit(self, intents, *rest)

    def handed_over(self: Desk, intent: Intent) -> Reason:
        gate, stand_in = self._gate, _Early(self._gate, early)
        stand_in.order_ref = intent.order_ref
        self._gate = stand_in  # type: ignore[assignment]
        try:
            return hand_over(self, intent)
        finally:
            self._gate = gate

    patch.setattr(Desk, "_commit", committed)
    patch.setattr(Desk, "_hand_over", handed_over)


def open_while_paused(patch: pytest.MonkeyPatch) -> None:
    state = Gate.state.fget  # type: ignore[attr-defined]

    def bold(self: Gate) -> TradingState:
        found = state(self)
        return TradingState.RUNNING if found is TradingState.PAUSED else found

    patch.setattr(Gate, "state", property(bold))


def let_signals_wait_on_old_bars(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WaitingSignals, "_waits_until", lambda self, signal, now: signal.valid_until)


def forget_the_kill_switch(patch: pytest.MonkeyPatch) -> None:
    blocked = Gate.entry_blocked

    def deaf(self: Gate, strategy: str | None = None) -> Reason | None:
        found = blocked(self, strategy)
        return None if found is Reason.KILL_SWITCH else found

    patch.setattr(Gate, "entry_blocked", deaf)


def split_shares_but_not_levels(patch: pytest.MonkeyPatch) -> None:
    def split(position: Position, ratio: Decimal) -> Position:
        after = split_position(position, ratio)
        return replace(after, best_price=position.best_price, average_price=position.average_price)

    patch.setattr(replaying, "split_position", split)


def drop_fills_after_the_end(patch: pytest.MonkeyPatch) -> None:
    on_fill = Desk.on_fill

    async def in_time(self: Desk, fill: Fill) -> None:
        flying = self.in_flight.get(fill.order_ref)
        if flying is not None and not flying.record.state.is_final:
            await on_fill(self, fill)

    patch.setattr(Desk, "on_fill", in_time)


def number_exits_by_the_journal(patch: pytest.MonkeyPatch) -> None:
    use_up = Desk._use_up

    def used_up(self: Desk, intent: Intent, *, was_chosen: bool) -> None:
        before = self._ledger.positions.get(intent.position_id)
        use_up(self, intent, was_chosen=was_chosen)
        after = self._ledger.positions.get(intent.position_id)
        if before is not None and after is not None and not self._gate.journal_open:
            self._ledger.put_position(replace(after, exit_sequence=before.exit_sequence))

    patch.setattr(Desk, "_use_up", used_up)


def forget_what_was_in_flight(patch: pytest.MonkeyPatch) -> None:
    begin = Parts.__init__

    def begun(self: Parts, *arguments: Any, **rest: Any) -> None:
        begin(self, *arguments, **rest)
        self.desk.in_flight.clear()

    patch.setattr(Parts, "__init__", begun)


def send_before_writing(patch: pytest.MonkeyPatch) -> None:
    commit = Journal.commit_intents

    async def pretended(self: Journal, intents: Iterable[Intent], **rest: Any) -> frozenset[str]:
        fresh = [intent for intent in intents if await self.record(intent.order_ref) is None]
        entries = [intent for intent in fresh if intent.kind is IntentKind.ENTRY]
        await commit(self, [intent for intent in fresh if intent.kind is IntentKind.EXIT], **rest)
        return frozenset(intent.order_ref for intent in (*fresh, *entries))

    patch.setattr(Journal, "commit_intents", pretended)


def forget_fees(patch: pytest.MonkeyPatch) -> None:
    on_fill = Desk.on_fill

    async def free(self: Desk, fill: Fill) -> None:
        await on_fill(self, replace(fill, commission=Decimal(0)))

    patch.setattr(Desk, "on_fill", free)


def ignore_the_mark(patch: pytest.MonkeyPatch) -> None:
    begin = Unwritten.__init__

    def begun(self: Unwritten, *arguments: Any, **rest: Any) -> None:
        begin(self, *arguments, **rest)
        self.is_inherited = False

    patch.setattr(Unwritten, "__init__", begun)


BUGS: Mapping[str, Bug] = {
    "ignore-the-mark": Bug(
        ignore_the_mark, "a process does not ask whether the last one could write what it sent", "arrived twice"
    ),
    "send-again-on-timeout": Bug(
        send_again_on_timeout,
        "an order without an answer is sent once more",
        "arrived twice|carries epoch|before the broker was asked",
    ),
    "skip-the-comparison": Bug(
        skip_the_comparison, "a connection counts as being in agreement", "before the broker was asked"
    ),
    "accept-a-stale-epoch": Bug(accept_a_stale_epoch, "an epoch that is not higher is taken", "carries epoch"),
    "lead-without-the-lease": Bug(lead_without_the_lease, "leadership that began never ends", "lease"),
    "name-an-entry-by-its-confidence": Bug(
        name_an_entry_by_its_confidence, "a corrected bar makes another entry", "a second time on the same bar"
    ),
    "leave-the-whole-lot": Bug(
        leave_the_whole_lot, "an exit does not ask what the broker holds", "where the (broker holds|position is)"
    ),
    "exit-twice": Bug(
        exit_twice, "each look at a position may send an exit", "another exit of the position|with which"
    ),
    "leave-beside-the-protection": Bug(
        leave_beside_the_protection, "an exit does not join the protective orders' group", "with which"
    ),
    "book-every-telling": Bug(book_every_telling, "a fill is booked as often as it is told", ""),
    "forget-what-open-buys-need": Bug(
        forget_what_open_buys_need, "settled cash is not reserved for open buys", "settled and free"
    ),
    "settle-at-once": Bug(settle_at_once, "proceeds count as settled on the day of the sale", "settled and free"),
    "ignore-locks": Bug(ignore_locks, "locks hold nothing back", "while locked"),
    "read-the-gate-before-the-commit": Bug(
        read_the_gate_before_the_commit,
        "the gate's answer is older than an await",
        "arrived while|arrived before|carries epoch",
    ),
    "open-while-paused": Bug(open_while_paused, "a pause holds no entry back", "while Paused"),
    "let-signals-wait-on-old-bars": Bug(
        let_signals_wait_on_old_bars, "how old a bar was is not taken off its signal's wait", "on a bar that is"
    ),
    "forget-the-kill-switch": Bug(
        forget_the_kill_switch, "the kill switch holds no entry back", "while the kill switch"
    ),
    "split-shares-but-not-levels": Bug(
        split_shares_but_not_levels, "stop, target and trail stay at the old prices", ""
    ),
    "drop-fills-after-the-end": Bug(
        drop_fills_after_the_end, "a fill that comes after the final word is not booked", ""
    ),
    "number-exits-by-the-journal": Bug(
        number_exits_by_the_journal, "while the journal fails no exit uses its number up", "arrived twice"
    ),
    "forget-what-was-in-flight": Bug(
        forget_what_was_in_flight, "a restarted runner does not follow what it had sent", ""
    ),
    "send-before-writing": Bug(
        send_before_writing, "an entry leaves that is not in the journal", "before it was written"
    ),
    "forget-fees": Bug(forget_fees, "fills are booked without their commission", "our money"),
}

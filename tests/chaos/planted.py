"""Bugs that are planted in a runner under test, each of which the invariants must find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from openbell.domain.orders import Fill, Intent, IntentKind, IntentState
from openbell.journal import IntentRecord, Journal, writes
from openbell.runner import crew, desk, fence
from openbell.runner.comparison import Comparison
from openbell.runner.desk import Desk
from openbell.runner.inflight import Standing


@dataclass(frozen=True, slots=True)
class Bug:
    """How it is planted, where the runner has to be killed for it to show, and what the venue does besides."""

    plant: Callable[[], None]
    kill_point: str = ""
    faults: tuple[str, ...] = ()
    venue: tuple[str, ...] = ()
    broker_side: bool = True
    trades: int = 3  # so many round trips have the bug's chance in them

    @property
    def name(self) -> str:
        """What the launcher calls it by."""
        return f"{self.plant.__module__}:{self.plant.__name__}"


def send_again_on_timeout() -> None:
    """An order without an answer is sent once more."""
    doubt = Desk.doubt

    def doubted(self: Desk, order_refs: Iterable[str]) -> None:
        refs = tuple(order_refs)
        doubt(self, refs)
        for ref in refs:
            if ref in self.in_flight and self._broker.is_connected:
                self._broker.send(self.in_flight[ref].intent)

    Desk.doubt = doubted  # type: ignore[method-assign]


def skip_the_comparison() -> None:
    """A connection counts as being in agreement."""

    async def compare(self: Comparison) -> bool:
        self._gate.in_sync = True
        self.reason, self.why = "InSync", "assumed"
        self._announce()
        return True

    Comparison.compare = compare  # type: ignore[method-assign]


def accept_a_stale_epoch() -> None:
    """Leadership does not raise the epoch, and the journal takes any."""

    def begin_epoch(connection: Any, *, epoch: int) -> None:
        connection.execute(writes.update_rows(writes.schema.journal).values(epoch=epoch))

    def begin(self: fence.FolderFence, epoch: int) -> None:
        self._epoch = max(1, epoch - 1)
        self.is_preempted = False
        self.holder = "this process"

    writes.begin_epoch = begin_epoch
    fence.FolderFence.__init__ = begin  # type: ignore[method-assign]


def exit_twice() -> None:
    """Each look at a position may send an exit, whether or not one is under way."""
    standing = Desk.standing

    def alone(self: Desk, position_id: str) -> Standing:
        return desk.replace(standing(self, position_id), exit=None)

    Desk.standing = alone  # type: ignore[method-assign]
    Desk.has_exit = lambda self, position_id: False  # type: ignore[method-assign]


def send_before_persisting() -> None:
    """Intents are sent, and written to the journal only when the broker answers."""
    commit = Journal.commit_intents
    unwritten: list[Intent] = []

    async def commit_intents(self: Journal, intents: Iterable[Intent], **rest: Any) -> frozenset[str]:
        fresh = [intent for intent in intents if await self.record(intent.order_ref) is None]
        unwritten.extend(fresh)
        return frozenset(intent.order_ref for intent in fresh)

    update = Journal.record_update

    async def record_update(self: Journal, told: Any) -> IntentState | None:
        if unwritten:
            await commit(self, tuple(unwritten))
            unwritten.clear()
        return await update(self, told)

    Journal.commit_intents = commit_intents  # type: ignore[assignment,method-assign]
    Journal.record_update = record_update  # type: ignore[method-assign]


def send_intended_again_on_restart() -> None:
    """What was intended and has no answer is sent when the runner starts."""
    restore = Desk.restore
    again: list[Intent] = []

    def restored(self: Desk, records: Iterable[IntentRecord], last_exits: Iterable[IntentRecord] = ()) -> None:
        found = tuple(records)
        again.extend(record.intent for record in found if record.state is IntentState.INTENDED)
        restore(self, found, last_exits)

    on_connection = Comparison.on_connection

    def connected(self: Comparison, event: Any) -> None:
        on_connection(self, event)
        while event.connected and again:
            self._broker.send(again.pop())

    Desk.restore = restored  # type: ignore[method-assign]
    Comparison.on_connection = connected  # type: ignore[method-assign]


def count_apart_from_the_fill() -> None:
    """The counters are not in the fill's own commit."""
    record = Journal.record_fill

    async def record_fill(self: Journal, fill: Fill, position: Any, closed: Any, **_: Any) -> bool:
        return await record(self, fill, position, closed)

    Journal.record_fill = record_fill  # type: ignore[method-assign]


def forget_exits_after_restart() -> None:
    """A restarted runner does not monitor the positions that it finds."""
    restored = crew.Crew.__init__

    def begin(self: crew.Crew, *args: Any, **rest: Any) -> None:
        restored(self, *args, **rest)
        if self.desk._journal is not None and self.ledger.statistics.total.trades_executed:
            self.ledger.positions.clear()

    crew.Crew.__init__ = begin  # type: ignore[method-assign]


def book_every_telling() -> None:
    """A fill is booked as often as it is told: its identity is made anew each time."""
    count = 0
    on_fill = Desk.on_fill

    async def booked(self: Desk, fill: Fill) -> None:
        nonlocal count
        count += 1
        await on_fill(self, desk.replace(fill, execution_id=f"{fill.execution_id}#{count}"))

    Desk.on_fill = booked  # type: ignore[method-assign]


def exit_beside_the_protective_orders() -> None:
    """An exit of the whole lot neither joins the protective orders' group nor waits until they are gone."""
    Standing.joinable = property(lambda self: "")  # type: ignore[assignment,method-assign]


def escalate_without_confirmation() -> None:
    """A limit order that was told to go counts as gone: the market order does not wait for the broker's word."""
    reducing = Desk._reducing
    cancel = Desk.cancel

    def cancelled(self: Desk, order_ref: str) -> None:
        cancel(self, order_ref)
        flying = self.in_flight.get(order_ref)
        if flying is not None and flying.intent.kind is IntentKind.EXIT and flying.cancel_asked_at is not None:
            over = desk.replace(flying.record, state=IntentState.CANCELLED)
            self._last_exits[flying.intent.position_id] = over

    def gone(self: Desk, position_id: str) -> list[Any]:
        return [
            flying
            for flying in reducing(self, position_id)
            if flying.intent.kind is not IntentKind.EXIT or flying.cancel_asked_at is None
        ]

    Desk.cancel = cancelled  # type: ignore[method-assign]
    Desk._reducing = gone  # type: ignore[method-assign]


BUGS: dict[str, Bug] = {
    "send-again-on-timeout": Bug(send_again_on_timeout, faults=("lose-ack:every=2",)),
    "skip-the-comparison": Bug(skip_the_comparison, kill_point="desk.sent:1"),
    "accept-a-stale-epoch": Bug(accept_a_stale_epoch, kill_point="desk.sent:1"),
    "exit-twice": Bug(exit_twice, venue=("--poll-seconds", "2.5"), broker_side=False),
    "send-before-persisting": Bug(send_before_persisting, kill_point="desk.handed-over:1"),
    "send-intended-again-on-restart": Bug(send_intended_again_on_restart, kill_point="desk.handed-over:1"),
    "count-apart-from-the-fill": Bug(count_apart_from_the_fill, kill_point="desk.fill-booked:1"),
    "forget-exits-after-restart": Bug(forget_exits_after_restart, kill_point="desk.fill-booked:1"),
    "book-every-telling": Bug(book_every_telling, faults=("duplicate-fills:every=2",)),
    "exit-beside-the-protective-orders": Bug(
        exit_beside_the_protective_orders, venue=("--poll-seconds", "2.5"), trades=10
    ),
    "escalate-without-confirmation": Bug(
        escalate_without_confirmation,
        faults=("lose-cancel:every=2",),
        venue=("--poll-seconds", "2.5"),
        broker_side=False,
        trades=12,
    ),
}


def names() -> Sequence[str]:
    return tuple(BUGS)

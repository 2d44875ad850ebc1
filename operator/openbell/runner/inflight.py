"""Orders that are under way, and what of one lot is at the broker or may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from openbell.domain.identity import Leg
from openbell.domain.money import ZERO
from openbell.domain.orders import Intent, IntentKind, IntentState, OrderTerms, OrderType, Side, TimeInForce
from openbell.domain.policies import encode_policy
from openbell.domain.positions import Position
from openbell.domain.reasons import ExitReason
from openbell.journal import IntentRecord
from openbell.journal.recovery import UnrecordedOrder


@dataclass(slots=True)
class InFlight:
    """An intent that is not over, and since when (monotonic) a send or a cancel of it waits for an answer.

    `asked` are terms that were asked for and that the broker has not named yet. Until it does, the order may have
    these or the ones before.
    """

    record: IntentRecord
    handed_over_at: float = 0.0
    cancel_asked_at: float | None = None
    asked: OrderTerms | None = None
    asked_at: float = 0.0
    times_asked: int = 0

    @property
    def intent(self) -> Intent:
        return self.record.intent

    @property
    def filled(self) -> Decimal:
        return self.record.filled

    @property
    def is_unanswered(self) -> bool:
        """Whether a send or a cancel has no answer yet."""
        return self.record.state in {IntentState.INTENDED, IntentState.DOUBTFUL} or self.cancel_asked_at is not None

    @property
    def leg(self) -> Leg:
        """Which of a lot's protective orders it is."""
        return Leg.STOP if self.intent.order_type is OrderType.STOP else Leg.TARGET

    @property
    def has_filled(self) -> bool:
        """Whether any of it is filled, told or booked."""
        return max(self.record.filled, self.record.reported) > ZERO

    @property
    def could_fill(self) -> Decimal:
        """The most that may still be booked of it."""
        record = self.record
        if record.state.is_final and record.state is not IntentState.FILLED:
            most = record.reported
        else:
            most = max(record.intent.quantity, self.asked.quantity if self.asked else ZERO)
        return max(ZERO, most - record.filled)


class Flights(dict[str, InFlight]):
    """Orders under way by reference. Those that reduce a position are found without a look at all the others."""

    def __init__(self) -> None:
        super().__init__()
        self._reducing: dict[str, list[InFlight]] | None = None

    def __setitem__(self, order_ref: str, flying: InFlight) -> None:
        self._reducing = None
        super().__setitem__(order_ref, flying)

    def land(self, order_ref: str) -> None:
        """An order is over."""
        self._reducing = None
        super().pop(order_ref, None)

    def reducing(self, position_id: str) -> list[InFlight]:
        """Exits and protective orders of a position."""
        if self._reducing is None:
            self._reducing = {}
            for flying in self.values():
                if flying.intent.kind is not IntentKind.ENTRY:
                    self._reducing.setdefault(flying.intent.position_id, []).append(flying)
        return self._reducing.get(position_id, [])


@dataclass(frozen=True, slots=True)
class Standing:
    """What of one lot is at the broker, or may be: its exit and its protective orders.

    `last` is the newest exit that is over; `won` the OCA groups that have had their fill; `is_refused` says that the
    broker ended a protective order by itself a moment ago.
    """

    exit: InFlight | None
    legs: tuple[InFlight, ...]
    last: IntentRecord | None = None
    won: frozenset[str] = frozenset()
    is_refused: bool = False

    @property
    def winner(self) -> InFlight | None:
        """The protective order that is leaving the lot right now."""
        return next((leg for leg in self.legs if leg.has_filled), None)

    @property
    def joinable(self) -> str | None:
        """The OCA group that an exit of the whole lot joins: empty where nothing is to be joined, None where the
        protective orders have to be gone first.
        """
        if not self.legs:
            return ""
        refused = self.last is not None and self.last.state is IntentState.REJECTED
        group = self.legs[0].intent.oca_group
        is_one = all(leg.intent.oca_group == group for leg in self.legs)
        return group if group and is_one and group not in self.won and not refused else None


def could_fill(orders: Iterable[InFlight]) -> Decimal:
    """The most that orders which reduce one lot may fill: of those in one OCA group only one is ever filled."""
    groups: dict[str, Decimal] = {}
    for flying in orders:
        if flying.intent.kind is not IntentKind.ENTRY:
            key = flying.intent.oca_group or flying.intent.order_ref
            groups[key] = max(groups.get(key, ZERO), flying.could_fill)
    return sum(groups.values(), ZERO)


def intended(intent: Intent) -> IntentRecord:
    """An intent of which nothing has come yet."""
    return IntentRecord(intent, IntentState.INTENDED, ZERO, ZERO, ZERO, "", "", intent.created_at)


def unrecorded(found: UnrecordedOrder, position: Position, now: datetime, epoch: int) -> Intent:
    """What can be said of an order that nobody wrote down: the broker's own terms of it, where it names them."""
    update, order_type = found.update, found.order_type
    terms = update.terms if update is not None and update.terms is not None else OrderTerms(abs(position.quantity))
    return Intent(
        order_ref=found.order_ref,
        kind=found.kind,
        strategy=position.strategy,
        symbol=position.symbol,
        side=Side.SELL if position.quantity > 0 else Side.BUY,
        quantity=terms.quantity if terms.quantity > 0 else abs(position.quantity),
        position_id=position.position_id,
        reason=ExitReason.UNRECORDED.value,
        bar_time=now,
        created_at=now,
        epoch=epoch,
        reference_price=position.average_price,
        order_type=order_type,
        limit_price=None if order_type is not OrderType.LIMIT else terms.limit_price or position.average_price,
        stop_price=None if order_type is not OrderType.STOP else terms.stop_price or position.average_price,
        time_in_force=TimeInForce.GTC if found.kind is IntentKind.PROTECTIVE else TimeInForce.DAY,
        exits=encode_policy(position.policy) if found.kind is IntentKind.PROTECTIVE else "",
        oca_group=update.oca_group if update is not None else "",
    )

"""What this runner knows: positions, orders, signals, counters. Memory that mirrors the journal."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from openbell.domain.account import Account
from openbell.domain.bars import Quote
from openbell.domain.money import ZERO, price
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState
from openbell.domain.positions import ClosedTrade, Position
from openbell.domain.reasons import ExitReason, Reason
from openbell.domain.signals import Signal
from openbell.domain.statistics import Counters, Statistics
from openbell.journal import IntentRecord, RoundTrips
from openbell.risk.locks import Lock
from openbell.risk.settlement import SettlementLedger

KEPT_SIGNALS = 500
KEPT_ORDERS = 500
KEPT_TRADES = 10_000
RATE_WINDOW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class SignalRecord:
    """A signal and what was decided of it."""

    signal: Signal
    time: datetime
    reason: Reason
    detail: str
    order_ref: str | None = None

    @property
    def shown_confidence(self) -> float:
        """The confidence as a number that can be shown: within [0, 1], 0 where the strategy gave none."""
        given = float(self.signal.confidence)
        return min(1.0, max(0.0, given)) if math.isfinite(given) else 0.0


@dataclass(frozen=True, slots=True)
class Noted:
    """A signal to keep. `again`: something was told of it before; `waits`: it is to be decided again."""

    record: SignalRecord
    again: bool = False
    waits: bool = False


@dataclass(slots=True)
class Tally:
    """What one evaluation adds to a strategy's counters."""

    signals: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, noted: Noted) -> None:
        """One signal more."""
        reason = noted.record.reason
        self.signals += not noted.again
        self.rejected += not noted.waits and reason not in NOT_REJECTED
        self.reasons[reason.value] += 1

    def join(self, other: Tally) -> None:
        """What another strategy adds."""
        self.signals += other.signals
        self.rejected += other.rejected
        self.reasons.update(other.reasons)

    def onto(self, counters: Counters) -> Counters:
        """The counters with what is tallied here."""
        return replace(
            counters.with_reasons(self.reasons),
            signals_generated=counters.signals_generated + self.signals,
            trades_rejected=counters.trades_rejected + self.rejected,
        )


@dataclass(slots=True)
class Ledger:
    """The mutable middle of the runner, changed only from the event loop's thread."""

    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[str, IntentRecord] = field(default_factory=dict)
    signals: deque[SignalRecord] = field(default_factory=lambda: deque(maxlen=KEPT_SIGNALS))
    trades: deque[ClosedTrade] = field(default_factory=lambda: deque(maxlen=KEPT_TRADES))
    statistics: Statistics = field(default_factory=Statistics)
    quotes: dict[str, Quote] = field(default_factory=dict)
    account: Account | None = None
    order_times: deque[datetime] = field(default_factory=deque)
    round_trips: dict[str, RoundTrips] = field(default_factory=dict)
    realized_today: Decimal = ZERO
    day_start: datetime | None = None
    day_start_equity: Decimal | None = None
    locks: dict[str, Lock] = field(default_factory=dict)
    peak_equity: Decimal | None = None
    peak_since: datetime | None = None
    settlement: SettlementLedger | None = None  # kept for a cash account alone

    # -- positions ---------------------------------------------------------------------------------------------

    def open_positions(self) -> tuple[Position, ...]:
        """Open lots in a stable order."""
        return tuple(self.positions[key] for key in sorted(self.positions))

    def position_of(self, strategy: str, symbol: str) -> Position | None:
        """The strategy's open lot in this symbol."""
        for position in self.positions.values():
            if position.strategy == strategy and position.symbol == symbol and position.is_open:
                return position
        return None

    def price_of(self, symbol: str) -> Decimal | None:
        """The last price seen."""
        quote = self.quotes.get(symbol)
        return price(quote.price) if quote else None

    def unrealized(self, strategy: str | None = None) -> Decimal:
        """Open profit at the last prices, of one strategy or of all; a position without a price counts as zero."""
        total = ZERO
        for position in self.positions.values():
            at_price = self.price_of(position.symbol)
            if at_price is not None and strategy in {None, position.strategy}:
                total += position.unrealized_pnl(at_price)
        return total

    def realized(self, strategy: str) -> Decimal:
        """Booked profit of one strategy: all its round trips and its open lots' partial exits, after fees."""
        partial = sum((p.realized_pnl - p.fees for p in self.positions.values() if p.strategy == strategy), ZERO)
        return self.round_trips.get(strategy, RoundTrips()).pnl + partial

    def realized_total(self) -> Decimal:
        """Booked profit of all strategies, also of those that are gone, after fees."""
        partial = sum((p.realized_pnl - p.fees for p in self.positions.values()), ZERO)
        return sum((each.pnl for each in self.round_trips.values()), ZERO) + partial

    def fees_total(self) -> Decimal:
        """All fees ever booked."""
        partial = sum((position.fees for position in self.positions.values()), ZERO)
        return sum((each.fees for each in self.round_trips.values()), ZERO) + partial

    def put_position(self, position: Position) -> None:
        """Keep an open position; a flat one leaves monitoring."""
        if position.is_open:
            self.positions[position.position_id] = position
        else:
            self.positions.pop(position.position_id, None)

    def put_trade(self, trade: ClosedTrade) -> None:
        """Keep a round trip and its profit."""
        self.trades.append(trade)
        self.round_trips[trade.strategy] = self.round_trips.get(trade.strategy, RoundTrips()).plus(
            trade.pnl, trade.fees
        )

    def put_profit(self, realized: Decimal, fill: Fill) -> None:
        """Keep what a fill of today has realised, after its fee."""
        if self.day_start is None or fill.time >= self.day_start:
            self.realized_today += realized - fill.commission

    def trades_since(self, moment: datetime) -> Iterator[ClosedTrade]:
        """Round trips that closed at this moment or after it."""
        return (trade for trade in self.trades if trade.exit_time >= moment)

    # -- orders ------------------------------------------------------------------------------------------------

    def put_order(self, record: IntentRecord) -> None:
        """Keep an order's newest state; the oldest finished ones make room."""
        self.orders[record.intent.order_ref] = record
        if len(self.orders) > KEPT_ORDERS:
            for ref in [ref for ref, kept in self.orders.items() if kept.state.is_final][: KEPT_ORDERS // 10]:
                del self.orders[ref]

    def orders_since(self, moment: datetime) -> Iterator[tuple[Intent, datetime]]:
        """Orders made after this moment, and when. One that was never handed over was none, one that rests is none
        yet."""
        for record in self.orders.values():
            rests = record.intent.kind is IntentKind.PROTECTIVE
            made = record.updated_at if rests else record.intent.created_at
            if made > moment and record.state is not IntentState.WITHDRAWN and not (rests and record.filled == ZERO):
                yield record.intent, made

    def note_order(self, moment: datetime) -> None:
        """Remember that an order was sent, for the order rates."""
        self.order_times.append(moment)
        while self.order_times and self.order_times[0] < moment - RATE_WINDOW:
            self.order_times.popleft()

    def mark_started(self, now: datetime) -> None:
        """The scheduler's very first start."""
        self.statistics = replace(self.statistics, started_at=now)

    # -- counting ----------------------------------------------------------------------------------------------

    def count(self, strategy: str | None, change: Callable[[Counters], Counters]) -> None:
        """Change the total counters and, where one is named, the strategy's in the same way."""
        self.statistics = changed(self.statistics, strategy, change)

    def count_evaluated(self, strategies: Iterable[str], now: datetime) -> None:
        """Count one evaluation of each of these strategies; the total counts whole cycles and is counted apart."""
        counted = dict(self.statistics.strategies)
        for name in strategies:
            counters = self.statistics.of(name)
            counted[name] = replace(counters, evaluations_run=counters.evaluations_run + 1, last_evaluation=now)
        self.statistics = replace(self.statistics, strategies=MappingProxyType(counted))

    def note_signal(self, record: SignalRecord) -> None:
        """Keep what was decided of one signal, and count it with its reason."""
        self.note_signals((Noted(record),))

    def note_signals(self, noted: Iterable[Noted]) -> None:
        """Keep what was decided of signals, and count them with their reasons, each strategy's at once.

        A signal that waits to be decided again is no rejected trade yet; what is told again of it takes the place of
        what was kept, and does not count the signal a second time.
        """
        tallies: dict[str, Tally] = {}
        for each in noted:
            if each.again:
                self._forget(each.record.signal)
            self.signals.append(each.record)
            tallies.setdefault(each.record.signal.strategy, Tally()).add(each)
        self.count_reasons(tallies)

    def count_reasons(self, tallies: Mapping[str, Tally]) -> None:
        """Count what was tallied by strategy, there and in the total."""
        if not tallies:
            return
        counted = dict(self.statistics.strategies)
        whole = Tally()
        for name, tally in tallies.items():
            counted[name] = tally.onto(self.statistics.of(name))
            whole.join(tally)
        total = whole.onto(self.statistics.total)
        self.statistics = replace(self.statistics, total=total, strategies=MappingProxyType(counted))

    def _forget(self, signal: Signal) -> None:
        for index in range(len(self.signals) - 1, -1, -1):
            if self.signals[index].signal.key == signal.key:
                del self.signals[index]
                return

    def note_error(self, strategy: str | None = None) -> None:
        """Count something that went wrong and was survived."""
        self.count(strategy, lambda counters: replace(counters, errors=counters.errors + 1))


# What a signal can come to without being a trade refused by a rule, the broker or the state of things.
NOT_REJECTED = frozenset(
    {Reason.ORDERED, Reason.SHADOW, Reason.LOW_CONFIDENCE, Reason.ALREADY_HELD, Reason.NOT_HELD, Reason.ALREADY_DECIDED}
)


def counted_fill(
    statistics: Statistics, intent: Intent, fill: Fill, closed: ClosedTrade | None, *, first: bool
) -> Statistics:
    """Counters after a fill: an entry's first fill is a trade, a position that became flat is an exit."""
    executed = 1 if first and intent.kind is IntentKind.ENTRY else 0

    def change(counters: Counters) -> Counters:
        counted = counters.with_reason(ExitReason(closed.exit_reason)) if closed is not None else counters
        return replace(
            counted,
            trades_executed=counted.trades_executed + executed,
            exits_executed=counted.exits_executed + (1 if closed is not None else 0),
            # A fill that was missed is booked later than newer ones.
            last_trade=max(fill.time, counted.last_trade or fill.time),
        )

    return changed(statistics, intent.strategy, change)


def counted_rejection(statistics: Statistics, intent: Intent) -> Statistics:
    """Counters after the broker refused an order."""

    def change(counters: Counters) -> Counters:
        return replace(counters.with_reason(Reason.BROKER_REJECTED), trades_rejected=counters.trades_rejected + 1)

    return changed(statistics, intent.strategy, change)


def changed(statistics: Statistics, strategy: str | None, change: Callable[[Counters], Counters]) -> Statistics:
    """The total counters and, where one is named, the strategy's, changed in the same way."""
    strategies = statistics.strategies
    if strategy is not None:
        strategies = MappingProxyType({**strategies, strategy: change(statistics.of(strategy))})
    return replace(statistics, total=change(statistics.total), strategies=strategies)


def summarise(positions: Iterable[Position]) -> str:
    """Positions as one short line, `AAPL +10, MSFT -5`, at most five of them."""
    shown = [f"{position.symbol} {position.quantity:+f}" for position in positions]
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return ", ".join(shown[:5]) + more

"""The desk of a backtest: orders, positions and account in memory, booked by the functions that book them live.

What the runner's desk and ledger do with a journal and a broker that answers later happens here at once, in the same
order; so the trades are the replay's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache

from openbell.brokers.simulated.desk import VenueSettings
from openbell.brokers.simulated.venue import Happened, OrderRequest, Venue
from openbell.domain.account import Account
from openbell.domain.bars import Quote
from openbell.domain.money import ZERO, price
from openbell.domain.orders import Fill, Intent, IntentKind
from openbell.domain.policies import decode_policy
from openbell.domain.positions import ClosedTrade, ExitPolicy, Position
from openbell.domain.reasons import Reason
from openbell.domain.records import quick
from openbell.engine.portfolio import book
from openbell.engine.portfolio import split as split_position
from openbell.risk.account_state import AccountState, VenueDates
from openbell.risk.assembling import is_new_peak, review, view_of
from openbell.risk.frequency import MINUTE
from openbell.risk.locks import Lock
from openbell.risk.protections import Protection
from openbell.risk.settlement import SettlementLedger
from openbell.risk.settlement import split as split_lots
from openbell.risk.view import RiskLimits, RiskView

ACCOUNT = "backtest"
OWNER = "backtest"
RATE_WINDOW = timedelta(days=1)

_policy_of = cache(decode_policy)


@dataclass(slots=True)
class InFlight:
    """An order that is not over."""

    intent: Intent
    filled: Decimal = ZERO


@quick
@dataclass(frozen=True, slots=True)
class Booking:
    """A fill as it was booked, with the price that was shown when it filled."""

    fill: Fill
    intent: Intent
    shown: Decimal
    realized: Decimal


@dataclass(frozen=True, slots=True)
class Rules:
    """What openings are put before."""

    limits: RiskLimits
    protections: tuple[Protection, ...]
    dates: VenueDates


class Desk:
    """Everything that a backtest holds, which is what the rules look at. `last_quote` gives a symbol's newest price."""

    def __init__(self, settings: VenueSettings, rules: Rules, last_quote: Callable[[str], Quote | None]) -> None:
        self._hours = settings.hours
        self._last_quote = last_quote
        self.venue = Venue("B", settings.seed, settings.terms, settings.trades)
        self.ledger = self.venue.ledger(ACCOUNT)
        self.positions: dict[str, Position] = {}
        self.in_flight: dict[str, InFlight] = {}
        self.trades: list[ClosedTrade] = []
        self.bookings: list[Booking] = []
        self.rejections: Counter[str] = Counter()
        self.account: Account = self.venue.account(ACCOUNT)
        self._left: dict[str, Position] = {}  # flat, with an entry that may go on filling
        self._known: set[str] = set()
        self._day_equities: dict[date, Decimal] = {}
        self._orders: deque[Intent] = deque()  # as far back as any rule asks
        self.order_times: deque[datetime] = deque()
        self.day_start: datetime | None = None
        self.day_start_equity: Decimal | None = None
        self.realized_today = ZERO
        self.locks: dict[str, Lock] = {}
        self.peak_equity: Decimal | None = None
        self.settlement: SettlementLedger | None = None
        self.limits = rules.limits
        self.protections = rules.protections
        self.state = AccountState(self, rules.dates)
        self.state.adopt(rules.limits, rules.dates)
        self._orders_window = timedelta(seconds=max(rules.limits.opposite_order_seconds, MINUTE.total_seconds()))

    # -- asking ------------------------------------------------------------------------------------------------

    def open_positions(self) -> tuple[Position, ...]:
        """Open lots in the order in which the runner looks at them."""
        if len(self.positions) < 2:
            return tuple(self.positions.values())
        return tuple(self.positions[key] for key in sorted(self.positions))

    def lots(self) -> dict[tuple[str, str], Decimal]:
        """Signed quantity by strategy and symbol."""
        return {(p.strategy, p.symbol): p.quantity for p in self.open_positions()}

    def held(self) -> dict[str, Decimal]:
        """What the venue holds by symbol."""
        return {symbol: quantity for symbol, (quantity, _) in sorted(self.ledger.positions.items())}

    def is_leaving(self, position_id: str) -> bool:
        """Whether an exit of this position is under way."""
        return any(
            flying.intent.kind is IntentKind.EXIT and flying.intent.position_id == position_id
            for flying in self.in_flight.values()
        )

    def working_symbols(self) -> set[str]:
        """Symbols that an order under way is for."""
        return {flying.intent.symbol for flying in self.in_flight.values()}

    def price_of(self, symbol: str) -> Decimal | None:
        """The newest price as money."""
        quote = self._last_quote(symbol)
        return None if quote is None else price(quote.price)

    def trades_since(self, moment: datetime) -> Sequence[ClosedTrade]:
        """Round trips that closed at this moment or after it."""
        begin = bisect_left(self.trades, moment, key=_exit_time)
        return self.trades[begin:]

    def orders_since(self, moment: datetime) -> Iterator[tuple[Intent, datetime]]:
        """Orders made after this moment, and when."""
        return ((intent, intent.created_at) for intent in self._orders if intent.created_at > moment)

    def risk_view(self, now: datetime) -> RiskView:
        """What the rules of risk look at."""
        return view_of(self, self.in_flight.values(), self.state, self.limits, now)

    # -- reading the account -----------------------------------------------------------------------------------

    @property
    def follows_peak(self) -> bool:
        """Whether a rule measures from the highest equity."""
        return self.limits.max_drawdown_fraction is not None

    @property
    def is_read_at_every_step(self) -> bool:
        """Whether readings of the account come to something although nothing is held."""
        return bool(self.protections) or self.state.is_needed

    def begin_day(self, day_start: datetime) -> None:
        """Keep the first value of a day's equity, which its losses are measured from, and what the day has realised."""
        if self.day_start == day_start:
            return
        self.day_start = day_start
        self._look()
        day = day_start.date()
        if day not in self._day_equities:
            self._day_equities[day] = self.venue.equity(ACCOUNT)
        self.day_start_equity = self._day_equities[day]
        self.realized_today = self._realized_since(day_start)

    def refresh_account(self, day_start: datetime) -> None:
        """Value the account at the newest prices, for a decision."""
        self.begin_day(day_start)
        self._look()
        self.account = self.venue.account(ACCOUNT)

    def value(self, equity: Decimal) -> None:
        """The account as it was read at a time that was passed over."""
        self.account = replace(self.account, equity=equity)

    def on_account(self, now: datetime) -> None:
        """The account was read: what its own rules, the protections and the highest equity make of it."""
        if self.state.is_needed:
            self.follow_account(now)
        self.review(now)
        if is_new_peak(self, self.account.equity):
            self.peak_equity = self.account.equity

    def follow_account(self, now: datetime) -> None:
        """Begin the account's state where there is none, in quiet."""
        state = self.state
        if not state.is_quiet(len(self.bookings), is_trading=bool(self.in_flight)):
            return
        if not state.is_read:
            since = now - state.history()
            fills = [each.fill for each in self.bookings if each.fill.time >= since]
            opening = state.opening(self.venue.account(ACCOUNT), fills, now)
            state.begin((opening,), fills, (), now)

    def review(self, now: datetime) -> None:
        """Make the locks that are due; those that are over make room."""
        if review(self, self.protections, now):
            self.locks = {name: lock for name, lock in self.locks.items() if lock.is_active(now)}

    def _look(self) -> None:
        for symbol in self.ledger.positions:
            quote = self._last_quote(symbol)
            if quote is not None and quote is not self.venue.quotes.get(symbol):
                self.on_quote(quote)

    def _realized_since(self, moment: datetime) -> Decimal:
        total = ZERO
        for booking in reversed(self.bookings):
            if booking.fill.time < moment:
                break
            total += booking.realized - booking.fill.commission
        return total

    # -- doing -------------------------------------------------------------------------------------------------

    def place(self, intents: Sequence[Intent], now: datetime) -> dict[str, Reason]:
        """Send intents, each once; says what came of every reference."""
        chosen: list[Intent] = []
        outcome: dict[str, Reason] = {}
        leaving: set[str] = set()
        for intent in intents:
            outcome[intent.order_ref] = Reason.ALREADY_DECIDED
            if intent.kind is IntentKind.EXIT:
                if intent.position_id in leaving or self.is_leaving(intent.position_id):
                    continue
                leaving.add(intent.position_id)
                position = self.positions[intent.position_id]
                self.positions[intent.position_id] = replace(position, exit_sequence=position.exit_sequence + 1)
            if intent.order_ref not in self._known:
                self._known.add(intent.order_ref)
                chosen.append(intent)
        for intent in chosen:
            self._send(intent, now)
            outcome[intent.order_ref] = Reason.ORDERED
        return outcome

    def _send(self, intent: Intent, now: datetime) -> None:
        self.in_flight[intent.order_ref] = InFlight(intent)
        request = OrderRequest(
            intent.order_ref,
            intent.symbol,
            intent.side,
            intent.quantity,
            intent.order_type,
            intent.limit_price,
            intent.stop_price,
            intent.time_in_force,
            intent.reference_price,
        )
        expires_at = None if self._hours is None else self._hours.next_close(now)
        self._hear(self.venue.submit(ACCOUNT, request, now, expires_at))
        self.order_times.append(intent.created_at)
        while self.order_times[0] < intent.created_at - RATE_WINDOW:
            self.order_times.popleft()
        self._orders.append(intent)
        while self._orders[0].created_at < intent.created_at - self._orders_window:
            self._orders.popleft()

    def on_quote(self, quote: Quote) -> None:
        """A price arrives at the venue."""
        if self.in_flight:
            self._hear(self.venue.take(quote, self._hours), quote)
        else:
            self.venue.see(quote)

    def put(self, position: Position) -> None:
        """Keep a position whose best price or stop has moved."""
        self.positions[position.position_id] = position

    def split(self, symbol: str, ratio: Decimal) -> None:
        """One share becomes `ratio`, at the venue, in orders under way and in positions."""
        self.venue.split(symbol, ratio)
        if self.settlement is not None:
            self.settlement = split_lots(self.settlement, symbol, ratio)
        for flying in self.in_flight.values():
            intent = flying.intent
            if intent.symbol == symbol:
                flying.filled *= ratio
                flying.intent = replace(
                    intent,
                    quantity=intent.quantity * ratio,
                    reference_price=intent.reference_price / ratio,
                    limit_price=None if intent.limit_price is None else intent.limit_price / ratio,
                    stop_price=None if intent.stop_price is None else intent.stop_price / ratio,
                )
        for position in self.open_positions():
            if position.symbol == symbol:
                self.put(split_position(position, ratio))

    # -- following ---------------------------------------------------------------------------------------------

    def _hear(self, happened: Iterable[Happened], quote: Quote | None = None) -> None:
        for one in happened:
            event = one.event
            if isinstance(event, Fill):
                self._on_fill(event, quote)
            elif event.state.is_final and event.order_ref in self.in_flight:
                if event.detail:
                    self.rejections[event.detail.partition(":")[0]] += 1
                del self.in_flight[event.order_ref]
        self.venue.take_changes()

    def _on_fill(self, fill: Fill, quote: Quote | None) -> None:
        flying = self.in_flight[fill.order_ref]
        intent = flying.intent
        kept = self.positions.get(intent.position_id)
        before = kept or self._left.get(intent.position_id)
        begins = kept is None and intent.kind is IntentKind.ENTRY and flying.filled == ZERO
        policy = _policy_of(intent.exits) if intent.exits else ExitPolicy()
        booked = book(None if begins else before, intent, fill, policy)
        after = booked.position
        if kept is not None and after.best_price != kept.best_price:
            after = replace(after, best_price=kept.best_price)
        flying.filled += fill.quantity
        if flying.filled >= intent.quantity:
            del self.in_flight[fill.order_ref]
        self.bookings.append(Booking(fill, intent, price(quote.price) if quote else fill.price, booked.realized))
        if after.is_open:
            self.positions[after.position_id] = after
        else:
            self.positions.pop(after.position_id, None)
            if any(f.intent.position_id == after.position_id for f in self.in_flight.values()):
                self._left[after.position_id] = after
        if booked.closed is not None:
            self.trades.append(booked.closed)
        if self.day_start is None or fill.time >= self.day_start:
            self.realized_today += booked.realized - fill.commission
        self.state.book(intent, fill)
        if booked.closed is not None:
            self.review(fill.time)


def _exit_time(trade: ClosedTrade) -> datetime:
    return trade.exit_time

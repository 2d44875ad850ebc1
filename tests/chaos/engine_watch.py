"""What must be true of a history, judged by what the venue saw and by what people asked for: not by the runner's word.

Whatever is broken is noted in `found`, because the engine may be in the middle of something when it shows.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from engine_line import ACCOUNT, BAR_SECONDS
from lives import FoundError, counts_of

from openbell.domain.money import ZERO, price
from openbell.domain.orders import Fill, Intent, IntentKind, IntentState, OrderTerms, Side
from openbell.domain.reasons import ExitReason
from openbell.domain.state import TradingState
from openbell.domain.statistics import Statistics
from openbell.journal.rows import statistics_document
from openbell.market.settlement import settles_on, trade_date_of

if TYPE_CHECKING:
    from engine_history import History

CENT = Decimal("0.01")
STOP, TARGET, TRAIL = Decimal("0.02"), Decimal("0.04"), Decimal("0.01")
VENUE = "XNYS"


@dataclass
class Sent:
    """An order as it arrived; quantity and price follow splits."""

    intent: Intent
    quantity: Decimal
    reference: Decimal


@dataclass
class Lot:
    """What a position came to by its executions alone, and the prices since it was opened."""

    symbol: str
    held: Decimal = ZERO
    bought: list[Decimal] = field(default_factory=list)
    best: Decimal = ZERO
    worst: Decimal = ZERO


@dataclass
class Watch:
    """Sees every order before the venue has it, and every execution as it is made."""

    history: History
    found: list[str] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    entries: Counter[tuple[str, str, datetime, Side]] = field(default_factory=Counter)
    lots: dict[str, Lot] = field(default_factory=dict)
    held: dict[str, Decimal] = field(default_factory=dict)
    cash: Decimal = ZERO
    executions: list[tuple[Fill, date]] = field(default_factory=list)
    by_hand: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    counters: dict[str, int] = field(default_factory=dict)
    _counted: Statistics | None = None

    def note(self, text: str) -> None:
        self.found.append(text)

    # -- an order arrives --------------------------------------------------------------------------------------------

    def arrives(self, intent: Intent) -> None:
        """Called the moment before the venue has it."""
        history, ref = self.history, intent.order_ref
        if ref in self.sent:
            self.note(f"{ref} arrived twice")
        if not history.contender.held:
            self.note(f"{ref} arrived while the lease was not held")
        if not intent.epoch == history.contender.epoch == history.epoch:
            self.note(
                f"{ref} carries epoch {intent.epoch}; the lease's is {history.contender.epoch}, once {history.epoch}"
            )
        self.sent[ref] = Sent(intent, intent.quantity, intent.reference_price)
        why = self._no_entry(intent) if intent.kind is IntentKind.ENTRY else self._no_exit(intent)
        for text in why:
            self.note(f"{intent.kind.value} {ref} of {intent.symbol} arrived {text}")

    def _no_entry(self, intent: Intent) -> Iterable[str]:
        history = self.history
        asked, gate = history.asked, history.living.parts.gate
        state = history.state
        if state is not TradingState.RUNNING:
            yield f"while {state.value}"
        if asked.killed:
            yield "while the kill switch was on"
        if intent.strategy in asked.paused_strategies:
            yield "while its strategy was paused"
        if asked.is_stale:
            yield "while the state was stale"
        if not gate.journal_open:
            yield "while the journal was closed"
        if not self._is_written(intent.order_ref):
            yield "before it was written"
        if not {"orders", "executions", "positions"} <= history.line.answered:
            yield "before the broker was asked since the connection came up"
        if any(lock.is_active(history.deciding_at) and lock.concerns(intent.symbol, intent.strategy)
               for lock in history.locks.values() if lock.lock_id in history.locked_before):  # fmt: skip
            yield "while locked"
        # Two bars and five seconds; a signal that waits lives for two bars, which are counted from the bar's own end.
        age = (history.clock.now() - intent.bar_time).total_seconds()
        if age > 2 * BAR_SECONDS + 5:
            yield f"on a bar that is {age:.0f} s old"
        if intent.side is Side.SELL and not history.setting.short:
            yield "selling short"
        key = (intent.strategy, intent.symbol, intent.bar_time, intent.side)
        self.entries[key] += 1
        if self.entries[key] > 1:
            yield "a second time on the same bar"
        if history.setting.cash and intent.side is Side.BUY:
            free = self.settled() - self._reserved(intent.order_ref)
            if intent.quantity * intent.reference_price > max(free, ZERO):
                yield f"for {intent.quantity * intent.reference_price:.2f}, with {free:.2f} settled and free"

    def _no_exit(self, intent: Intent) -> Iterable[str]:
        asked, state = self.history.asked, self.history.state
        if state is TradingState.STOPPED and not asked.flatten:
            yield "while Stopped"
        if state is TradingState.PAUSED and asked.halts_exits:
            yield "while exits were halted"
        live = [each.intent.position_id for each in self._live() if each.intent.kind is IntentKind.EXIT]
        if intent.kind is IntentKind.EXIT and intent.position_id in live:
            yield "while another exit of the position was live"
        lot, direction = self.lots.get(intent.position_id, Lot(intent.symbol)), -intent.side.sign
        most = self._could_fill(intent.position_id, {intent.order_ref: intent.quantity})
        if most > lot.held * direction:
            yield f"for {intent.quantity}, with which {most} may be filled where the position is {lot.held}"
        at_venue = self.held.get(intent.symbol, ZERO)
        if intent.symbol in self.by_hand and "positions" in self.history.line.unknown:
            self.blind.add(intent.order_ref)  # the broker was asked, and did not say that somebody has sold
        elif intent.quantity > at_venue * direction:
            yield f"for {intent.quantity} where the broker holds {at_venue}"
        if intent.kind is IntentKind.EXIT:
            yield from self._unjustified(intent, lot)

    def _could_fill(self, position_id: str, asked: Mapping[str, Decimal]) -> Decimal:
        """The most that live orders may still reduce a position by: of an OCA group at most one order is filled."""
        groups: dict[str, Decimal] = {}
        working = {u.order_ref: u for u in self.history.venue.orders(ACCOUNT) if u.state is IntentState.WORKING}
        for ref, each in self.sent.items():
            if each.intent.position_id != position_id or each.intent.kind is IntentKind.ENTRY:
                continue
            if ref not in working and ref not in asked:
                continue
            update = working.get(ref)
            terms = update.terms if update is not None else None
            filled = update.filled_quantity if update is not None else ZERO
            left = max(terms.quantity if terms is not None else ZERO, asked.get(ref, ZERO)) - filled
            key = each.intent.oca_group or ref
            groups[key] = max(groups.get(key, ZERO), left)
        return sum(groups.values(), ZERO)

    def changes(self, order_ref: str, terms: OrderTerms) -> None:
        """Called the moment before the venue has new terms of an order."""
        known = self.sent[order_ref]
        lot = self.lots.get(known.intent.position_id, Lot(known.intent.symbol))
        most = self._could_fill(known.intent.position_id, {order_ref: terms.quantity})
        working = {u.order_ref for u in self.history.venue.orders(ACCOUNT) if u.state is IntentState.WORKING}
        if order_ref in working and most > abs(lot.held):
            self.note(f"{order_ref} was changed to {terms.quantity}, with which {most} may be filled of {lot.held}")

    def _unjustified(self, intent: Intent, lot: Lot) -> Iterable[str]:
        """An exit by price needs a price that was told and that reaches the level, by the executions' own prices."""
        told = [price(each) for each in self.history.market.told.get(intent.symbol, [])]
        if not lot.bought or not told:
            return
        is_long = lot.held > 0
        low, high = (min(told), max(told))
        cheap, dear = min(lot.bought), max(lot.bought)
        wrong = False
        if intent.reason == ExitReason.STOP_LOSS.value:
            wrong = low > dear * (1 - STOP) if is_long else high < cheap * (1 + STOP)
        elif intent.reason == ExitReason.TAKE_PROFIT.value:
            wrong = high < cheap * (1 + TARGET) if is_long else low > dear * (1 - TARGET)
        elif intent.reason == ExitReason.TRAILING_STOP.value:
            wrong = low > lot.best * (1 - TRAIL) if is_long else high < lot.worst * (1 + TRAIL)
        if wrong:
            yield f"by {intent.reason} at {low}…{high}, bought at {cheap}…{dear}, best {lot.best}, worst {lot.worst}"

    def _live(self) -> list[Sent]:
        working = {u.order_ref for u in self.history.venue.orders(ACCOUNT) if u.state is IntentState.WORKING}
        return [self.sent[ref] for ref in working if ref in self.sent]

    def _reserved(self, but: str) -> Decimal:
        filled = {u.order_ref: u.filled_quantity for u in self.history.venue.orders(ACCOUNT)}
        return sum(
            (
                (each.quantity - filled[each.intent.order_ref]) * each.reference
                for each in self._live()
                if each.intent.kind is IntentKind.ENTRY and each.intent.order_ref != but
            ),
            ZERO,
        )

    def settled(self) -> Decimal:
        """Starting cash less all purchases and with the proceeds that had settled by yesterday's end."""
        today = trade_date_of(VENUE, self.history.clock.now())
        total = self.history.starting_cash
        for fill, day in self.executions:
            if fill.side is Side.BUY:
                total -= fill.quantity * fill.price + fill.commission
            elif settles_on(VENUE, day) < today:
                total += fill.quantity * fill.price - fill.commission
        return total

    def _is_written(self, ref: str) -> bool:
        reading = self.history.living.reading
        return reading.execute("SELECT 1 FROM intents WHERE order_ref = ?", (ref,)).fetchone() is not None

    # -- what the venue does -----------------------------------------------------------------------------------------

    def executed(self, fill: Fill) -> None:
        signed = fill.quantity * fill.side.sign
        self.executions.append((fill, trade_date_of(VENUE, fill.time)))
        before = self.held.get(fill.symbol, ZERO)
        self.held[fill.symbol] = before + signed
        self.cash -= signed * fill.price + fill.commission
        known = self.sent.get(fill.order_ref)
        if known is None:
            return
        intent = known.intent
        lot = self.lots.setdefault(intent.position_id, Lot(fill.symbol))
        after = lot.held + signed
        if intent.kind is not IntentKind.ENTRY and fill.order_ref not in self.blind:
            if abs(after) > abs(lot.held) or lot.held * after < 0:
                self.note(f"the exit {fill.order_ref} turned the position from {lot.held} to {after}")
            if abs(before + signed) > abs(before):
                self.note(f"the exit {fill.order_ref} made the exposure in {fill.symbol} grow from {before}")
        elif intent.kind is IntentKind.ENTRY:
            if lot.held == ZERO:
                lot.bought, lot.best, lot.worst = [], fill.price, fill.price
            lot.bought.append(fill.price)
        lot.held = after
        self.seen(fill.symbol, fill.price)

    def seen(self, symbol: str, at: Decimal) -> None:
        """A price of the market: what trailing stops may hang from."""
        for lot in self.lots.values():
            if lot.symbol == symbol and lot.held:
                lot.best, lot.worst = max(lot.best, at), min(lot.worst, at)

    def split(self, symbol: str, ratio: Decimal) -> None:
        self.held[symbol] = self.held.get(symbol, ZERO) * ratio
        for lot in self.lots.values():
            if lot.symbol == symbol:
                lot.held *= ratio
                lot.bought = [at / ratio for at in lot.bought]
                lot.best, lot.worst = lot.best / ratio, lot.worst / ratio
        for each in self.sent.values():
            if each.intent.symbol == symbol:
                each.quantity, each.reference = each.quantity * ratio, each.reference / ratio

    # -- after every step --------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises FoundError for the first thing that is broken."""
        history = self.history
        ledger = history.venue_ledger
        if ledger.cash != history.starting_cash + self.cash:
            self.note(f"the venue's cash is {ledger.cash}, its executions say {history.starting_cash + self.cash}")
        for symbol, held in self.held.items():
            if ledger.quantity(symbol) != held:
                self.note(f"the venue holds {ledger.quantity(symbol)} {symbol}, its executions say {held}")
        if history.life is not None and not history.life.ended:
            self._count(history.life.parts.ledger.statistics)
        if self.found:
            raise FoundError(self.found[0])

    def _count(self, statistics: Statistics) -> None:
        if statistics is self._counted:
            return
        self._counted = statistics
        now = counts_of(json.loads(statistics_document(statistics)))
        for path, before in self.counters.items():
            if now.get(path, 0) < before:
                self.note(f"the counter {path} went back from {before} to {now.get(path, 0)}")
        self.counters = now

    def begins(self, reading: sqlite3.Connection) -> None:
        """A new process counts on from what was written; what only memory had may be lost with the old one."""
        row = reading.execute("SELECT document FROM statistics").fetchone()
        self.counters = counts_of(json.loads(row[0])) if row else {}

    # -- when it is quiet --------------------------------------------------------------------------------------------

    def check_quiet(self) -> None:
        """After a comparison with nothing in the way: both sides are the same."""
        parts, ledger = self.history.living.parts, self.history.living.parts.ledger
        ours: dict[str, Decimal] = {}
        for position in ledger.open_positions():
            ours[position.symbol] = ours.get(position.symbol, ZERO) + position.quantity
        for symbol in sorted(ours.keys() | self.held.keys()):
            if ours.get(symbol, ZERO) != self.held.get(symbol, ZERO) and symbol not in self.by_hand:
                self.note(f"we own {ours.get(symbol, ZERO)} {symbol}, the broker holds {self.held.get(symbol, ZERO)}")
        live = sorted(each.intent.order_ref for each in self._live())
        rows = self.history.living.reading.execute("SELECT order_ref, state FROM intents WHERE is_open = 1").fetchall()
        written = sorted(ref for ref, _ in rows)
        if written != live or any(state != IntentState.WORKING.value for _, state in rows):
            self.note(f"open intents are {rows}, the venue's working orders {live}")
        if sorted(parts.desk.in_flight) != live:
            self.note(f"{sorted(parts.desk.in_flight)} are in flight, the venue's working orders are {live}")
        booked = {row[0] for row in self.history.living.reading.execute("SELECT execution_id FROM fills")}
        made = {fill.execution_id for fill, _ in self.executions if fill.order_ref in self.sent}
        if booked != made:
            self.note(f"fills booked and made differ: {sorted(booked ^ made)}")
        if not self.by_hand:
            if not parts.gate.in_sync:
                self.note(f"it is not in sync: {parts.comparison.why}")
            self._check_money()
        self.check()

    def _check_money(self) -> None:
        """Starting cash + realised − fees + open profit is the equity at the venue, to a cent a round trip."""
        history, ledger = self.history, self.history.living.parts.ledger
        prices = {symbol: price(quote.price) for symbol, quote in history.market.quotes.items()}
        value = sum((held * prices[symbol] for symbol, held in self.held.items()), ZERO)
        equity = history.venue_ledger.cash + value
        open_profit = sum((p.unrealized_pnl(prices[p.symbol]) for p in ledger.open_positions()), ZERO)
        ours = history.starting_cash + ledger.realized_total() + open_profit
        if abs(ours - equity) > CENT * (1 + len(ledger.trades)) / 2:
            self.note(f"our money comes to {ours}, the equity at the venue is {equity}")

    def check_wound_up(self) -> None:
        """Everything was left: nothing is open anywhere."""
        parts = self.history.living.parts
        if self.by_hand:
            return
        if any(self.held.values()) or self._live() or parts.ledger.positions or parts.desk.in_flight:
            self.note(
                f"after flattening the broker holds {self.held}, works {[s.intent.order_ref for s in self._live()]}; "
                f"we own {parts.ledger.open_positions()}, in flight {list(parts.desk.in_flight)}"
            )
        self.check()

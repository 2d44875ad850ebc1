"""The exit check: for each open lot, whether to leave it now, and the orders that do so. Never waits for evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import structlog

from openbell.domain.answers import Unknown
from openbell.domain.clock import Clock
from openbell.domain.money import PRICE_STEP, ZERO, cents
from openbell.domain.orders import Intent, Side
from openbell.domain.positions import ClosedTrade, ExitPolicy, Position
from openbell.domain.reasons import ExitReason
from openbell.engine.cycle import exit_intent
from openbell.engine.exits import Exit, Hold, decide_exit, exit_quantity, levels
from openbell.journal import Journal
from openbell.market.base import MarketData
from openbell.market.replay import Levels as ArmedLevels
from openbell.runner.situation import Situation

log = structlog.get_logger("openbell.exits")

FLAT_CONFIRMATIONS = 2


@dataclass(slots=True)
class Exits:
    """Checks every monitored position once per `check`. One exit of a position is in flight at a time."""

    situation: Situation
    market: MarketData
    journal: Journal
    clock: Clock
    owner: str
    _flat_seen: dict[str, int] = field(default_factory=dict)

    def adopt(self, policies: Mapping[str, ExitPolicy]) -> None:
        """Leave open lots by what their strategies' resources say now; a strategy that is gone leaves them."""
        for position in self.situation.ledger.open_positions():
            policy = policies.get(position.strategy, position.policy)
            if policy != position.policy:
                self.situation.ledger.put_position(replace(position, policy=policy))

    async def check(self, now: datetime | None = None) -> None:
        """Look at every position; send the exits that are due.

        While the broker is not connected none is decided, for each would only be written and withdrawn: they go out
        at the first check after the connection is back. The same holds while the market does not trade, in a lunch
        break as after the close: an order would wait at the exchange, out of our hands, and fill at whatever price
        trading begins again. What a stop missed in the break is done by the first check after it, at the price then.
        """
        situation = self.situation
        now = now or self.clock.now()
        flattening = situation.gate.flattening
        symbols = {position.symbol for position in self._staying()}
        if not symbols or situation.gate.exit_blocked() is not None or not (situation.is_open() or flattening):
            return
        if situation.gate.broker_connected:
            await situation.comparison.first_answer()
        await situation.read_quotes(self.market, symbols, now)
        answer = await situation.comparison.held_by_broker()
        held = None if isinstance(answer, Unknown) else answer
        if held is not None:
            await self._let_go(held, now)
        intents: list[Intent] = []
        ratcheted: list[Position] = []
        # From here to the sending nothing awaits, so that no fill is booked between looking and keeping.
        for position in self._staying():
            found = self._decide(position, now, flattening=flattening)
            if found.best_price != position.best_price:
                kept = replace(position, best_price=found.best_price)
                situation.ledger.put_position(kept)
                if position.policy.trailing is not None:
                    ratcheted.append(kept)
            if isinstance(found, Exit) and situation.gate.broker_connected:
                intent = self._intent(position, found, held, now)
                intents += [intent] if intent is not None else []
        await situation.desk.place(intents)
        if ratcheted:
            await situation.desk.save_positions(ratcheted)

    def _staying(self) -> list[Position]:
        """Open positions that no exit is under way for."""
        desk = self.situation.desk
        return [p for p in self.situation.ledger.open_positions() if not desk.is_leaving(p.position_id)]

    async def _let_go(self, held: Mapping[str, Decimal], now: datetime) -> None:
        """Stop monitoring what the broker confirms, twice, that it no longer holds."""
        for position in self._staying():
            if held.get(position.symbol, ZERO) != ZERO:
                self._flat_seen.pop(position.position_id, None)
                continue
            seen = self._flat_seen.pop(position.position_id, 0) + 1
            if seen < FLAT_CONFIRMATIONS:
                self._flat_seen[position.position_id] = seen
                continue
            closed = self._closed_by_broker(position, now)
            await self.situation.desk.let_go(position, closed)

    def _decide(self, position: Position, now: datetime, *, flattening: bool) -> Exit | Hold:
        session = self.situation.calendar.session_at(now)
        close = session.close if session is not None and self.situation.hours_only else None
        found = decide_exit(position, self.situation.ledger.quotes.get(position.symbol), now, close)
        if flattening and isinstance(found, Hold):
            side = Side.SELL if position.quantity > 0 else Side.BUY
            return Exit(ExitReason.FLATTEN, side, abs(position.quantity), "stopping", found.best_price)
        return found

    def _intent(
        self, position: Position, found: Exit, held: Mapping[str, Decimal] | None, now: datetime
    ) -> Intent | None:
        at_broker = None if held is None else held.get(position.symbol, ZERO)
        quantity = exit_quantity(position, at_broker)
        if quantity <= 0:
            return None
        price = self.situation.ledger.price_of(position.symbol) or position.best_price
        limited = replace(found, quantity=quantity)
        log.info("exit.decided", position=position.position_id, reason=found.reason.value, detail=found.detail)
        return exit_intent(position, limited, owner=self.owner, epoch=self.situation.fence.epoch, now=now, price=price)

    def _closed_by_broker(self, position: Position, now: datetime) -> ClosedTrade:
        # At what price is not known here: the broker's own record has it. Ours books what was realised before.
        return ClosedTrade(
            position_id=position.position_id,
            strategy=position.strategy,
            symbol=position.symbol,
            quantity=position.quantity,
            entry_time=position.opened_at,
            entry_price=position.average_price,
            exit_time=now,
            exit_price=position.average_price,
            exit_reason=ExitReason.BROKER.value,
            pnl=cents(position.realized_pnl - position.fees),
            fees=position.fees,
        )

    def armed(self) -> dict[str, list[ArmedLevels]]:
        """Levels of every lot by symbol, for a replay's path."""
        return armed_levels(self.situation.ledger.open_positions())


def armed_levels(positions: Iterable[Position]) -> dict[str, list[ArmedLevels]]:
    """Levels of lots by symbol, for a path within a bar; rounded so that reaching one is past the exact rule."""
    found: dict[str, list[ArmedLevels]] = {}
    for position in positions:
        stop, target = levels(position)
        is_long = position.quantity > 0
        found.setdefault(position.symbol, []).append(
            ArmedLevels(is_long, _step(stop, down=is_long), _step(target, down=not is_long))
        )
    return found


def _step(level: Decimal | None, *, down: bool) -> float | None:
    if level is None:
        return None
    return float(level.quantize(PRICE_STEP, ROUND_FLOOR if down else ROUND_CEILING))

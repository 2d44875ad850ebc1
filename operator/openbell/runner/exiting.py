"""The exit check: for each open lot, whether to leave it now, and the orders that do so or protect it at the broker.

Never waits for evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from openbell.domain.answers import Unknown
from openbell.domain.clock import Clock
from openbell.domain.errors import NotAllowedError
from openbell.domain.identity import Leg, oca_group, protective_ref
from openbell.domain.money import ZERO, cents
from openbell.domain.orders import Intent, IntentKind, IntentState, OrderType, Side, TimeInForce
from openbell.domain.policies import encode_policy
from openbell.domain.positions import ClosedTrade, ExitPolicy, Position
from openbell.domain.reasons import ExitReason, HoldReason, Reason
from openbell.engine.exits import Exit, exit_quantity, levels, next_rung, shares_at_broker, stepped, stop_reason
from openbell.engine.leaving import Leaving, decide_leaving
from openbell.engine.recorded import ExitRecord
from openbell.engine.tightening import renewed
from openbell.journal import Journal
from openbell.market.base import MarketData
from openbell.market.replay import Levels as ArmedLevels
from openbell.runner.desk import Told
from openbell.runner.inflight import InFlight, Standing
from openbell.runner.next_steps import (
    ANSWER_SECONDS,
    Cancel,
    Leave,
    Look,
    Modify,
    Protect,
    Step,
    carried_on,
    next_steps,
    was_in_vain,
)
from openbell.runner.recording import Look as RecordedLook
from openbell.runner.recording import Recording, look_of
from openbell.runner.situation import Situation

log = structlog.get_logger("openbell.exits")

CONFIRMATIONS = 2
"""So many looks in a row at less than our lot at the broker until it is believed: fills may be on their way."""


@dataclass(slots=True)
class Exits:
    """Checks every monitored position once per `check`. One exit of a position is in flight at a time."""

    situation: Situation
    market: MarketData
    journal: Journal
    clock: Clock
    owner: str
    recording: Recording | None = None
    _flat_seen: dict[str, int] = field(default_factory=dict)
    _short_seen: dict[str, int] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)

    def adopt(self, policies: Mapping[str, ExitPolicy]) -> None:
        """Leave open lots by what their strategies' resources say now; a strategy that is gone leaves them."""
        for position in self.situation.ledger.open_positions():
            policy = renewed(position, policies.get(position.strategy, position.policy))
            if policy != position.policy:
                self.situation.ledger.put_position(replace(position, policy=policy))

    def ask(self, position_id: str) -> str:
        """Leave a position because a person says so, at the next check; says in one sentence what will happen.

        Raises KeyError where it is not open, NotAllowedError while exits are held back.
        """
        situation = self.situation
        position = situation.ledger.positions[position_id]
        blocked = situation.gate.exit_blocked()
        if blocked is not None:
            raise NotAllowedError(f"Position {position_id} is not closed now: {blocked.text}.")
        self._asked.add(position_id)
        standing = situation.desk.standing(position_id)
        if standing.exit is not None and standing.exit.intent.order_type is OrderType.MARKET:
            return f"An exit of {position.symbol} is already under way."
        if not situation.gate.broker_connected:
            return f"{position.symbol} is closed when the broker is connected again."
        if not situation.is_open():
            return f"{position.symbol} is closed when the market opens."
        return f"{position.symbol} is being closed at the market."

    async def check(self) -> None:
        """Look at every position; send the exits that are due, and keep the rest protected.

        While the broker is not connected none is decided, for each would only be written and withdrawn: they go out
        at the first check after the connection is back. The same holds while the market does not trade, in a lunch
        break as after the close: an order would wait at the exchange, out of our hands, and fill at whatever price
        trading begins again. What a stop missed in the break is done by the first check after it, at the price then.
        """
        situation = self.situation
        gate, ledger = situation.gate, situation.ledger
        now = self.clock.now()
        self._tidy()
        is_open = situation.is_open() or gate.flattening
        blocked = gate.exit_blocked()
        if blocked is not None or not is_open:
            self._not_looked(now, blocked or Reason.MARKET_CLOSED)
        if not ledger.positions or blocked is not None or not (is_open or self._has_protection()):
            return
        if gate.broker_connected and not await situation.comparison.first_answer():
            self._not_looked(now, Reason.RECONCILING)
            return
        now = self.clock.now()
        if is_open:
            await situation.read_quotes(self.market, {each.symbol for each in ledger.open_positions()}, now)
        answer = await situation.comparison.held_by_broker()
        held = None if isinstance(answer, Unknown) else answer
        if held is not None:
            await self._compare_held(held, now)
        shares = self._shares(held)
        # From here to the sending nothing awaits, so that no fill is booked between looking and keeping.
        ratcheted: list[Position] = []
        steps: list[tuple[Position, Step]] = []
        looks: list[tuple[ExitRecord, Leaving]] = []
        for position in ledger.open_positions():
            standing = situation.desk.standing(position.position_id)
            record = self._record(position, standing, shares, now)
            leaving = decide_leaving(record) if is_open else None
            best = position.best_price if leaving is None else leaving.found.best_price
            if best != position.best_price and not situation.desk.is_going(position.position_id):
                position = replace(position, best_price=best)
                ledger.put_position(position)
                if position.policy.trailing is not None:
                    ratcheted.append(position)
            found = self._steps(position, standing, leaving, shares, now) if gate.broker_connected else ()
            steps += [(position, step) for step in found]
            # One that is under way, or that something else has to be confirmed for first, is told as leaving.
            waits = isinstance(leaving, Leaving) and isinstance(leaving.found, Exit) and gate.broker_connected
            is_said = not waits or any(isinstance(step, Leave) for step in found)
            if leaving is not None and is_said and not situation.desk.is_leaving(position.position_id):
                looks.append((record, leaving))
        outcome = await self._carry_out(steps, [leaving for _, leaving in looks], now)
        if is_open:
            self._tell(looks, outcome, now)
        if ratcheted:
            await situation.desk.save_positions(ratcheted)

    def next_look(self, after: datetime) -> datetime | None:
        """When a rule on time or an unanswered question next asks for a check, whatever the interval of checks."""
        now, monotonic = self.clock.now(), self.clock.monotonic()
        moments: list[datetime] = []
        for position in self.situation.ledger.open_positions():
            policy = position.policy
            if policy.max_holding_seconds:
                moments.append(position.opened_at + timedelta(seconds=policy.max_holding_seconds))
            close = self.situation.session_close(after)
            if policy.flat_before_close_seconds and close is not None:
                moments.append(close - timedelta(seconds=policy.flat_before_close_seconds))
            standing = self.situation.desk.standing(position.position_id)
            deadline = _deadline(position, standing.exit)
            moments += [deadline] if deadline is not None else []
            for flying in (*standing.legs, *((standing.exit,) if standing.exit else ())):
                asked_at = flying.cancel_asked_at if flying.asked is None else flying.asked_at
                if asked_at is not None:
                    moments.append(now + timedelta(seconds=max(0.0, asked_at + ANSWER_SECONDS - monotonic)))
        return min((moment for moment in moments if moment > after), default=None)

    def wants_look(self, told: Told) -> bool:
        """Whether something that the broker told is to be followed by a check at once."""
        intent, record = told.record.intent, told.record
        position = self.situation.ledger.positions.get(intent.position_id)
        if intent.kind is IntentKind.ENTRY:
            return told.fill is not None and position is not None and position.policy.broker_side
        if intent.kind is IntentKind.EXIT:
            return record.state is IntentState.CANCELLED and intent.order_type is OrderType.LIMIT
        if record.state.is_final:
            return record.state is not IntentState.REJECTED
        return position is not None and bool(position.policy.scale_out)  # a part may have waited for the new terms

    # -- deciding ----------------------------------------------------------------------------------------------

    def _record(
        self, position: Position, standing: Standing, shares: Mapping[str, Decimal] | None, now: datetime
    ) -> ExitRecord:
        """Everything that an exit of this position depends on now."""
        situation, name = self.situation, position.position_id
        carried = carried_on(position, standing.last)
        return ExitRecord(
            now=now,
            owner=self.owner,
            epoch=situation.fence.epoch,
            position=position,
            quote=situation.ledger.quotes.get(position.symbol),
            session_close=situation.session_close(now),
            held=None if shares is None else shares[name],
            flattening=situation.gate.flattening,
            asked=ExitReason.MANUAL if name in self._asked else situation.desk.postponed.get(name),
            carried=carried[0] if carried else None,
            carried_quantity=carried[1] if carried else ZERO,
            in_vain=was_in_vain(standing.last),
        )

    def _steps(
        self,
        position: Position,
        standing: Standing,
        leaving: Leaving | None,
        shares: Mapping[str, Decimal] | None,
        now: datetime,
    ) -> tuple[Step, ...]:
        found = None if leaving is None else leaving.found
        deadline = _deadline(position, standing.exit)
        look = Look(
            position=position,
            due=found if isinstance(found, Exit) else None,
            is_urgent=leaving is not None and leaving.is_urgent,
            is_overdue=deadline is not None and now >= deadline,
            cap=self._cap(position, shares),
            now=self.clock.monotonic(),
        )
        return next_steps(look, standing)

    def _cap(self, position: Position, shares: Mapping[str, Decimal] | None) -> Decimal | None:
        """How many shares protective orders may be for; None while the broker's word is not certain."""
        if not self.situation.comparison.is_certain:
            return None
        ours = abs(position.quantity)
        at_broker = ours if shares is None else exit_quantity(position, shares[position.position_id])
        if at_broker >= ours:
            return ours
        return at_broker if self._short_seen.get(position.position_id, 0) >= CONFIRMATIONS else None

    def _shares(self, held: Mapping[str, Decimal] | None) -> Mapping[str, Decimal] | None:
        """What of the broker's shares is each lot's; None where its word is unknown."""
        if held is None:
            return None
        lots, is_leaving = self.situation.ledger.open_positions(), self.situation.desk.is_leaving
        return shares_at_broker(lots, held, {lot.position_id for lot in lots if is_leaving(lot.position_id)})

    def _has_protection(self) -> bool:
        return any(each.policy.broker_side for each in self.situation.ledger.open_positions())

    # -- carrying out ------------------------------------------------------------------------------------------

    async def _carry_out(
        self, steps: Sequence[tuple[Position, Step]], leavings: Sequence[Leaving], now: datetime
    ) -> Mapping[str, Reason]:
        desk = self.situation.desk
        exits = {each.intent.position_id: each for each in leavings if each.intent is not None}
        intents: list[Intent] = []
        placed: dict[str, int] = {}
        for position, step in steps:
            if isinstance(step, Cancel):
                desk.cancel(step.order_ref)
            elif isinstance(step, Leave):
                leaving = exits.get(position.position_id)
                if leaving is not None and leaving.intent is not None:
                    intents.append(leaving.intent)
                    detail = step.exit.detail
                    log.info("exit.decided", position=position.position_id, reason=leaving.intent.reason, detail=detail)
            elif isinstance(step, Protect):
                count = placed[position.position_id] = placed.get(position.position_id, 0) + 1
                intents.append(self._protective_intent(position, step, count, now))
        outcome = await desk.place(intents)
        for _, step in steps:
            if isinstance(step, Modify):
                await desk.modify(step.order_ref, step.terms)
        return outcome

    def _tell(self, looks: Iterable[tuple[ExitRecord, Leaving]], outcome: Mapping[str, Reason], now: datetime) -> None:
        """Say of each position why it is held or left; those whose exit is under way were not decided about."""
        if self.recording is None:
            return
        ledger = self.situation.ledger
        told = [look_of(record, leaving, outcome, ledger.price_of(record.position.symbol)) for record, leaving in looks]
        looked = {each.position.position_id for each in told}
        told += [
            RecordedLook(position, ledger.price_of(position.symbol), HoldReason.LEAVING)
            for position in ledger.open_positions()
            if position.position_id not in looked
        ]
        self.recording.looked(now, told)

    def _not_looked(self, now: datetime, why: Reason) -> None:
        if self.recording is not None:
            positions = self.situation.ledger.open_positions()
            self.recording.looked(now, [RecordedLook(position, None, why) for position in positions])

    def _protective_intent(self, position: Position, step: Protect, count: int, now: datetime) -> Intent:
        name, is_stop = position.position_id, step.leg is Leg.STOP
        return Intent(
            order_ref=protective_ref(self.owner, name, step.leg, position.protection_revision + count),
            kind=IntentKind.PROTECTIVE,
            strategy=position.strategy,
            symbol=position.symbol,
            side=Side.SELL if position.quantity > 0 else Side.BUY,
            quantity=step.quantity,
            position_id=name,
            reason=(stop_reason(position) if is_stop else ExitReason.TAKE_PROFIT).value,
            bar_time=now,
            created_at=now,
            epoch=self.situation.fence.epoch,
            reference_price=position.average_price,
            order_type=OrderType.STOP if is_stop else OrderType.LIMIT,
            limit_price=None if is_stop else step.price,
            stop_price=step.price if is_stop else None,
            time_in_force=TimeInForce.GTC,
            exits=encode_policy(position.policy),
            oca_group=step.group or oca_group(self.owner, name, position.protection_revision + 1),
        )

    def _tidy(self) -> None:
        """End the protective orders of lots that are gone, and forget what was asked of them."""
        situation = self.situation
        positions = situation.ledger.positions
        self._asked &= set(positions)
        if not situation.fence.holds() or not situation.gate.broker_connected:
            return
        for flying in tuple(situation.desk.in_flight.values()):
            if flying.record.state.is_final:
                situation.comparison.ask()  # it is over, and fills of it are still to be learned
            elif flying.intent.kind is IntentKind.PROTECTIVE and flying.intent.position_id not in positions:
                situation.desk.cancel(flying.intent.order_ref)

    # -- what the broker holds ---------------------------------------------------------------------------------

    async def _compare_held(self, held: Mapping[str, Decimal], now: datetime) -> None:
        """Stop monitoring what the broker confirms, twice, that it no longer holds."""
        desk, shares = self.situation.desk, shares_at_broker(self.situation.ledger.open_positions(), held, ())
        for position in self.situation.ledger.open_positions():
            name, at_broker = position.position_id, held.get(position.symbol, ZERO)
            if desk.is_leaving(name):
                continue
            is_short = exit_quantity(position, shares.get(name, ZERO)) < abs(position.quantity)
            _count(self._short_seen, name, is_short)
            if _count(self._flat_seen, name, at_broker == ZERO) < CONFIRMATIONS:
                continue
            legs = desk.standing(name).legs
            if legs:  # one of them may have left it, of which only its own end will tell
                for leg in legs:
                    desk.cancel(leg.intent.order_ref)
                self.situation.comparison.ask()
                continue
            # A fill that has not been told yet would be booked on a lot that is gone, so everything is asked once more.
            if not await self.situation.comparison.compare() or self.situation.ledger.positions.get(name) != position:
                continue
            _count(self._flat_seen, name, False)
            await desk.let_go(position, self._closed_by_broker(position, now))

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
        rungs = [level for level in (next_rung(position), target) if level is not None]
        nearest = (min if is_long else max)(rungs) if rungs else None
        found.setdefault(position.symbol, []).append(
            ArmedLevels(is_long, _step(stop, down=is_long), _step(nearest, down=not is_long))
        )
    return found


def _deadline(position: Position, leaving: InFlight | None) -> datetime | None:
    """When an exit that waits at a limit has had its time; at once where the policy knows of no limit any more."""
    if leaving is None or leaving.intent.order_type is not OrderType.LIMIT:
        return None
    escalation = position.policy.escalation
    return leaving.intent.created_at + timedelta(seconds=escalation.limit_seconds if escalation else 0)


def _count(seen: dict[str, int], name: str, again: bool) -> int:
    """How many times in a row something was seen, this one included."""
    if again:
        seen[name] = seen.get(name, 0) + 1
    else:
        seen.pop(name, None)
    return seen.get(name, 0)


def _step(level: Decimal | None, *, down: bool) -> float | None:
    return None if level is None else float(stepped(level, down=down))

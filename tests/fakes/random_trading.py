"""Any sequence of orders, cancels, prices and splits on a venue, and what must hold after each."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from openbell.brokers.simulated.venue import Happened, OrderRequest, Terms, Venue
from openbell.domain.bars import Quote
from openbell.domain.orders import Fill, IntentState, OrderTerms, OrderType, OrderUpdate, Side, TimeInForce

START = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
SYMBOLS = st.sampled_from(["AAPL", "IBM"])
LEVELS = st.integers(97, 103)
KINDS = st.sampled_from([OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT, OrderType.STOP])


def market(order_ref: str, side: Side, quantity: int, symbol: str = "AAPL") -> OrderRequest:
    return OrderRequest(order_ref, symbol, side, Decimal(quantity), reference_price=Decimal(100))


class TradedAtRandom(RuleBasedStateMachine):
    """Any sequence of orders, cancels, prices and splits on two accounts."""

    def __init__(self) -> None:
        super().__init__()
        self.terms = Terms(partial_fills=True)
        self.venue = Venue("V", 1, self.terms)
        self.now = START
        self.sent: dict[str, tuple[datetime, OrderRequest]] = {}
        self.fills: dict[str, list[Fill]] = {"a": [], "b": []}
        self.final: dict[str, OrderUpdate] = {}
        self.split_factor = {"AAPL": Decimal(1), "IBM": Decimal(1)}

    def heard(self, happened: tuple[Happened, ...], seen: Quote | None = None) -> None:
        for one in happened:
            if isinstance(one.event, Fill):
                arrived, request = self.sent[one.event.order_ref]
                assert one.event.time > arrived
                assert seen is not None
                assert one.event.time == seen.time
                assert one.event.quantity > 0
                if request.order_type is OrderType.LIMIT and self.split_factor[request.symbol] == 1:
                    assert request.limit_price is not None
                    assert (request.limit_price - one.event.price) * request.side.sign >= 0
                if request.order_type is OrderType.MARKET:
                    assert (one.event.price - Decimal(str(seen.price))) * request.side.sign >= 0
                self.fills[one.account].append(one.event)
            else:
                assert one.event.broker_order_id not in self.final
                if one.event.state.is_final:
                    self.final[one.event.broker_order_id] = one.event
                ref = one.event.order_ref
                self.sent[ref] = (self.sent[ref][0], replace(self.sent[ref][1], **asdict(one.event.terms)))

    @rule(
        account=st.sampled_from("ab"),
        symbol=SYMBOLS,
        side=st.sampled_from(Side),
        quantity=st.integers(0, 60),
        kind=KINDS,
        level=LEVELS,
        life=st.sampled_from(TimeInForce),
        group=st.sampled_from(["", "", "g", "h"]),
    )
    def an_order_arrives(
        self,
        account: str,
        symbol: str,
        side: Side,
        quantity: int,
        kind: OrderType,
        level: int,
        life: TimeInForce,
        group: str,
    ) -> None:
        price = Decimal(level)
        request = replace(
            market(f"r{len(self.sent)}", side, quantity, symbol),
            order_type=kind,
            limit_price=price if kind is OrderType.LIMIT else None,
            stop_price=price if kind is OrderType.STOP else None,
            time_in_force=life,
            oca_group=group,
        )
        self.sent[request.order_ref] = (self.now, request)
        self.heard(self.venue.submit(account, request, self.now, self.now + timedelta(seconds=20)))

    @rule(symbol=SYMBOLS, at=st.floats(95, 105), seconds=st.integers(0, 3))
    def a_price_arrives(self, symbol: str, at: float, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        seen = Quote(symbol, self.now, at, at, at)
        self.heard(self.venue.expire(self.now))
        self.heard(self.venue.on_quote(seen), seen)

    @rule(number=st.integers(0, 30), account=st.sampled_from("ab"))
    def a_cancel_arrives(self, number: int, account: str) -> None:
        for one in self.venue.cancel(account, f"r{number}"):
            assert isinstance(one.event, OrderUpdate)
            assert one.event.state.is_final
            self.final.setdefault(one.event.broker_order_id, one.event)
            assert self.final[one.event.broker_order_id] == one.event

    @rule(
        number=st.integers(0, 30),
        account=st.sampled_from("ab"),
        quantity=st.integers(0, 90),
        level=LEVELS,
    )
    def a_change_arrives(self, number: int, account: str, quantity: int, level: int) -> None:
        ref = f"r{number}"
        if ref not in self.sent:
            return
        kind = self.sent[ref][1].order_type
        price = Decimal(level)
        terms = OrderTerms(
            Decimal(quantity),
            price if kind is OrderType.LIMIT else None,
            price if kind is OrderType.STOP else None,
        )
        for one in self.venue.modify(account, ref, terms, self.now):
            assert isinstance(one.event, OrderUpdate)
            if one.event.state.is_final:
                assert self.final[one.event.broker_order_id] == one.event
            else:
                before = self.sent[ref][1]
                was = OrderTerms(before.quantity, before.limit_price, before.stop_price)
                assert one.event.terms == (was if one.event.detail else terms)
                self.sent[ref] = (self.now, replace(before, **asdict(one.event.terms)))

    @rule(symbol=SYMBOLS)
    def a_share_is_split_in_two(self, symbol: str) -> None:
        self.venue.split(symbol, Decimal(2))
        self.split_factor[symbol] *= 2
        for ref, (arrived, request) in self.sent.items():
            if request.symbol == symbol:
                self.sent[ref] = arrived, _halved(request)
        for fills in self.fills.values():
            fills[:] = [
                replace(fill, quantity=fill.quantity * 2, price=fill.price / 2) if fill.symbol == symbol else fill
                for fill in fills
            ]

    @invariant()
    def cash_and_positions_are_what_the_fills_say(self) -> None:
        for account, fills in self.fills.items():
            spent = sum((fill.side.sign * fill.quantity * fill.price + fill.commission for fill in fills), Decimal(0))
            assert abs(self.venue.ledger(account).cash - (self.terms.starting_cash - spent)) < Decimal("1e-9")
            for symbol in ("AAPL", "IBM"):
                held = sum((fill.side.sign * fill.quantity for fill in fills if fill.symbol == symbol), Decimal(0))
                assert self.venue.ledger(account).quantity(symbol) == held

    @invariant()
    def no_order_is_filled_beyond_its_quantity(self) -> None:
        for account in "ab":
            for update in self.venue.orders(account):
                if update.state is IntentState.FILLED:
                    assert update.filled_quantity > 0
                assert update.filled_quantity >= 0

    @invariant()
    def of_an_oca_group_one_order_is_filled_and_no_other_works(self) -> None:
        for account in "ab":
            for group in "gh":
                members = [update for update in self.venue.orders(account) if update.oca_group == group]
                filled = [update for update in members if update.filled_quantity]
                assert len(filled) <= 1
                if filled:
                    working = [update for update in members if update.state is IntentState.WORKING]
                    assert working in ([], filled)

    @invariant()
    def execution_ids_are_unique(self) -> None:
        identities = [fill.execution_id for fills in self.fills.values() for fill in fills]
        assert len(identities) == len(set(identities))


def _halved(request: OrderRequest) -> OrderRequest:
    """The order for twice the shares at half the price."""
    return replace(
        request,
        quantity=request.quantity * 2,
        limit_price=None if request.limit_price is None else request.limit_price / 2,
        stop_price=None if request.stop_price is None else request.stop_price / 2,
    )

"""What follows from the gateway's messages on orders, in any order, late, and more than once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.ibkr import ACCOUNT, CLIENT, commission, contract, execution, order, sent_order, state
from fakes.venues import intent
from openbell.brokers.base import BrokerEvent
from openbell.brokers.ibkr.book import COMMISSION_SECONDS, FILLS_SECONDS, INACTIVE_SECONDS, KEPT_SECONDS, Book
from openbell.domain.orders import Fill, IntentState, OrderTerms, OrderType, OrderUpdate, Side

REF = "ob1.a.1"


class Wire:
    """A book, and the gateway's messages on order 1; everything told is kept."""

    def __init__(self, sent: bool = True, **terms: Any) -> None:
        self.book = Book(CLIENT)
        self.book.account = ACCOUNT
        self.now = 100.0
        self.events: list[BrokerEvent] = []
        self.intent = intent(REF, **terms)
        if sent:
            self.book.sent(1, self.intent, self.intent.terms, contract(), sent_order(self.intent))

    def _told(self, events: list[BrokerEvent]) -> list[BrokerEvent]:
        self.events += events
        return events

    def echo(self, status: str = "Submitted", **changes: Any) -> list[BrokerEvent]:
        echoed = order(REF, **changes)
        return self._told(self.book.open_order(echoed.orderId, contract(), echoed, state(status), self.now))

    def status(self, status: str, filled: float = 0.0, average: float = 0.0, perm: int = 1001) -> list[BrokerEvent]:
        return self._told(self.book.order_status(1, status, filled, average, perm, CLIENT, self.now))

    def fill(self, number: int = 1, shares: float = 10.0, price: float = 100.0, **changes: Any) -> list[BrokerEvent]:
        done = execution(f"0000e0d5.65f1.{number:02}.01", shares, price, **changes)
        return self._told(self.book.execution(contract(), done, self.now))

    def cost(self, number: int = 1, cost: float = 1.0) -> list[BrokerEvent]:
        return self._told(self.book.commission(commission(f"0000e0d5.65f1.{number:02}.01", cost), self.now))

    def error(self, code: int, text: str = "why") -> list[BrokerEvent]:
        return self._told(self.book.error(1, code, text, self.now))

    def wait(self, seconds: float) -> list[BrokerEvent]:
        self.now += seconds
        return self._told(self.book.due(self.now))

    @property
    def updates(self) -> list[OrderUpdate]:
        return [event for event in self.events if isinstance(event, OrderUpdate)]

    @property
    def states(self) -> list[IntentState]:
        return [update.state for update in self.updates]

    @property
    def fills(self) -> list[Fill]:
        return [event for event in self.events if isinstance(event, Fill)]


@pytest.fixture
def wire() -> Wire:
    return Wire()


# --- the usual ------------------------------------------------------------------------------------------------------


def test_a_market_order_as_it_was_recorded_is_acknowledged_and_filled_once(wire: Wire) -> None:
    for _ in range(3):
        wire.echo("PreSubmitted")
        wire.status("PreSubmitted")
    wire.fill()
    wire.echo("Filled")
    wire.status("Filled", 10.0, 100.0)
    wire.echo("Filled")
    wire.status("Filled", 10.0, 100.0)
    wire.cost(cost=1.25)
    assert wire.states == [IntentState.WORKING, IntentState.FILLED]
    (fill,) = wire.fills
    assert (fill.order_ref, fill.symbol, fill.side, str(fill.quantity), str(fill.price), str(fill.commission)) == (
        REF, "AAPL", Side.BUY, "10", "100.0000", "1.25")  # fmt: skip
    assert wire.events.index(fill) < wire.events.index(wire.updates[-1])
    last = wire.updates[-1]
    assert (last.broker_order_id, last.filled_quantity, last.average_price) == ("1001", 10, 100)
    assert last.terms == OrderTerms(Decimal(10))
    assert not wire.book.lookups


LIFE: list[tuple[str, tuple[Any, ...]]] = [
    ("echo", ("PreSubmitted",)),
    ("status", ("Submitted",)),
    ("fill", (1, 4.0, 100.0)),
    ("cost", (1, 0.4)),
    ("status", ("Submitted", 4.0, 100.0)),
    ("fill", (2, 6.0, 101.0)),
    ("cost", (2, 0.6)),
    ("status", ("Filled", 10.0, 100.6)),
    ("echo", ("Filled",)),
]


@given(st.permutations(LIFE), st.lists(st.sampled_from(LIFE), max_size=6))
def test_in_any_order_and_repeated_each_fill_is_told_once_and_before_its_update(
    life: list[tuple[str, tuple[Any, ...]]], again: list[tuple[str, tuple[Any, ...]]]
) -> None:
    wire = Wire()
    for name, arguments in [*life, *again]:
        getattr(wire, name)(*arguments)
    assert sorted((fill.execution_id, str(fill.quantity), str(fill.commission)) for fill in wire.fills) == [
        ("0000e0d5.65f1.01", "4", "0.4"),
        ("0000e0d5.65f1.02", "6", "0.6"),
    ]
    assert wire.states[-1] is IntentState.FILLED
    assert wire.states.count(IntentState.FILLED) == 1
    filled = Decimal(0)
    for event in wire.events:
        if isinstance(event, Fill):
            filled += event.quantity
        elif isinstance(event, OrderUpdate):
            assert event.filled_quantity <= filled
    assert wire.wait(60.0) == []


# --- commissions ----------------------------------------------------------------------------------------------------


def test_a_commission_before_its_execution_is_kept_for_it(wire: Wire) -> None:
    assert wire.cost(cost=2.0) == []
    (fill,) = wire.fill()
    assert isinstance(fill, Fill)
    assert fill.commission == 2


def test_a_commission_that_does_not_come_holds_no_fill_back_for_long(wire: Wire) -> None:
    assert wire.fill() == []
    assert wire.wait(COMMISSION_SECONDS - 0.1) == []
    (fill,) = wire.wait(0.2)
    assert isinstance(fill, Fill)
    assert fill.commission == 0
    assert wire.book.uncharged == 1
    assert wire.cost(cost=1.5) == []
    assert [str(known.commission) for known in wire.book.fills()] == ["1.5"]


def test_a_commission_twice_is_one(wire: Wire) -> None:
    wire.fill()
    wire.cost()
    assert wire.cost() == []
    assert len(wire.fills) == 1


# --- executions -----------------------------------------------------------------------------------------------------


def test_a_correction_is_not_a_second_fill(wire: Wire) -> None:
    wire.fill()
    wire.cost()
    corrected = execution("0000e0d5.65f1.01.02", 10.0, 99.0)
    assert wire.book.execution(contract(), corrected, wire.now) == []
    assert wire.book.corrections == ["0000e0d5.65f1.01"]
    assert [(fill.execution_id, str(fill.price)) for fill in wire.book.fills()] == [("0000e0d5.65f1.01", "99.0000")]


def test_fills_of_another_account_are_none_of_ours(wire: Wire) -> None:
    wire.fill(acctNumber="DU2")
    wire.wait(10.0)
    assert wire.fills == []


def test_an_execution_of_an_order_that_is_not_known_is_told_by_its_reference() -> None:
    wire = Wire(sent=False)
    wire.cost()
    (fill,) = wire.fill(orderRef="ob1.b.7", permId=5, orderId=0, clientId=3)
    assert isinstance(fill, Fill)
    assert fill.order_ref == "ob1.b.7"
    (manual,) = [*wire.fill(2, orderRef="", permId=6, orderId=0, clientId=0), *wire.wait(COMMISSION_SECONDS)]
    assert isinstance(manual, Fill)
    assert manual.order_ref == "ibkr:6"


def test_a_fill_after_the_cancel_is_told(wire: Wire) -> None:
    wire.echo()
    wire.status("Cancelled")
    wire.cost()
    (fill,) = wire.fill(shares=3.0)
    assert isinstance(fill, Fill)


def test_an_update_that_waits_for_fills_in_vain_is_told_and_looked_up(wire: Wire) -> None:
    wire.echo()
    assert wire.status("Filled", 10.0, 100.0) == []
    (update,) = wire.wait(FILLS_SECONDS)
    assert isinstance(update, OrderUpdate)
    assert update.state is IntentState.FILLED
    assert wire.book.lookups == {REF}
    assert wire.wait(100.0) == []
    assert wire.book.tell_again({REF}, wire.now) == [update], "and not held again by the answer to the look-up"


# --- identity -------------------------------------------------------------------------------------------------------


def test_a_number_that_is_given_anew_is_another_order() -> None:
    """LEAN 242: after a roll-back of the gateway's counter an old number names another order."""
    wire = Wire(sent=False)
    wire.echo("Submitted", perm_id=1)
    other = order("ob1.a.2", perm_id=2)
    wire.book.open_order(1, contract(), other, state("Submitted"), wire.now)
    first, second = wire.book.find(REF), wire.book.find("ob1.a.2")
    assert first is not None
    assert second is not None
    assert (first.perm_id, second.perm_id) == (1, 2)
    wire.book.order_status(1, "Cancelled", 0.0, 0.0, 1, CLIENT, wire.now)
    assert first.is_over
    assert not second.is_over


def test_the_highest_number_of_any_client_is_kept() -> None:
    wire = Wire(sent=False)
    wire.book.open_order(55, contract(), order("x", clientId=3, account="DU2"), state(), wire.now)
    assert wire.book.highest_order_id == 55


def test_a_reference_that_the_gateway_alters_is_noticed(wire: Wire) -> None:
    echoed = order("ob1.a", perm_id=9)
    wire.book.open_order(1, contract(), echoed, state(), wire.now)
    assert wire.book.altered_ref == REF


def test_the_first_word_on_an_order_may_be_that_it_is_over(wire: Wire) -> None:
    """Its acknowledgement was lost with a connection: the answer names it by reference and permId alone."""
    done = order(REF, orderId=0, clientId=0, totalQuantity=10.0)
    wire.events += wire.book.completed(contract(), done, state("Cancelled"), wire.now)
    entry = wire.book.find(REF)
    assert entry is not None
    assert (entry.order_id, entry.perm_id, entry.state) == (1, 1001, IntentState.CANCELLED)


def test_an_order_that_was_sent_twice_is_two(wire: Wire) -> None:
    wire.echo("Submitted")
    wire.book.sent(2, wire.intent, wire.intent.terms, contract(), sent_order(wire.intent, 2))
    wire.echo("Submitted", orderId=2, perm_id=1002)
    assert [update.broker_order_id for update in wire.updates] == ["1001", "1002"]


def test_orders_of_other_clients_cannot_be_changed_by_us() -> None:
    wire = Wire(sent=False)
    wire.echo(clientId=3)
    assert wire.book.find(REF) is None
    assert wire.book.knows(REF)


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [103, 110, 200, 201, 203, 321, 10243])
def test_a_new_order_that_is_refused_is_rejected_with_the_reason(wire: Wire, code: int) -> None:
    (update,) = wire.error(code, "No.")
    assert isinstance(update, OrderUpdate)
    assert (update.state, update.detail) == (IntentState.REJECTED, f"No. (IBKR {code})")
    assert wire.wait(60.0) == []


def test_an_inactive_order_is_rejected_by_its_reason_alone(wire: Wire) -> None:
    wire.echo("Inactive")
    wire.status("Inactive")
    assert wire.states == []
    wire.error(201, "Order rejected - reason: margin")
    assert wire.states == [IntentState.REJECTED]


def test_an_inactive_order_without_a_reason_is_looked_up_and_not_given_up(wire: Wire) -> None:
    wire.status("Inactive")
    (update,) = wire.wait(INACTIVE_SECONDS)
    assert isinstance(update, OrderUpdate)
    assert (update.state, update.detail) == (IntentState.WORKING, "the broker calls it Inactive")
    assert wire.book.lookups == {REF}
    wire.status("Inactive")
    assert wire.wait(60.0) == []


@pytest.mark.parametrize("code", [399, 404, 2109, 10349])
def test_a_warning_leaves_an_order_as_it_is(wire: Wire, code: int) -> None:
    wire.echo()
    assert wire.error(code) == []
    assert wire.status("Submitted") == []
    assert wire.states == [IntentState.WORKING]
    assert not wire.book.lookups


@pytest.mark.parametrize("code", [201, 110, 321, 10148, 10147, 504, 99999])
def test_an_error_on_an_order_that_works_never_ends_it_by_itself(wire: Wire, code: int) -> None:
    wire.echo()
    wire.error(code)
    assert wire.states == [IntentState.WORKING]
    assert wire.book.lookups == {REF}


def test_a_cancel_is_confirmed_by_its_status_or_its_error(wire: Wire) -> None:
    wire.echo()
    wire.status("PendingCancel")
    wire.status("Cancelled")
    wire.error(202, "Order Canceled - reason:")
    assert wire.states == [IntentState.WORKING, IntentState.CANCELLED]
    other = Wire()
    other.echo()
    other.error(202, "Order Canceled - reason:")
    other.status("Cancelled")
    assert other.states == [IntentState.WORKING, IntentState.CANCELLED]


def test_a_cancel_that_comes_too_late_hears_the_end_again(wire: Wire) -> None:
    wire.echo()
    wire.fill()
    wire.cost()
    wire.status("Filled", 10.0, 100.0)
    told = wire.updates[-1]
    assert wire.error(10148) == [told]


def test_a_fill_that_overtook_the_cancel_is_the_truth(wire: Wire) -> None:
    wire.echo()
    wire.error(202)
    wire.fill()
    wire.cost()
    wire.status("Filled", 10.0, 100.0)
    assert wire.states[-1] is IntentState.FILLED


def test_a_late_word_does_not_revive_an_order_but_is_looked_into(wire: Wire) -> None:
    wire.echo()
    wire.status("Cancelled")
    assert wire.status("Submitted") == []
    assert wire.book.lookups == {REF}


def test_an_answer_that_an_order_lives_overrules_what_was_heard(wire: Wire) -> None:
    """10349 in both libraries: "cancelled" orders that were filled."""
    wire.error(201)
    wire.book.begin_question()
    wire.echo("Submitted")
    (found,) = wire.book.end_question(wire.now)
    assert found.state is IntentState.WORKING
    assert wire.states == [IntentState.REJECTED, IntentState.WORKING]


def test_an_error_on_a_number_that_no_order_of_ours_has_says_nothing(wire: Wire) -> None:
    assert wire.book.error(99, 201, "no", wire.now) == []


# --- changes --------------------------------------------------------------------------------------------------------


def stop(**changes: Any) -> dict[str, Any]:
    return {"orderType": "STP", "action": "SELL", "auxPrice": 98.0, **changes}


@pytest.fixture
def resting() -> Wire:
    wire = Wire(side=Side.SELL, order_type=OrderType.STOP, stop_price=Decimal(98))
    wire.echo("PreSubmitted", **stop())
    return wire


def test_new_terms_are_told_as_they_were_asked_for_though_they_were_rounded(resting: Wire) -> None:
    asked, rounded = (OrderTerms(Decimal(10), stop_price=Decimal(text)) for text in ("98.5049", "98.51"))
    entry = resting.book.find(REF)
    assert entry is not None
    resting.book.changing(entry, asked, rounded)
    resting.echo("PreSubmitted", **stop(auxPrice=98.51))
    assert [update.terms for update in resting.updates] == [resting.intent.terms, asked]
    assert not entry.changing


def test_a_refused_change_names_the_terms_that_stay_and_is_made_sure_of(resting: Wire) -> None:
    entry = resting.book.find(REF)
    assert entry is not None
    terms = OrderTerms(Decimal(10), stop_price=Decimal(99))
    resting.book.changing(entry, terms, terms)
    (update,) = resting.error(201, "Order rejected - reason: no")
    assert isinstance(update, OrderUpdate)
    assert (update.state, update.terms) == (IntentState.WORKING, resting.intent.terms)
    assert "no" in update.detail
    assert resting.book.lookups == {REF}


@pytest.mark.parametrize("heard", ["a status", "the completed orders"])
def test_a_change_that_was_filled_before_its_echo_was_heard_is_filled_whole(resting: Wire, heard: str) -> None:
    """Else the rest is waited for as long as anybody lives, and the lot that it would leave has no exit."""
    smaller = OrderTerms(Decimal(7), stop_price=Decimal(99))
    entry = resting.book.find(REF)
    assert entry is not None
    resting.book.changing(entry, smaller, smaller)
    resting.book.begin_connection()
    resting.fill(shares=7.0, side="SLD")
    resting.cost()
    if heard == "a status":
        resting.status("Filled", 7.0, 100.0)
    else:
        done = order(REF, **stop(orderId=0, clientId=0, totalQuantity=0.0, filledQuantity=7.0, auxPrice=99.0))
        resting.events += resting.book.completed(contract(), done, state("Filled", "Filled Size: 7"), resting.now)
    last = resting.updates[-1]
    assert (last.state, last.filled_quantity) == (IntentState.FILLED, 7)
    assert last.terms is not None
    assert last.terms.quantity == 7
    assert not resting.book.lookups


# --- answers --------------------------------------------------------------------------------------------------------


def test_an_answer_names_what_is_open_and_what_is_over_and_nothing_that_was_only_sent(wire: Wire) -> None:
    wire.book.begin_question()
    assert wire.book.end_question(wire.now) == ()
    wire.echo()
    wire.book.begin_question()
    assert wire.book.end_question(wire.now) == (), "the gateway did not name it this time"
    wire.book.begin_question()
    wire.echo()
    (found,) = wire.book.end_question(wire.now)
    assert found == wire.updates[-1]


def test_a_completed_order_is_told_with_what_was_filled() -> None:
    wire = Wire(sent=False)
    wire.book.begin_question()
    done = order(REF, orderId=0, clientId=0, totalQuantity=0.0, filledQuantity=10.0)
    wire.events += wire.book.completed(contract(), done, state("Filled", "Filled Size: 10"), wire.now)
    (found,) = wire.book.end_question(wire.now)
    assert (found.state, found.filled_quantity, found.terms) == (IntentState.FILLED, 10, OrderTerms(Decimal(10)))
    wire.fill()
    wire.cost()
    assert wire.updates[-1].average_price == 100


@pytest.mark.parametrize(("filled", "state_there"), [(0.0, IntentState.REJECTED), (4.0, IntentState.CANCELLED)])
def test_an_inactive_order_among_the_completed_is_over(filled: float, state_there: IntentState) -> None:
    wire = Wire(sent=False)
    wire.book.begin_question()
    wire.book.completed(contract(), order(REF, filledQuantity=filled), state("Inactive"), wire.now)
    (found,) = wire.book.end_question(wire.now)
    assert found.state is state_there


def test_what_is_over_is_forgotten_after_a_day_and_a_half(wire: Wire) -> None:
    wire.echo()
    wire.fill()
    wire.cost()
    wire.status("Filled", 10.0, 100.0)
    wire.now += KEPT_SECONDS + 1
    wire.book.begin_question()
    assert wire.book.end_question(wire.now) == ()
    assert wire.book.fills() == ()
    assert not wire.book.knows(REF)

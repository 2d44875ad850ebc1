"""The invariants of the venue must catch these bugs; one that survives means that the suite has gone blind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from fakes.random_trading import TradedAtRandom
from openbell.brokers.simulated.ledger import Ledger
from openbell.brokers.simulated.venue import Happened, OrderRequest, Venue, VenueOrder
from openbell.domain.bars import Quote
from openbell.domain.orders import IntentState

Plant = Callable[[pytest.MonkeyPatch], None]


def fill_at_the_price_that_was_there_before(patch: pytest.MonkeyPatch) -> None:
    match = Venue._match
    patch.setattr(
        Venue,
        "_match",
        lambda self, order, quote: match(self, replace(order, live_from=quote.time - timedelta(seconds=1)), quote),
    )


def fill_at_the_wrong_side_of_the_spread(patch: pytest.MonkeyPatch) -> None:
    price = Venue._fill_price

    def better(self: Venue, order: VenueOrder, quote: Quote) -> Decimal | None:
        turned = replace(order.request, side=order.request.side.opposite)
        return price(self, replace(order, request=turned), quote)

    patch.setattr(Venue, "_fill_price", better)


def forget_the_commission(patch: pytest.MonkeyPatch) -> None:
    book = Ledger.book
    patch.setattr(Ledger, "book", lambda self, symbol, held, at, commission: book(self, symbol, held, at, Decimal(0)))


def book_a_fill_twice(patch: pytest.MonkeyPatch) -> None:
    book = Ledger.book

    def twice(self: Ledger, symbol: str, held: Decimal, at: Decimal, commission: Decimal) -> None:
        book(self, symbol, held, at, commission)
        book(self, symbol, held, at, Decimal(0))

    patch.setattr(Ledger, "book", twice)


def keep_matching_what_was_cancelled(patch: pytest.MonkeyPatch) -> None:
    place = Venue._place

    def keep(self: Venue, order: VenueOrder) -> None:
        place(self, order)
        if order.state is IntentState.CANCELLED:
            self._working.setdefault(order.request.symbol, {})[order.order_id] = replace(
                order, state=IntentState.WORKING
            )

    patch.setattr(Venue, "_place", keep)


def forget_positions_in_a_split(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "split", lambda self, symbol, ratio: False)


def give_every_execution_of_an_order_one_name(patch: pytest.MonkeyPatch) -> None:
    fill = Venue._fill

    def same(self: Venue, order: VenueOrder, at: Decimal, moment: object) -> VenueOrder:
        done = fill(self, order, at, moment)  # type: ignore[arg-type]
        account, last = self._changes.fills[-1]
        self._changes.fills[-1] = (account, replace(last, execution_id=order.order_id))
        return done

    patch.setattr(Venue, "_fill", same)


def pay_more_than_the_limit(patch: pytest.MonkeyPatch) -> None:
    match = Venue._match

    def loose(self: Venue, order: VenueOrder, quote: Quote) -> Iterator[Happened]:
        limit = order.request.limit_price
        if limit is None:
            return match(self, order, quote)
        looser = limit * (1 + order.request.side.sign * Decimal("0.02"))
        return match(self, replace(order, request=replace(order.request, limit_price=looser)), quote)

    patch.setattr(Venue, "_match", loose)


def leave_a_group_alone_when_a_part_is_filled(patch: pytest.MonkeyPatch) -> None:
    end = Venue._end_group

    def only_when_done(self: Venue, order: VenueOrder, why: str) -> tuple[Happened, ...]:
        return end(self, order, why) if order.state is not IntentState.WORKING else ()

    patch.setattr(Venue, "_end_group", only_when_done)


def let_orders_into_a_group_that_has_had_its_fill(patch: pytest.MonkeyPatch) -> None:
    objection = Venue._objection

    def tolerant(self: Venue, account: str, request: OrderRequest) -> str:
        return objection(self, account, replace(request, oca_group=""))

    patch.setattr(Venue, "_objection", tolerant)


@pytest.mark.parametrize(
    "plant",
    [
        fill_at_the_price_that_was_there_before,
        fill_at_the_wrong_side_of_the_spread,
        forget_the_commission,
        book_a_fill_twice,
        keep_matching_what_was_cancelled,
        forget_positions_in_a_split,
        give_every_execution_of_an_order_one_name,
        pay_more_than_the_limit,
        leave_a_group_alone_when_a_part_is_filled,
        let_orders_into_a_group_that_has_had_its_fill,
    ],
)
def test_the_venue_suite_catches(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    quick = settings(
        max_examples=300,
        stateful_step_count=50,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    with pytest.raises((AssertionError, KeyError)):
        run_state_machine_as_test(TradedAtRandom, settings=quick)

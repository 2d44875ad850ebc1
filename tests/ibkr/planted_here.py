"""Bugs that are planted in a runner at a gateway, each with a scenario in which the invariants must find it.

Those of the desk and the comparison are the ones that the chaos tests at the venue have.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import planted
from scenarios import Json, Life, Scenario

from openbell.brokers.ibkr.adapter import IBKRBroker
from openbell.brokers.ibkr.book import Book, Entry
from openbell.brokers.ibkr.orderids import LARGEST, OrderIds
from openbell.domain.answers import Answer, ConfirmedEmpty
from openbell.domain.orders import Fill
from openbell.journal import GatewayClient, Journal


@dataclass(frozen=True, slots=True)
class Bug:
    """How it is planted, and the scenario."""

    plant: Callable[[], None]
    lives: tuple[Life, ...]
    broker_side: bool = True

    @property
    def name(self) -> str:
        """What the launcher calls it by."""
        return f"{self.plant.__module__}:{self.plant.__name__}"

    @property
    def scenario(self) -> Scenario:
        gateway: Json = {"seed": 11, "startingCash": "100000", "volatility": 20, "pacing": False}
        return Scenario(0, gateway, self.broker_side, False, self.lives)


def trust_the_order_id_alone() -> None:
    """An order id names an order for good, and the gateway knows which is the next."""

    def known(self: Book, client_id: int, order_id: int, perm_id: int) -> Entry | None:
        return self._by_id.get((client_id, order_id)) if order_id > 0 else None

    Book._known = known  # type: ignore[method-assign]
    OrderIds.seen = lambda self, order_id: self  # type: ignore[method-assign]
    OrderIds.connected = lambda self, next_valid: replace(self, next_valid=next_valid, high_water=0)  # type: ignore[method-assign]


def ignore_kept_order_ids() -> None:
    """Which ids earlier processes have used is neither written down nor read."""
    OrderIds.kept = classmethod(lambda cls, order_id: cls(written=LARGEST))  # type: ignore[method-assign,assignment]


def take_a_client_id_of_chance() -> None:
    """Each process is another client, and may not change what the one before has left at the gateway."""

    adopt = Journal.adopt_gateway_client

    async def another(self: Journal, client_id: int) -> GatewayClient:
        return replace(await adopt(self, client_id), client_id=random.SystemRandom().randint(1, 2**31 - 1))

    Journal.adopt_gateway_client = another  # type: ignore[method-assign]


def forget_commissions() -> None:
    """What an execution costs is taken for nothing."""
    commission = Book.commission

    def costs_nothing(self: Book, report: Any, now: float) -> Any:
        report.commission = 0.0
        return commission(self, report, now)

    Book.commission = costs_nothing  # type: ignore[method-assign]


def forget_what_was_executed_meanwhile() -> None:
    """Only fills that are told as they are made are known."""

    async def ask_executions(self: IBKRBroker) -> Answer[tuple[Fill, ...]]:
        return ConfirmedEmpty()

    IBKRBroker._ask_executions = ask_executions  # type: ignore[method-assign]


def trades(seconds: float = 3.0, *faults: Json, kill_point: str = "", away: tuple[Json, ...] = ()) -> Life:
    return Life(faults, kill_point, seconds, False, away)


ROLLED_BACK: tuple[Json, ...] = ({"do": "rollBackIds", "steps": 10},)
BUGS: dict[str, Bug] = {
    "send-again-on-timeout": Bug(
        planted.send_again_on_timeout, (trades(6.0, {"kind": "DropAcknowledgement"}),), broker_side=False
    ),
    "skip-the-comparison": Bug(planted.skip_the_comparison, (trades(), trades())),
    "send-intended-again-on-restart": Bug(
        planted.send_intended_again_on_restart, (trades(8.0, kill_point="desk.handed-over:1"), trades())
    ),
    "trust-the-order-id-alone": Bug(
        trust_the_order_id_alone, (trades(4.0, away=ROLLED_BACK), trades(4.0, away=ROLLED_BACK))
    ),
    "ignore-kept-order-ids": Bug(ignore_kept_order_ids, (trades(4.0),)),
    "take-a-client-id-of-chance": Bug(take_a_client_id_of_chance, (trades(4.0), trades(4.0))),
    "forget-commissions": Bug(forget_commissions, (trades(4.0),)),
    "forget-what-was-executed-meanwhile": Bug(
        forget_what_was_executed_meanwhile, (trades(6.0, {"kind": "FillWhileAway", "nth": 1}),)
    ),
}

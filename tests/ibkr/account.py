"""One account through a scenario: the lives of its runner, and what must be true on both sides meanwhile and after."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateways import Gateway
from lives import FoundError, Launcher, Lives
from scenarios import SYMBOLS, Scenario

HURRY = "hurry:hurry"
FIRST_ORDER_SECONDS = 8.0  # that a life has until its first order; a life without any is one, too
PROFITS = Decimal("0.01")  # that a round trip's profit, in cents, may be off by
WITHOUT_COMMISSION = "fill.without-commission"
NUMBER_REFUSED = ("Duplicate order id", "does not match original order")


class AccountLives(Lives):
    """Beside what holds for every broker: order ids, and entries only while both sides agree."""

    broker: Gateway

    def __init__(
        self, folder: Path, gateway: Gateway, launcher: Launcher, found: Scenario, planted: Sequence[str] = ()
    ) -> None:
        changed = [*([] if found.is_patient else [HURRY]), *planted]
        super().__init__(folder, gateway, launcher, changed, found.broker_side, 5 if found.is_patient else 1)
        self.uncharged: set[str] = set()
        self._read = 0

    def check(self) -> None:
        super().check()
        self._check_ids()
        self._check_log()

    def client(self) -> tuple[int, int] | None:
        """Client id, and the highest order id that may be used up, as the journal keeps them."""
        rows = self._rows("SELECT client_id, order_id FROM gateway_client")
        return (int(rows[0][0]), int(rows[0][1])) if rows else None

    def _check_ids(self) -> None:
        clients = {client for client, _ in self.broker.ids}
        kept = self.client()
        if clients and (kept is None or clients != {kept[0]}):
            raise FoundError(f"orders came from the client ids {clients}; the journal keeps {kept}")
        highest = max((number for _, number in self.broker.ids), default=0)
        if kept is not None and highest > kept[1]:
            raise FoundError(f"the order id {highest} is used, and {kept[1]} is the last that is written down")
        for ref, detail in self._rows("SELECT order_ref, detail FROM intents"):
            if any(words in detail for words in NUMBER_REFUSED):
                raise FoundError(f"{ref} went out under a number that was taken: {detail}")

    def _check_log(self) -> None:
        """What the life that is over has said, in its order."""
        text = (self.folder / "runner.log").read_text(encoding="utf-8")
        said, self._read = text[self._read :], len(text)
        in_sync = False
        for line in said.splitlines():
            event = _event(line)
            match event.get("event"):
                case "broker.in-sync":
                    in_sync = True
                case "broker.not-in-sync" | "broker.disconnected" | "broker.connected":
                    in_sync = False
                case "order.sent" if event["kind"] == "Entry" and not in_sync:
                    raise FoundError(f"the entry {event['order']} was sent while the two sides did not agree")
                case "fill.without-commission":
                    self.uncharged.add(event["execution"])

    def check_end(self) -> None:
        """Everything has been left, the runner has ended in order, and both sides say the same."""
        made = {execution.execution_id: execution for execution in self.broker.executions()}
        booked = {fill.execution_id: fill for fill in self.fills()}
        if booked.keys() != made.keys():
            raise FoundError(f"fills booked and fills made differ: {sorted(booked.keys() ^ made.keys())}")
        if held := self.broker.positions():
            raise FoundError(f"the account still holds {held}, though every position of ours is closed")
        if resting := self.broker.open_orders():
            raise FoundError(f"orders still work at the gateway, though every intent is over: {resting}")
        unbooked = Decimal(0)
        for identity, execution in made.items():
            less = execution.commission - booked[identity].commission
            if abs(less) > Decimal("0.000001") and identity not in self.uncharged:
                raise FoundError(f"{identity} cost {execution.commission}; {booked[identity].commission} is booked")
            unbooked += less
        profits = [Decimal(row[0]) for row in self._rows("SELECT pnl FROM trades")]
        earned, told = self.broker.cash() - self.broker.starting_cash, sum(profits, Decimal(0)) - unbooked
        if abs(earned - told) > PROFITS * (len(profits) + 1):
            raise FoundError(f"the gateway says that {earned} was earned, the round trips say {told}")


def _event(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def live_through(lives: AccountLives, found: Scenario) -> dict[str, int]:
    """All lives of a scenario, then a last one in which nothing goes wrong; what came of it, in numbers."""
    gateway = lives.broker
    reached = 0
    for life in found.lives:
        for fault in life.faults:
            gateway.control("fault", **fault)
        before = len(gateway.arrivals())
        within = 0.0 if life.is_short else FIRST_ORDER_SECONDS
        reached += lives.killed_after(
            life.seconds, life.kill_point, lambda before=before: len(gateway.arrivals()) > before, within
        )
        _away(lives, life.away)
    # So that nothing is left of what went wrong, and the last life's own word on everything is the gateway's.
    gateway.control("clearFaults")
    gateway.control("restoreConnectivity")
    for symbol in SYMBOLS:
        gateway.control("release", symbol=symbol)
    lives.drain()
    return {
        "orders": len(gateway.arrivals()),
        "fills": len(gateway.executions()),
        "trades": lives.trades(),
        "points": reached,
        "struck": len(gateway.control("struck")),
        "uncharged": len(lives.uncharged),
    }


def _away(lives: AccountLives, deeds: Sequence[dict[str, Any]]) -> None:
    gateway, kept = lives.broker, lives.client()
    for deed in deeds:
        match deed["do"]:
            case "rollBackIds" if kept is not None:
                gateway.control("rollBackIds", clientId=kept[0], steps=deed["steps"])
            case "restart":
                gateway.control("restart")
            case "jump":
                price = next((e.price for e in reversed(gateway.executions()) if e.symbol == deed["symbol"]), None)
                if price is not None:
                    gateway.control("move", symbol=deed["symbol"], price=str(round(price * Decimal(1 + deed["by"]), 2)))
    if deeds:
        time.sleep(0.1)  # the gateway matches

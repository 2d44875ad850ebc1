"""Drives the official client by commands of a test. Its callbacks are overridden, as its users do."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
import time
from typing import Any

from common import heard, plain, say
from ibapi import order_condition
from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.tag_value import TagValue
from ibapi.wrapper import EWrapper


class Client(EWrapper, EClient):
    def __init__(self, life: int) -> None:
        EClient.__init__(self, self)
        self.life = life
        self.next_id = 0
        self.accounts = ""
        self.ready = threading.Event()

    def nextValidId(self, orderId: int) -> None:  # noqa: N802, N803
        self.next_id = max(self.next_id, orderId)
        self._seen()

    def managedAccounts(self, accountsList: str) -> None:  # noqa: N802, N803
        self.accounts = accountsList
        self._seen()

    def _seen(self) -> None:
        if self.next_id and self.accounts:
            self.ready.set()


def _noting(name: str, original: Any) -> Any:
    def noted(self: Client, *args: Any) -> Any:
        say(event=name, args=plain(list(args)), life=self.life)
        return original(self, *args)

    return noted


for name, method in inspect.getmembers(EWrapper, inspect.isfunction):
    if not name.startswith("_") and name != "logAnswer":
        setattr(Client, name, _noting(name, Client.__dict__.get(name, method)))


def filled(cls: Any, values: dict[str, Any]) -> Any:
    made = cls()
    for name, value in values.items():
        setattr(made, name, value)
    return made


CONDITIONS = {"PriceCondition": 1, "TimeCondition": 3, "VolumeCondition": 6}
OTHER_NAMES = {"exch": "exchange", "conjunction": "isConjunctionConnection"}


class Driver:
    def __init__(self) -> None:
        self.client = Client(0)
        self.orders: dict[int, tuple[Contract, Order]] = {}

    def fresh(self, life: int) -> Any:
        """Begin anew, as a program that has just been started; what is told carries the number of this life."""
        self.client.disconnect()
        self.client = Client(life)
        self.orders = {}

    def argument(self, value: Any) -> Any:
        if isinstance(value, dict) and "contract" in value:
            return filled(Contract, value["contract"])
        if isinstance(value, dict) and "order" in value:
            return self.order(value["order"])
        if isinstance(value, dict) and "filter" in value:
            return filled(ExecutionFilter, value["filter"])
        return value

    def order(self, values: dict[str, Any]) -> Order:
        values = dict(values)
        tags, conditions = values.pop("algoParams", None), values.pop("conditions", None)
        made: Order = filled(Order, values)
        if tags:
            made.algoParams = [TagValue(*pair) for pair in tags]
        if conditions:
            made.conditions = [self._condition(kind, fields) for kind, fields in conditions]
        return made

    def _condition(self, kind: str, values: dict[str, Any]) -> Any:
        made = order_condition.Create(CONDITIONS[kind])
        for name, value in values.items():
            own = OTHER_NAMES.get(name, name)
            setattr(made, own, value == "a" if name == "conjunction" else value)
        return made

    def connect(self, port: int, client_id: int, raw: bool = False, patience: float = 10) -> Any:
        self.client.connect("127.0.0.1", port, client_id)
        if not self.client.isConnected():
            raise ConnectionError("not connected")
        threading.Thread(target=self.client.run, daemon=True).start()
        if not self.client.ready.wait(patience):
            raise TimeoutError("no accounts or no order id")
        return {
            "accounts": self.client.accounts.split(","),
            "version": self.client.serverVersion(),
            "next": self.client.next_id,
        }

    def place(self, contract: dict[str, Any], order: dict[str, Any]) -> Any:
        made = self.order(order)
        if not made.orderId:
            made.orderId = self.client.next_id
        self.client.next_id = max(self.client.next_id, made.orderId + 1)
        self.orders[made.orderId] = filled(Contract, contract), made
        self.client.placeOrder(made.orderId, *self.orders[made.orderId])
        return made.orderId

    def modify(self, order_id: int, changes: dict[str, Any]) -> Any:
        contract, order = self.orders[order_id]
        for name, value in changes.items():
            setattr(order, name, value)
        self.client.placeOrder(order_id, contract, order)
        return order_id

    def cancel(self, order_id: int) -> Any:
        self.client.cancelOrder(order_id)
        return order_id

    def request(self, name: str, args: list[Any]) -> Any:
        return plain(getattr(self.client, name)(*map(self.argument, args)))

    def disconnect(self) -> Any:
        self.client.disconnect()


def main() -> None:
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    driver = Driver()
    say(ready=True)
    for line in sys.stdin:
        command = heard(line)
        number, name = command.pop("id"), command.pop("do")
        try:
            say(id=number, result=getattr(driver, name)(**command))
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the test's to judge
            say(id=number, failure=f"{type(error).__name__}: {error}")
    driver.client.disconnect()
    time.sleep(0.1)


main()

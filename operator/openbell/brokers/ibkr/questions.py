"""What is asked of the gateway beside orders and executions: the account, its positions, and what symbols are."""

from __future__ import annotations

import asyncio

import structlog

from openbell.brokers.ibkr.account import TAGS, account_of
from openbell.brokers.ibkr.connection import Connection
from openbell.brokers.ibkr.contracts import Contracts, Qualified, qualify
from openbell.brokers.ibkr.mapping import contract_fields, price, quantity, symbol_of
from openbell.domain.account import Account
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.clock import Clock
from openbell.domain.positions import BrokerPosition

log = structlog.get_logger("openbell.ibkr")


async def positions(connection: Connection, account: str) -> Answer[tuple[BrokerPosition, ...]]:
    """The positions of the account."""
    session = connection.asked()
    if isinstance(session, Unknown):
        return session
    answer = await session.positions(connection.pace)
    if not isinstance(answer, Value):
        return answer
    newest = {(row.account, row.contract.conId): row for row in answer.value}
    found = tuple(
        BrokerPosition(symbol_of(row.contract), quantity(row.quantity), price(row.average_cost))
        for row in newest.values()
        if row.account == account and quantity(row.quantity)
    )
    return Value(found) if found else ConfirmedEmpty()


async def account_values(connection: Connection, account: str) -> Answer[Account]:
    """What the account is worth."""
    session = connection.asked()
    if isinstance(session, Unknown):
        return session
    answer = await session.account_summary(",".join(TAGS), connection.pace)
    if isinstance(answer, Unknown):
        return answer
    return account_of(account, answer.value if isinstance(answer, Value) else ())


class Symbols:
    """What the broker calls the symbols that orders and market data have named."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self.contracts = Contracts()
        self._connection = connection
        self._clock = clock

    async def qualify(self, symbol: str) -> Answer[Qualified]:
        """What the broker calls a symbol; asked once."""
        known = self.contracts.known.get(symbol)
        if known is not None:
            return Value(known)
        session, library = self._connection.session, self._connection.library
        if session is None or library is None:
            return Unknown(self._connection.link.why)
        contract = library.contract(**contract_fields(symbol))
        answer = await session.contract_details(symbol, contract, self._connection.pace)
        if not isinstance(answer, Unknown):
            found = qualify(symbol, answer.value if isinstance(answer, Value) else ())
        else:
            found = answer
        self.contracts.put(symbol, found)
        if not isinstance(found, Value):
            log.warning("contract.not-qualified", symbol=symbol, why=self.contracts.why_not(symbol))
        return found

    def ask(self) -> None:
        """Ask what the symbols are that were named and are not known, where that can be asked now."""
        if not self._connection.carries_data or self._connection.is_running("qualify"):
            return
        due = self.contracts.due(self._clock.monotonic())
        if due:
            self._connection.start("qualify", self._qualify(due))

    async def _qualify(self, symbols: list[str]) -> None:
        await asyncio.gather(*(self.qualify(symbol) for symbol in symbols))

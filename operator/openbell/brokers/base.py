"""What every broker adapter offers. Answers are three-valued; sending is one synchronous step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from openbell.domain.account import Account
from openbell.domain.answers import Answer
from openbell.domain.errors import BrokerError
from openbell.domain.orders import Fill, Intent, OrderTerms, OrderUpdate
from openbell.domain.positions import BrokerPosition

REMEMBERED = timedelta(days=7)
"""How far back every simulated broker can be counted on to answer, at the least."""


class NotSentError(BrokerError):
    """Raised by `send`, `modify` and `cancel` when, for certain, nothing was handed over. Anything else is in doubt."""


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The connection came up or went down. After it came up, everything must be compared again."""

    connected: bool
    why: str


BrokerEvent: TypeAlias = OrderUpdate | Fill | ConnectionChanged


class Broker(Protocol):
    """One account at one broker.

    `on_lost` is called the moment a connection is lost, while its ConnectionChanged may wait behind other events: a new
    one may be up before that is heard.
    """

    on_lost: Callable[[], object]

    @property
    def is_connected(self) -> bool:
        """Whether orders could be sent now."""
        ...

    async def run(self) -> None:
        """Connect, and stay connected with bounded backoff, until cancelled. Never raises for a lost connection."""
        ...

    def remembers_since(self, now: datetime) -> datetime:
        """From when on orders and executions are all in the answers; what is older may have been forgotten."""
        ...

    async def account(self) -> Answer[Account]: ...

    async def positions(self) -> Answer[tuple[BrokerPosition, ...]]:
        """Every position of the account, ours or not."""
        ...

    async def orders(self) -> Answer[tuple[OrderUpdate, ...]]:
        """Every order that the broker still remembers, open and completed, of any owner."""
        ...

    async def fills(self, since: datetime) -> Answer[tuple[Fill, ...]]:
        """Executions from `since` on, oldest first, of any owner."""
        ...

    def send(self, intent: Intent) -> None:
        """Hand the order's bytes over, without awaiting anything. Raises NotSentError where it certainly did not.

        Orders with one `oca_group` exclude each other: once one of them has a fill, also of a part, the broker cancels
        the others and takes no further one into the group.
        """
        ...

    def modify(self, order_ref: str, terms: OrderTerms) -> None:
        """Ask for new terms of an order that works. Raises NotSentError where it certainly did not ask.

        Three things can come of it. A later OrderUpdate names these terms: it was done. One says that the order is
        over: it came too late. Anything else leaves it open, an update that names other terms included, for that may
        be older than the question. The same terms may be asked for again.
        """
        ...

    def cancel(self, order_ref: str) -> None:
        """Ask for a cancel; only a later OrderUpdate says whether it came before the fill."""
        ...

    def events(self) -> AsyncIterator[BrokerEvent]:
        """What happens, in the broker's order, until the iterator is closed. One consumer."""
        ...

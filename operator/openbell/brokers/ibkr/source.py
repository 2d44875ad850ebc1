"""A connection for market data alone, beside a broker that is none of Interactive Brokers': it places no order ever.

Nothing of orders or accounts is asked for, so a gateway whose API is read only is as good as any.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import structlog

from openbell.brokers.ibkr.connection import Connection, Settings
from openbell.brokers.ibkr.library import Library, load
from openbell.brokers.ibkr.market import IBKRMarket
from openbell.brokers.ibkr.questions import Symbols
from openbell.brokers.ibkr.session import Session
from openbell.brokers.ibkr.shapes import CommissionShape, ContractShape, ExecutionShape, OrderShape, OrderStateShape
from openbell.brokers.ibkr.supervision import Link
from openbell.domain.answers import Unknown
from openbell.domain.clock import Clock
from openbell.market.calendar import SessionCalendar

log = structlog.get_logger("openbell.ibkr.market")


class IBKRSource:
    """A gateway that is only asked. Its client id is its own: no broker's, and no other source's."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        rng: random.Random | None = None,
        load_library: Callable[[str], Library] = load,
    ) -> None:
        self._clock = clock
        self._connection = Connection(settings, clock, self, rng or random.Random(), load_library)
        self._symbols = Symbols(self._connection, clock)

    @property
    def link(self) -> Link:
        """The connection's state, with its reason for a condition."""
        return self._connection.link

    def market_data(
        self, calendar: SessionCalendar, *, hours_only: bool = True, allow_delayed: bool = False
    ) -> IBKRMarket:
        """The market data; `market` says what the arguments mean. Simulated fills are always Paper."""
        return IBKRMarket(
            self._connection,
            self._symbols.contracts,
            self._clock,
            calendar,
            hours_only=hours_only,
            allow_delayed=allow_delayed,
        )

    async def run(self) -> None:
        """Connect, and stay connected, until cancelled. Never raises for a lost connection."""
        await self._connection.run()

    # --- whose connection it is --------------------------------------------------------------------------------------

    def on_dial(self) -> None: ...

    def refusal(self, managed: Sequence[str], session: Session) -> str:
        return ""

    async def synchronise(self) -> Unknown | None:
        return None

    def on_up(self) -> None:
        log.info("market-data.connected", gateway=self._connection.address)

    def on_down(self, why: str) -> None:
        log.warning("market-data.disconnected", why=why)

    def on_missed(self) -> None: ...

    def on_error(self, number: int, code: int, text: str) -> None: ...

    def on_turn(self) -> float:
        self._symbols.ask()
        return math.inf

    def on_open_order(
        self, number: int, contract: ContractShape, order: OrderShape, state: OrderStateShape
    ) -> None: ...

    def on_status(
        self, number: int, status: str, filled: float, average_price: float, perm_id: int, client_id: int
    ) -> None: ...

    def on_completed(self, contract: ContractShape, order: OrderShape, state: OrderStateShape) -> None: ...

    def on_execution(self, contract: ContractShape, execution: ExecutionShape) -> None: ...

    def on_commission(self, report: CommissionShape) -> None: ...

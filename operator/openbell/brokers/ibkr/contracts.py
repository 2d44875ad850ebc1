"""What the broker calls a symbol, and to which prices and quantities its orders have to be rounded. Pure.

The smallest tick of a contract is asked once and kept. Rounding never makes a limit order worse for us: a buy's limit
goes down, a sell's up. A stop is rounded towards the market, so that it never gives away more than was decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from openbell.brokers.ibkr.mapping import CURRENCY, number, symbol_of
from openbell.brokers.ibkr.shapes import ContractDetailsShape
from openbell.domain.answers import Answer, ConfirmedEmpty, Unknown, Value
from openbell.domain.orders import OrderTerms, Side

PENNY = Decimal("0.01")
SUB_PENNY = Decimal("0.0001")
ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Qualified:
    """A contract that the broker has named. `tick` is its smallest; a share of a dollar or more has a penny."""

    symbol: str
    con_id: int
    primary_exchange: str
    tick: Decimal
    lot: Decimal = ONE

    def tick_at(self, price: Decimal) -> Decimal:
        """The tick at a price. A US share of one dollar or more may not be quoted in parts of a penny (Rule 612)."""
        return max(self.tick, PENNY) if price >= 1 else self.tick


UNQUALIFIED = Qualified("", 0, "", SUB_PENNY)
"""What is assumed of a share before the broker has been asked."""


def round_price(price: Decimal, tick: Decimal, *, up: bool) -> Decimal:
    """The price on the next tick in one direction."""
    steps = (price / tick).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR)
    return (steps * tick).quantize(tick) if steps else tick


def round_terms(terms: OrderTerms, side: Side, contract: Qualified) -> OrderTerms:
    """The terms on the contract's ticks and lots. What is left of a quantity may be nothing."""
    is_sell = side is Side.SELL
    limit, stop = terms.limit_price, terms.stop_price
    return OrderTerms(
        round_quantity(terms.quantity, contract.lot),
        None if limit is None else round_price(limit, contract.tick_at(limit), up=is_sell),
        None if stop is None else round_price(stop, contract.tick_at(stop), up=is_sell),
    )


def round_quantity(quantity: Decimal, lot: Decimal) -> Decimal:
    """Whole lots, rounded down: up would be more than was decided."""
    lots = (quantity / lot).to_integral_value(ROUND_DOWN)
    return lots * lot


def qualify(symbol: str, found: Iterable[ContractDetailsShape]) -> Answer[Qualified]:
    """The one contract among the answers that is this share in dollars.

    SMART may be answered once for each of a share's listings; those with one id are one. Several ids are none: an
    order must not go to a share that merely has the same name.
    """
    by_id = {details.contract.conId: details for details in found if symbol_of(details.contract, CURRENCY) == symbol}
    if not by_id:
        return ConfirmedEmpty()
    if len(by_id) > 1:
        names = ", ".join(str(con_id) for con_id in sorted(by_id))
        return Unknown(f"{symbol} is the name of several contracts ({names})")
    ((con_id, details),) = by_id.items()
    tick = number(details.minTick)
    increment = number(details.sizeIncrement)
    return Value(
        Qualified(
            symbol,
            con_id,
            details.contract.primaryExchange,
            tick.normalize() if tick is not None and tick > 0 else PENNY,
            # A fraction may be allowed, and is refused through the API all the same (10243): whole shares.
            max(ONE, increment) if increment is not None and increment > 0 else ONE,
        )
    )


ASK_SECONDS = 15.0
"""Between two questions what a symbol is, as long as the answer helps nobody."""


@dataclass(slots=True)
class Contracts:
    """Those that were asked for, and those that are to be. Times are monotonic seconds."""

    known: dict[str, Qualified] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    _why: dict[str, str] = field(default_factory=dict)
    _asked_at: dict[str, float] = field(default_factory=dict)

    def get(self, symbol: str) -> Qualified:
        """The contract, or what is assumed of it until it is asked for, which it is from now on."""
        found = self.known.get(symbol)
        if found is None:
            self.wanted.add(symbol)
            return UNQUALIFIED
        return found

    def due(self, now: float) -> list[str]:
        """The symbols to ask for now; they count as asked."""
        found = sorted(each for each in self.wanted if now >= self._asked_at.get(each, -ASK_SECONDS) + ASK_SECONDS)
        self._asked_at |= dict.fromkeys(found, now)
        return found

    def put(self, symbol: str, answer: Answer[Qualified]) -> None:
        """Keep an answer. That there is none is final until it is wanted again; Unknown is asked again."""
        self._why.pop(symbol, None)
        if isinstance(answer, Value):
            self.known[symbol] = answer.value
        else:
            none = f"the broker knows no share {symbol} in {CURRENCY}"
            self._why[symbol] = answer.why if isinstance(answer, Unknown) else none
        if not isinstance(answer, Unknown):
            self.wanted.discard(symbol)

    def why_not(self, symbol: str) -> str:
        """Why the last question found no contract; empty: none was answered yet, or it did."""
        return self._why.get(symbol, "")

"""Readings of the account, at every open and close as a replay makes them, also of sessions that are passed over.

Between two fills nothing but prices changes, so what those readings come to is worked out when it is asked for: the
highest equity from arrays, locks of protections and the account's own rules one reading after the other.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import numpy as np

from openbell.backtest.desk import ACCOUNT, Desk
from openbell.backtest.timeline import Timeline, Track
from openbell.domain.bars import Floats
from openbell.domain.money import cents, price
from openbell.risk.assembling import is_new_peak, review
from openbell.risk.protections import longest_lookback

ROUNDING = 0.02  # of an equity in floats, besides what rounding its prices makes
PRICE_ROUNDING = 1e-4


class Readings:
    """Follows a run: moment 2k is the open of session k, 2k + 1 its close.

    Whoever trades says when a reading is made (`read`), and asks for all before it (`catch_up`) while holdings are
    still what they were at the last one and every session between has a bar of all that is held.
    """

    def __init__(self, desk: Desk, timeline: Timeline) -> None:
        self._desk = desk
        self._timeline = timeline
        self._moment = 0  # the first that is not read
        self._prices: dict[str, Floats] = {}

    def read(self, moment: int) -> None:
        """The account has been valued at this moment."""
        self._moment = max(self._moment, moment + 1)
        self._desk.on_account(self._at(moment))

    def read_equity(self, moment: int) -> None:
        """No rule but the highest equity wants to know how things stand at this moment."""
        self._moment = max(self._moment, moment + 1)
        if self._desk.follows_peak:
            self._offer(self._desk.venue.equity(ACCOUNT))

    def catch_up(self, moment: int) -> None:
        """Make the readings before this moment, from the prices that were passed over."""
        begin, self._moment = self._moment, max(self._moment, moment)
        if begin >= moment:
            return
        desk = self._desk
        if desk.state.is_needed:
            for number in range(begin, min(begin + 2, moment)):  # every further one finds what the second has found
                desk.follow_account(self._at(number))
        if desk.protections:
            self._review(begin, moment)
        self._raise_peak(begin, moment)

    def _at(self, moment: int) -> datetime:
        session = self._timeline.sessions[moment // 2]
        return session.close if moment % 2 else session.open

    def _review(self, begin: int, end: int) -> None:
        desk = self._desk
        lookback = longest_lookback(desk.protections)
        for moment in range(begin, end):
            now = self._at(moment)
            if not desk.trades_since(now - lookback):
                desk.value(self._equity(end - 1))  # which the next trade is reviewed with
                return
            desk.value(self._equity(moment))
            review(desk, desk.protections, now)

    def _raise_peak(self, begin: int, end: int) -> None:
        desk = self._desk
        ledger = desk.ledger
        if not desk.follows_peak:
            return
        if not ledger.positions:
            self._offer(cents(ledger.cash))
            return
        total, tolerance = float(ledger.cash), ROUNDING
        line: Floats | float = total
        for symbol, (held, _) in ledger.positions.items():
            quantity = float(held)
            line = line + quantity * self._prices_of(symbol)[begin:end]
            tolerance += abs(quantity) * PRICE_ROUNDING
        highest = float(np.max(line))
        if desk.peak_equity is not None and highest + tolerance < float(desk.peak_equity):
            return
        for place in np.flatnonzero(line >= highest - 2 * tolerance).tolist():
            self._offer(self._equity(begin + place))

    def _offer(self, equity: Decimal) -> None:
        desk = self._desk
        if is_new_peak(desk, equity):
            desk.peak_equity = equity

    def _equity(self, moment: int) -> Decimal:
        """As the venue tells it."""
        ledger = self._desk.ledger
        value = ledger.cash
        for symbol, (quantity, _) in ledger.positions.items():
            value += quantity * price(float(self._prices_of(symbol)[moment]))
        return cents(value)

    def _prices_of(self, symbol: str) -> Floats:
        found = self._prices.get(symbol)
        if found is None:
            found = self._prices[symbol] = _moments(self._timeline.tracks[symbol])
        return found


def _moments(track: Track) -> Floats:
    """A symbol's last price at every open and close; without a bar both are those of the bar before."""
    columns = track.columns
    prices = np.empty(2 * len(columns.at))
    prices[1::2] = columns.close
    prices[0::2] = np.where(columns.has_bar, columns.open, columns.close)
    return prices

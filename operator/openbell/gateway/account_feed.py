"""What a client is told of accounts: values, positions, portfolio, summaries, profit and loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from openbell.domain.money import ZERO
from openbell.gateway.accounts import LEDGER, Account
from openbell.gateway.exchange import Exchange
from openbell.gateway.hours import NEW_YORK
from openbell.gateway.rules import VALIDATING
from openbell.gateway.wire import requests
from openbell.gateway.wire.replies import (
    AccountDownloadEnd,
    AccountSummary,
    AccountSummaryEnd,
    AccountTime,
    AccountUpdateMulti,
    AccountUpdateMultiEnd,
    AccountValue,
    ErrorMessage,
    Pnl,
    PnlSingle,
    PortfolioRow,
    PositionMulti,
    PositionMultiEnd,
    PositionRow,
    PositionsEnd,
    Reply,
)

EVERY = timedelta(minutes=3)  # that a real gateway tells values anew
PNL_EVERY = timedelta(seconds=1)
SUMMARIES = 2  # that a client may have at a time
BASE = "BASE"


@dataclass(slots=True)
class _Told:
    """A subscription: what was asked, and when it is due again."""

    request: Any
    due: datetime
    last: tuple[Decimal, ...] = ()


@dataclass(slots=True)
class AccountFeed:
    """One client's subscriptions to accounts."""

    exchange: Exchange
    _positions: bool = False
    _account: _Told | None = None
    _summaries: dict[int, _Told] = field(default_factory=dict)
    _updates: dict[int, _Told] = field(default_factory=dict)
    _multi: dict[int, requests.PositionsMultiWanted] = field(default_factory=dict)
    _pnl: dict[int, _Told] = field(default_factory=dict)

    serves: ClassVar[tuple[type, ...]] = (
        requests.PositionsWanted,
        requests.PositionsUnwanted,
        requests.AccountUpdatesWanted,
        requests.AccountSummaryWanted,
        requests.AccountSummaryUnwanted,
        requests.AccountUpdatesMultiWanted,
        requests.AccountUpdatesMultiUnwanted,
        requests.PositionsMultiWanted,
        requests.PositionsMultiUnwanted,
        requests.PnlWanted,
        requests.PnlUnwanted,
        requests.PnlSingleWanted,
        requests.PnlSingleUnwanted,
    )

    @property
    def subscriptions(self) -> int:
        """How many requests are being served on."""
        many = len(self._summaries) + len(self._updates) + len(self._multi) + len(self._pnl)
        return many + self._positions + (self._account is not None)

    def handle(self, request: Any) -> list[Reply]:
        """The first answer to a request about accounts."""
        match request:
            case requests.PositionsWanted():
                self._positions = True
                return [*self._position_rows(), PositionsEnd()]
            case requests.PositionsUnwanted():
                self._positions = False
            case requests.AccountUpdatesWanted(subscribe, code):
                return self._subscribe(code, request) if subscribe else self._unsubscribe()
            case requests.AccountSummaryWanted():
                return self._summary(request)
            case requests.AccountSummaryUnwanted(number):
                self._summaries.pop(number, None)
            case requests.AccountUpdatesMultiWanted(number):
                self._updates[number] = self._told(request, EVERY)
                return self._checked(request, [*self._update_rows(request), AccountUpdateMultiEnd(number)])
            case requests.AccountUpdatesMultiUnwanted(number):
                self._updates.pop(number, None)
            case requests.PositionsMultiWanted(number):
                self._multi[number] = request
                return self._checked(request, [*self._multi_rows(request), PositionMultiEnd(number)])
            case requests.PositionsMultiUnwanted(number):
                self._multi.pop(number, None)
            case requests.PnlWanted(number) | requests.PnlSingleWanted(number):
                self._pnl[number] = told = self._told(request, PNL_EVERY)
                return self._checked(request, self._profit(told))
            case requests.PnlUnwanted(number) | requests.PnlSingleUnwanted(number):
                self._pnl.pop(number, None)
        return []

    def changed(self, code: str, con_id: int) -> list[Reply]:
        """What is told at once after a fill."""
        account = self.exchange.accounts[code]
        replies: list[Reply] = []
        if self._positions:
            replies += self._position_rows(code, con_id)
        for request in self._multi.values():
            if request.account in {"", "All", code}:
                replies += self._multi_rows(request, con_id)
        if self._account is not None and self._account.request.account in {"", code}:
            replies += [row for row in self._portfolio(account) if row.contract.con_id == con_id]
            replies += self._values(account)
            replies.append(self._time())
        for told in self._updates.values():
            if told.request.account in {"", "All", code}:
                replies += self._update_rows(told.request)
        return replies

    def pulse(self) -> list[Reply]:
        """What has become due."""
        now = self.exchange.now()
        replies: list[Reply] = []
        if self._due(self._account, now, EVERY):
            account = self._of(self._account.request.account) if self._account else None
            replies += self._download(account) if account else []
        for told in self._summaries.values():
            if self._due(told, now, EVERY):
                replies += self._summary_rows(told.request)
        for told in self._updates.values():
            if self._due(told, now, EVERY):
                replies += self._update_rows(told.request)
        for told in self._pnl.values():
            if self._due(told, now, PNL_EVERY):
                replies += self._profit(told)
        return replies

    @staticmethod
    def _due(told: _Told | None, now: datetime, every: timedelta) -> bool:
        if told is None or now < told.due:
            return False
        told.due = now + every
        return True

    def _told(self, request: Any, every: timedelta) -> _Told:
        return _Told(request, self.exchange.now() + every)

    def _checked(self, request: Any, replies: list[Reply]) -> list[Reply]:
        """The replies, or an error where the account is not managed here."""
        if request.account in {"", "All"} or request.account in self.exchange.accounts:
            return replies
        for kept in (self._updates, self._multi, self._pnl):
            kept.pop(request.request_id, None)
        text = f"{VALIDATING}Invalid account code '{request.account}'."
        return [ErrorMessage(request.request_id, 321, text)]

    def _chosen(self, code: str) -> Iterator[Account]:
        for account in self.exchange.accounts.values():
            if code in {"", "All", account.code}:
                yield account

    def _of(self, code: str) -> Account | None:
        if not code and len(self.exchange.accounts) == 1:
            return next(iter(self.exchange.accounts.values()))
        return self.exchange.accounts.get(code)

    # Account updates: values, portfolio, time

    def _subscribe(self, code: str, request: requests.AccountUpdatesWanted) -> list[Reply]:
        account = self._of(code)
        if account is None:
            return [ErrorMessage(-1, 321, f"{VALIDATING}Invalid account code '{code}'.")]
        self._account = self._told(request, EVERY)
        return [*self._download(account), AccountDownloadEnd(account.code)]

    def _unsubscribe(self) -> list[Reply]:
        self._account = None
        return []

    def _download(self, account: Account) -> list[Reply]:
        rows = [reply for row in self._portfolio(account) for reply in (row, self._time())]
        return [*self._values(account), *rows, self._time()]

    def _values(self, account: Account) -> list[Reply]:
        return [AccountValue(key, value, currency, account.code) for key, value, currency in self._rows(account)]

    def _rows(self, account: Account) -> Iterator[tuple[str, str, str]]:
        for key, value, currency in account.values(self.exchange.mark):
            if key in LEDGER:
                yield key, BASE if key == "Currency" else value, BASE
            yield key, value, currency

    def _portfolio(self, account: Account) -> list[PortfolioRow]:
        rows = []
        for held in account.holdings.values():
            mark = self.exchange.mark(held.contract)
            gain = held.position * (mark - held.average_cost)
            value = held.position * mark
            row = PortfolioRow(
                held.contract, held.position, mark, value, held.average_cost, gain, held.realized, account.code
            )
            rows.append(row)
        return rows

    def _time(self) -> AccountTime:
        return AccountTime(f"{self.exchange.now().astimezone(NEW_YORK):%H:%M}")

    # Positions

    def _position_rows(self, code: str = "", con_id: int = 0) -> list[Reply]:
        return [
            PositionRow(account.code, held.contract, held.position, held.average_cost)
            for account in self._chosen(code)
            for held in account.holdings.values()
            if (con_id and held.contract.con_id == con_id) or (not con_id and held.position)
        ]

    def _multi_rows(self, request: requests.PositionsMultiWanted, con_id: int = 0) -> list[Reply]:
        return [
            PositionMulti(
                request.request_id, account.code, held.contract, held.position, held.average_cost, request.model
            )
            for account in self._chosen(request.account)
            for held in account.holdings.values()
            if (con_id and held.contract.con_id == con_id) or (not con_id and held.position)
        ]

    # Summaries and updates of several accounts

    def _summary(self, request: requests.AccountSummaryWanted) -> list[Reply]:
        number = request.request_id
        if number not in self._summaries and len(self._summaries) >= SUMMARIES:
            text = "Error processing request.-'bT' : cause - Maximum number of account summary requests exceeded"
            return [ErrorMessage(number, 322, text)]
        self._summaries[number] = self._told(request, EVERY)
        return [*self._summary_rows(request), AccountSummaryEnd(number)]

    def _summary_rows(self, request: requests.AccountSummaryWanted) -> list[Reply]:
        tags = {tag.strip() for tag in request.tags.split(",")}
        ledger = next((tag.partition(":")[2] or BASE for tag in tags if tag.startswith("$LEDGER")), "")
        replies: list[Reply] = []
        for account in self._chosen("All"):
            for key, value, currency in self._rows(account):
                in_ledger = key in LEDGER and ledger in {"ALL", currency}
                if in_ledger or (key in tags and currency != BASE):
                    replies.append(AccountSummary(request.request_id, account.code, key, value, currency))
        return replies

    def _update_rows(self, request: requests.AccountUpdatesMultiWanted) -> list[Reply]:
        return [
            AccountUpdateMulti(request.request_id, account.code, request.model, key, value, currency)
            for account in self._chosen(request.account)
            for key, value, currency in self._rows(account)
            if not request.ledger_and_nlv or key in LEDGER or key == "NetLiquidation"
        ]

    # Profit and loss

    def _profit(self, told: _Told) -> list[Reply]:
        """Told when it has changed, and the first time."""
        request, mark = told.request, self.exchange.mark
        chosen = list(self._chosen(request.account))
        if isinstance(request, requests.PnlWanted):
            total = [sum((part(account) for account in chosen), ZERO) for part in _parts(mark)]
            if tuple(total) == told.last:
                return []
            told.last = tuple(total)
            return [Pnl(request.request_id, *total)]
        held = [h for account in chosen for h in account.holdings.values() if h.contract.con_id == request.con_id]
        position = sum((h.position for h in held), ZERO)
        value = sum((h.position * mark(h.contract) for h in held), ZERO)
        daily = value - sum((h.opened_today for h in held), ZERO)
        unrealized = value - sum((h.position * h.average_cost for h in held), ZERO)
        single = (position, daily, unrealized, sum((h.realized for h in held), ZERO), value)
        if single == told.last:
            return []
        told.last = single
        return [PnlSingle(request.request_id, *single)]


def _parts(mark: Callable[[Any], Decimal]) -> tuple[Callable[[Account], Decimal], ...]:
    return (lambda a: a.daily(mark), lambda a: a.unrealized(mark), lambda a: a.realized)

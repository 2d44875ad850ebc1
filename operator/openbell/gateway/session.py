"""One client's session: what it asked for, and what it is told. Sans-I/O: requests in, replies out.

Order requests go to the exchange, whose events come back through `tell`, so that what one client does is told to all
whom it concerns in one order. What concerns the market or the accounts is answered at once, and `pulse` tells of what
has changed since.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from openbell.gateway import events
from openbell.gateway.account_feed import AccountFeed
from openbell.gateway.contracts import RULES
from openbell.gateway.errors import FieldError
from openbell.gateway.exchange import Exchange
from openbell.gateway.market_feed import MarketFeed
from openbell.gateway.orders import Execution, Order
from openbell.gateway.rules import NO_SECURITY, READ_ONLY, VALIDATING
from openbell.gateway.settings import GatewaySettings
from openbell.gateway.wire import requests
from openbell.gateway.wire.fields import stamp
from openbell.gateway.wire.order_reply import CompletedOrder, OpenOrder
from openbell.gateway.wire.replies import (
    CommissionReport,
    CompletedOrdersEnd,
    ContractDetails,
    ContractDetailsEnd,
    CurrentTime,
    ErrorMessage,
    ExecutionDetails,
    ExecutionsEnd,
    ManagedAccounts,
    MarketRule,
    NextValidId,
    OpenOrdersEnd,
    OrderStatus,
    Reply,
    SymbolSamples,
)
from openbell.gateway.wire.requests import Request

NO_ID = -1
FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefnj"),
)


class Session:
    """What one client is subscribed to."""

    def __init__(self, client_id: int, exchange: Exchange, settings: GatewaySettings) -> None:
        self.client_id = client_id
        self._exchange = exchange
        self._settings = settings
        self._market = MarketFeed(exchange, settings)
        self._accounts = AccountFeed(exchange)
        self._last_time: float | None = None

    def greet(self) -> list[Reply]:
        """What a real gateway says after startApi: this client's open orders first, then who and where it is."""
        own = self._exchange.open_orders(self.client_id)
        replies: list[Reply] = [reply for order in own for reply in _order(order)]
        if own:
            replies.append(OpenOrdersEnd())
        replies.append(ManagedAccounts(",".join(self._exchange.accounts)))
        replies.append(NextValidId(self._exchange.next_id(self.client_id)))
        return [*replies, *(ErrorMessage(NO_ID, code, text) for code, text in FARMS)]

    def handle(self, request: Request) -> list[Reply]:
        """The answer to a request, as far as it is not an event of the exchange."""
        return self._handlers[type(request)](self, request)

    def tell(self, event: events.Event) -> list[Reply]:
        """What this client is told of an event: of its own orders, and as master client of everyone's."""
        match event:
            case events.OrderChanged(order) if self._concerns(order):
                return _order(order)
            case events.StatusChanged(order) if self._concerns(order):
                return [_status(order)]
            case events.Tried(order, margin) if order.client_id == self.client_id:
                return [OpenOrder(order, margin)]
            case events.Executed(execution) if self._concerns(execution.order):
                return [_execution(execution, NO_ID)]
            case events.Charged(execution) if self._concerns(execution.order):
                return [_commission(execution)]
            case events.Notice(client_id, request_id, code, text) if client_id == self.client_id:
                return [ErrorMessage(request_id, code, text)]
            case events.Broadcast(code, text):
                return [ErrorMessage(NO_ID, code, text)]
            case events.PositionChanged(account, con_id):
                return self._accounts.changed(account, con_id)
            case _:
                return []

    def pulse(self) -> list[Reply]:
        """What has come since the last call: ticks, bars, results."""
        return [*self._market.pulse(), *self._accounts.pulse()]

    def lose_market_data(self) -> None:
        """Forget what was subscribed, as over an 1101: nothing more comes until the client asks again."""
        self._market.forget()

    @property
    def subscriptions(self) -> int:
        """How many requests are being served on."""
        return self._market.subscriptions + self._accounts.subscriptions

    def _concerns(self, order: Order) -> bool:
        return self.client_id in {order.client_id, self._settings.master_client_id}

    # Orders

    def _place(self, request: requests.PlaceOrder) -> list[Reply]:
        self._exchange.place(self.client_id, request)
        return []

    def _cancel(self, request: requests.CancelOrder) -> list[Reply]:
        self._exchange.cancel(self.client_id, request.order_id)
        return []

    def _cancel_all(self, _request: requests.GlobalCancel) -> list[Reply]:
        if self._exchange.settings.read_only:
            return self._read_only()
        self._exchange.cancel_all()
        return []

    def _open_orders(self, _request: requests.OpenOrdersWanted) -> list[Reply]:
        return self._list_orders(self.client_id)

    def _all_open_orders(self, _request: requests.AllOpenOrdersWanted) -> list[Reply]:
        return self._list_orders(None)

    def _list_orders(self, client_id: int | None) -> list[Reply]:
        if self._exchange.settings.read_only:
            return self._read_only()
        found = self._exchange.open_orders(client_id)
        return [*(reply for order in found for reply in _order(order)), OpenOrdersEnd()]

    def _auto_open_orders(self, request: requests.AutoOpenOrdersWanted) -> list[Reply]:
        if self.client_id:
            return [ErrorMessage(NO_ID, 327, "Only the default client (i.e 0) can auto bind orders")]
        return []

    def _completed_orders(self, _request: requests.CompletedOrdersWanted) -> list[Reply]:
        if self._exchange.settings.read_only:
            return self._read_only()
        return [*(CompletedOrder(order) for order in self._exchange.completed_orders()), CompletedOrdersEnd()]

    def _executions(self, request: requests.ExecutionsWanted) -> list[Reply]:
        try:
            found = self._exchange.executions_for(request)
        except FieldError as error:
            return [ErrorMessage(request.request_id, 321, VALIDATING + str(error))]
        details = [_execution(fill, request.request_id) for fill in found]
        reports = [_commission(fill) for fill in found]
        pairs = [reply for pair in zip(details, reports, strict=True) for reply in pair]
        return [*pairs, ExecutionsEnd(request.request_id)]

    def _ids(self, _request: requests.IdsWanted) -> list[Reply]:
        if self._exchange.settings.read_only:
            return self._read_only()
        return [NextValidId(self._exchange.next_id(self.client_id))]

    def _read_only(self) -> list[Reply]:
        return [ErrorMessage(NO_ID, READ_ONLY.code, READ_ONLY.text)]

    # Everything else

    def _managed_accounts(self, _request: requests.ManagedAccountsWanted) -> list[Reply]:
        return [ManagedAccounts(",".join(self._exchange.accounts))]

    def _time(self, _request: requests.TimeWanted) -> list[Reply]:
        now = self._exchange.clock.monotonic()
        if self._last_time is not None and now - self._last_time < 1.0:
            return []  # a real gateway does not answer a repetition within a second
        self._last_time = now
        return [CurrentTime(int(self._exchange.now().timestamp()))]

    def _contract_details(self, request: requests.ContractDetailsWanted) -> list[Reply]:
        found = self._exchange.catalogue.find(request.contract)
        if found is None or request.id_type:
            return [ErrorMessage(request.request_id, NO_SECURITY.code, NO_SECURITY.text)]
        return [ContractDetails(request.request_id, found), ContractDetailsEnd(request.request_id)]

    def _symbols(self, request: requests.SymbolsWanted) -> list[Reply]:
        return [SymbolSamples(request.request_id, self._exchange.catalogue.like(request.pattern))]

    def _market_rule(self, request: requests.MarketRuleWanted) -> list[Reply]:
        steps = RULES.get(request.rule_id)
        if steps is None:
            return [ErrorMessage(NO_ID, 321, f"{VALIDATING}Invalid market rule id {request.rule_id}")]
        return [MarketRule(request.rule_id, steps)]

    def _started(self, _request: requests.StartApi) -> list[Reply]:
        return [ErrorMessage(NO_ID, 321, VALIDATING + "The API was started before.")]

    def _not_offered(self, request: requests.NotOffered) -> list[Reply]:
        text = f"{VALIDATING}{request.name} is not supported by this gateway."
        return [ErrorMessage(request.request_id, 321, text)]

    def _to_market(self, request: Any) -> list[Reply]:
        return self._market.handle(request)

    def _to_accounts(self, request: Any) -> list[Reply]:
        return self._accounts.handle(request)

    _handlers: ClassVar[dict[type, Callable[[Session, Any], list[Reply]]]] = {
        requests.PlaceOrder: _place,
        requests.CancelOrder: _cancel,
        requests.GlobalCancel: _cancel_all,
        requests.OpenOrdersWanted: _open_orders,
        requests.AllOpenOrdersWanted: _all_open_orders,
        requests.AutoOpenOrdersWanted: _auto_open_orders,
        requests.CompletedOrdersWanted: _completed_orders,
        requests.ExecutionsWanted: _executions,
        requests.IdsWanted: _ids,
        requests.ManagedAccountsWanted: _managed_accounts,
        requests.TimeWanted: _time,
        requests.ContractDetailsWanted: _contract_details,
        requests.SymbolsWanted: _symbols,
        requests.MarketRuleWanted: _market_rule,
        requests.StartApi: _started,
        requests.NotOffered: _not_offered,
        **dict.fromkeys(MarketFeed.serves, _to_market),
        **dict.fromkeys(AccountFeed.serves, _to_accounts),
    }


def _order(order: Order) -> list[Reply]:
    return [OpenOrder(order), _status(order)]


def _status(order: Order) -> OrderStatus:
    parent = 0 if not order.parent_perm_id else order.terms.parent_id
    return OrderStatus(
        order.order_id,
        order.status,
        order.filled,
        order.remaining,
        order.average_price,
        order.perm_id,
        parent,
        order.last_price,
        order.client_id,
        order.why_held,
    )


def _execution(execution: Execution, request_id: int) -> ExecutionDetails:
    order = execution.order
    return ExecutionDetails(
        request_id,
        order.order_id,
        order.contract,
        execution.exec_id,
        stamp(execution.time),
        order.terms.account,
        execution.exchange,
        execution.side,
        execution.shares,
        execution.price,
        order.perm_id,
        order.client_id,
        execution.cumulative,
        execution.average_price,
        order.terms.order_ref,
    )


def _commission(execution: Execution) -> CommissionReport:
    return CommissionReport(execution.exec_id, execution.commission, "USD", execution.realized)

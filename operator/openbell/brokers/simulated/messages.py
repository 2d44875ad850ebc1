"""Values as JSON: what the book keeps and what goes over the wire. Decimals are strings, times ISO 8601 in UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from openbell.brokers.simulated.venue import OrderRequest, VenueOrder
from openbell.domain.account import Account
from openbell.domain.bars import BarSeries, Quote
from openbell.domain.errors import BrokerError
from openbell.domain.orders import Fill, Intent, IntentState, OrderTerms, OrderType, OrderUpdate, Side, TimeInForce
from openbell.domain.positions import BrokerPosition

Json = dict[str, Any]


class MessageError(BrokerError):
    """A message is not of the form that was agreed. The connection that it came by is closed."""


def encode(message: Json) -> bytes:
    """One message as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Json:
    """One line as one message. Raises MessageError for a line that is no JSON object."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise MessageError(f"the line {line[:80]!r} is not JSON") from error
    if not isinstance(message, dict):
        raise MessageError(f"the line {line[:80]!r} is not an object")
    return message


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _optional(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def request_of(intent: Intent) -> OrderRequest:
    """What of an intent travels to the broker."""
    return OrderRequest(
        intent.order_ref,
        intent.symbol,
        intent.side,
        intent.quantity,
        intent.order_type,
        intent.limit_price,
        intent.stop_price,
        intent.time_in_force,
        intent.reference_price,
        intent.oca_group,
    )


def request_row(request: OrderRequest) -> Json:
    return {
        "order_ref": request.order_ref,
        "symbol": request.symbol,
        "side": request.side.value,
        "quantity": str(request.quantity),
        "order_type": request.order_type.value,
        "limit_price": _optional(request.limit_price),
        "stop_price": _optional(request.stop_price),
        "time_in_force": request.time_in_force.value,
        "reference_price": str(request.reference_price),
        "oca_group": request.oca_group,
    }


def request_from_row(row: Json) -> OrderRequest:
    """Raises MessageError for a row that is no order."""
    try:
        return OrderRequest(
            str(row["order_ref"]),
            str(row["symbol"]),
            Side(row["side"]),
            Decimal(row["quantity"]),
            OrderType(row["order_type"]),
            _decimal(row["limit_price"]),
            _decimal(row["stop_price"]),
            TimeInForce(row["time_in_force"]),
            Decimal(row["reference_price"]),
            str(row.get("oca_group", "")),
        )
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise MessageError(f"the order {row!r} is not well formed: {error!r}") from error


def terms_row(terms: OrderTerms) -> Json:
    return {
        "quantity": str(terms.quantity),
        "limit_price": _optional(terms.limit_price),
        "stop_price": _optional(terms.stop_price),
    }


def terms_from_row(row: Json) -> OrderTerms:
    """Raises MessageError for a row that has no terms."""
    try:
        return OrderTerms(Decimal(row["quantity"]), _decimal(row["limit_price"]), _decimal(row["stop_price"]))
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise MessageError(f"the terms {row!r} are not well formed: {error!r}") from error


def order_row(order: VenueOrder) -> Json:
    return {
        "order_id": order.order_id,
        "sequence": order.sequence,
        "account": order.account,
        "request": request_row(order.request),
        "arrived_at": order.arrived_at.isoformat(),
        "live_from": order.live_from.isoformat(),
        "expires_at": None if order.expires_at is None else order.expires_at.isoformat(),
        "state": order.state.value,
        "triggered": order.triggered,
        "filled": str(order.filled),
        "average_price": str(order.average_price),
        "commission": str(order.commission),
        "executions": order.executions,
        "detail": order.detail,
    }


def order_from_row(row: Json) -> VenueOrder:
    return VenueOrder(
        row["order_id"],
        row["sequence"],
        row["account"],
        request_from_row(row["request"]),
        moment(row["arrived_at"]),
        moment(row["live_from"]),
        None if row["expires_at"] is None else moment(row["expires_at"]),
        IntentState(row["state"]),
        row["triggered"],
        Decimal(row["filled"]),
        Decimal(row["average_price"]),
        Decimal(row["commission"]),
        row["executions"],
        row["detail"],
    )


def update_row(update: OrderUpdate) -> Json:
    return {
        "order_ref": update.order_ref,
        "state": update.state.value,
        "broker_order_id": update.broker_order_id,
        "filled_quantity": str(update.filled_quantity),
        "average_price": str(update.average_price),
        "detail": update.detail,
        "terms": None if update.terms is None else terms_row(update.terms),
        "oca_group": update.oca_group,
    }


def update_from_row(row: Json) -> OrderUpdate:
    return OrderUpdate(
        row["order_ref"],
        IntentState(row["state"]),
        row["broker_order_id"],
        Decimal(row["filled_quantity"]),
        Decimal(row["average_price"]),
        row["detail"],
        None if row["terms"] is None else terms_from_row(row["terms"]),
        row["oca_group"],
    )


def fill_row(fill: Fill) -> Json:
    return {
        "execution_id": fill.execution_id,
        "order_ref": fill.order_ref,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity": str(fill.quantity),
        "price": str(fill.price),
        "commission": str(fill.commission),
        "time": fill.time.isoformat(),
    }


def fill_from_row(row: Json) -> Fill:
    return Fill(
        row["execution_id"],
        row["order_ref"],
        row["symbol"],
        Side(row["side"]),
        Decimal(row["quantity"]),
        Decimal(row["price"]),
        Decimal(row["commission"]),
        moment(row["time"]),
    )


def account_row(account: Account) -> Json:
    return {
        "account_id": account.account_id,
        "currency": account.currency,
        "equity": str(account.equity),
        "cash": str(account.cash),
        "buying_power": str(account.buying_power),
    }


def account_from_row(row: Json) -> Account:
    return Account(
        row["account_id"], row["currency"], Decimal(row["equity"]), Decimal(row["cash"]), Decimal(row["buying_power"])
    )


def position_row(position: BrokerPosition) -> Json:
    return {
        "symbol": position.symbol,
        "quantity": str(position.quantity),
        "average_price": str(position.average_price),
    }


def position_from_row(row: Json) -> BrokerPosition:
    return BrokerPosition(row["symbol"], Decimal(row["quantity"]), Decimal(row["average_price"]))


def quote_row(quote: Quote) -> Json:
    return {
        "symbol": quote.symbol,
        "time": quote.time.isoformat(),
        "price": quote.price,
        "bid": quote.bid,
        "ask": quote.ask,
    }


def quote_from_row(row: Json) -> Quote:
    return Quote(row["symbol"], moment(row["time"]), row["price"], row["bid"], row["ask"])


SERIES_COLUMNS = ("end", "open", "high", "low", "close", "volume")


def series_row(series: BarSeries) -> Json:
    columns = {name: getattr(series, name).tolist() for name in SERIES_COLUMNS}
    return {"symbol": series.symbol, "bar_seconds": series.bar_seconds, **columns}


def series_from_row(row: Json) -> BarSeries:
    columns = [np.asarray(row[name], dtype=np.float64) for name in SERIES_COLUMNS]
    for column in columns:
        column.setflags(write=False)
    return BarSeries(row["symbol"], row["bar_seconds"], *columns)

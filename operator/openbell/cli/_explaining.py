"""Where an explanation is read from: a journal's folder, or a runner's API."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from openbell.cli._api import RunnerApi
from openbell.domain.orders import IntentKind, IntentState, Side
from openbell.engine.explain import OrderStory, PositionStory
from openbell.engine.trail import DecisionQuery, Run, TrailKind
from openbell.journal import IntentRecord
from openbell.journal.reading import JournalReader, find_journal, stored_runs

LISTED_ORDERS = 500  # the most that the API lists


class Place(Protocol):
    """What can be asked of either."""

    def order(self, order_ref: str) -> tuple[OrderStory, PositionStory] | None:
        """An order and its position, None where there is no such order."""
        ...

    def runs(self, query: DecisionQuery) -> tuple[Run, ...]:
        """The trail, newest first."""
        ...


class FolderPlace:
    """A journal's folder, whether or not its runner works."""

    def __init__(self, folder: Path) -> None:
        self._folder = find_journal(folder)

    def runs(self, query: DecisionQuery) -> tuple[Run, ...]:
        return stored_runs(self._folder, query)

    def order(self, order_ref: str) -> tuple[OrderStory, PositionStory] | None:
        with JournalReader(self._folder) as reader:
            record = reader.order(order_ref)
            if record is None:
                return None
            position_id = record.intent.position_id
            orders = tuple(self._story(reader, each) for each in reader.orders_of(position_id))
            trade = reader.trade_of(position_id)
        own = next(each for each in orders if each.order_ref == order_ref)
        looked = stored_runs(self._folder, DecisionQuery(own.strategy, own.symbol, limit=50))
        holding = next((run for run in looked if run.kind is TrailKind.EXIT and run.until >= own.created_at), None)
        return own, PositionStory(orders, trade, holding)

    def _story(self, reader: JournalReader, record: IntentRecord) -> OrderStory:
        intent = record.intent
        decided = stored_runs(self._folder, DecisionQuery(order_ref=intent.order_ref, limit=10))
        return OrderStory(
            order_ref=intent.order_ref,
            kind=intent.kind,
            strategy=intent.strategy,
            symbol=intent.symbol,
            side=intent.side,
            quantity=intent.quantity,
            filled=record.filled,
            average_price=record.average_price if record.filled else None,
            state=record.state,
            reason=intent.reason,
            created_at=intent.created_at,
            detail=record.detail,
            broker_order_id=record.broker_order_id,
            confidence=intent.confidence,
            reference_price=intent.reference_price,
            bar_time=intent.bar_time if intent.kind is IntentKind.ENTRY else None,
            epoch=intent.epoch,
            fills=reader.fills_of(intent.order_ref),
            decision=decided[-1] if decided else None,
        )


class ApiPlace:
    """A runner's API: it tells of its newest orders, and of fills only how many and at what price."""

    def __init__(self, url: str) -> None:
        self._api = RunnerApi(url)

    def runs(self, query: DecisionQuery) -> tuple[Run, ...]:
        asked: dict[str, object] = {
            "strategy": query.strategy,
            "symbol": query.symbol,
            "reason": query.reason,
            "order_ref": query.order_ref,
            "limit": query.limit,
        }
        body = self._api.get("/api/decisions", {key: value for key, value in asked.items() if value is not None})
        return tuple(_run(each) for each in body["decisions"])

    def order(self, order_ref: str) -> tuple[OrderStory, PositionStory] | None:
        listed = self._api.get("/api/orders", {"limit": LISTED_ORDERS})["orders"]
        found = next((each for each in listed if each["order_ref"] == order_ref), None)
        if found is None:
            return None
        decided = self.runs(DecisionQuery(order_ref=order_ref, limit=10))
        story = replace(_order(found), decision=decided[-1] if decided else None)
        looked = self.runs(DecisionQuery(story.strategy, story.symbol, limit=50))
        holding = next((run for run in looked if run.kind is TrailKind.EXIT and run.until >= story.created_at), None)
        return story, PositionStory(holding=holding)


def _run(body: dict[str, Any]) -> Run:
    return Run(
        strategy=body["strategy"],
        symbol=body["symbol"],
        kind=TrailKind(body["kind"]),
        reason=body["reason"],
        detail=body["detail"],
        order_ref=body["order_ref"] or "",
        since=datetime.fromisoformat(body["since"]),
        until=datetime.fromisoformat(body["until"]),
        count=body["count"],
    )


def _order(body: dict[str, Any]) -> OrderStory:
    average = body["average_price"]
    return OrderStory(
        order_ref=body["order_ref"],
        kind=IntentKind(body["kind"]),
        strategy=body["strategy"],
        symbol=body["symbol"],
        side=Side(body["side"]),
        quantity=Decimal(body["quantity"]),
        filled=Decimal(body["filled_quantity"]),
        average_price=None if average is None else Decimal(average),
        state=IntentState(body["state"]),
        reason=body["reason"],
        created_at=datetime.fromisoformat(body["created_at"]),
        detail=body["detail"],
        broker_order_id=body["broker_order_id"],
    )

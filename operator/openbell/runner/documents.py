"""The runner's part of `.status` as plain documents: pure functions of the situation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from openbell import __version__
from openbell.domain.money import amount, text
from openbell.domain.positions import Position
from openbell.domain.statistics import Counters
from openbell.market.calendar import next_times
from openbell.resources import scheduler, strategy
from openbell.resources.conditions import Condition
from openbell.risk.locks import Lock
from openbell.runner.entry import StrategyEntry
from openbell.runner.ledger import SignalRecord, summarise
from openbell.runner.situation import Situation

MAX_POSITIONS = 50
MAX_LOCKS = 20
SHOWN_SYMBOLS = 3
MAX_CLAUSE = 1024  # characters: a status with a longer one is refused as a whole
MAX_MESSAGE = 32_768


def moment(value: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if value else None


def all_documents(situation: Situation, *, pod: str, owner_tag: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Every status that this runner writes, by kind and name."""
    control = situation.control
    if control is None:
        return {}
    documents: dict[tuple[str, str], Mapping[str, Any]] = {
        (scheduler.KIND, control.scheduler.name): scheduler_document(situation, pod=pod, owner_tag=owner_tag)
    }
    for name, entry in control.entries.items():
        documents[strategy.KIND, name] = strategy_document(situation, entry)
    return documents


def scheduler_document(situation: Situation, *, pod: str, owner_tag: str) -> Mapping[str, Any]:
    """The status of the scheduler as far as it is the runner's."""
    ledger, now = situation.ledger, situation.clock.now()
    positions = sorted(ledger.open_positions(), key=lambda position: (position.strategy, position.symbol))
    acknowledged = situation.supervisor.acknowledged
    account = ledger.account
    next_open, next_close = next_times(situation.calendar, now)
    return _without_none(
        {
            "state": situation.gate.state.value,
            "canRun": situation.can_run(),
            "why": _within(situation.why(), MAX_CLAUSE),
            "market": _without_none(
                {
                    "open": situation.calendar.is_open(now),
                    "nextOpen": moment(next_open),
                    "nextClose": moment(next_close),
                    "summary": situation.calendar.describe(now),
                }
            ),
            "brokerConnected": situation.gate.broker_connected,
            "equity": amount(account.equity) if account else None,
            "pnl": _pnl(situation),
            "stats": {
                **counters_document(ledger.statistics.total),
                "monitoredPositions": 0 if situation.gate.exit_blocked() else len(positions),
                **_without_none({"startedAt": moment(ledger.statistics.started_at)}),
            },
            "positions": {
                "open": len(positions),
                "summary": summarise(positions),
                "items": [_position(situation, position) for position in positions[:MAX_POSITIONS]],
            },
            "settlement": (situation.account_book.summary(now) or None) if situation.account_book else None,
            "locks": [_lock(lock) for lock in situation.locks()[:MAX_LOCKS]] or None,
            "runner": _without_none(
                {
                    "pod": pod or None,
                    # Until this runner leads, what earlier ones have reached must go on standing there.
                    "epoch": max(situation.fence.epoch, situation.known_epoch) or None,
                    "ownerTag": owner_tag or None,
                    "observedGeneration": acknowledged.generation if acknowledged else None,
                    "version": __version__,
                }
            ),
            "conditions": _conditions(situation.refresh_conditions()),
        }
    )


def strategy_document(situation: Situation, entry: StrategyEntry) -> Mapping[str, Any]:
    """The status of one strategy as far as it is the runner's."""
    ledger = situation.ledger
    counters = ledger.statistics.of(entry.name)
    positions = situation.positions_of(entry.name)
    total = ledger.realized(entry.name) + ledger.unrealized(entry.name)
    last = next((record for record in reversed(ledger.signals) if record.signal.strategy == entry.name), None)
    shown = ", ".join(entry.spec.symbols[:SHOWN_SYMBOLS])
    more = len(entry.spec.symbols) - SHOWN_SYMBOLS
    return _without_none(
        {
            "state": situation.gate.state_of(entry.name).value,
            "why": _within(situation.strategy_why(entry), MAX_CLAUSE),
            "symbols": f"{shown} +{more}" if more > 0 else shown,
            "stats": {
                **counters_document(counters),
                "monitoredPositions": 0 if situation.gate.exit_blocked() else len(positions),
            },
            "lastSignal": _last_signal(last),
            "openPositions": len(positions),
            "pnl": {"total": amount(total)},
            "parametersSchema": _own_schema(situation, entry),
            "conditions": _conditions(situation.refresh_strategy(entry)),
        }
    )


def _own_schema(situation: Situation, entry: StrategyEntry) -> Mapping[str, Any] | None:
    """What a custom strategy's class says of its parameters; of the built-in types the operator says it."""
    loaded = situation.workshop.loaded(entry.name) if entry.is_custom else None
    return loaded.schema if loaded else None


def counters_document(counters: Counters) -> dict[str, Any]:
    """Counters under their names in the resource."""
    return _without_none(
        {
            "evaluationsRun": counters.evaluations_run,
            "signalsGenerated": counters.signals_generated,
            "tradesExecuted": counters.trades_executed,
            "tradesRejected": counters.trades_rejected,
            "exitsExecuted": counters.exits_executed,
            "errors": counters.errors,
            "lastEvaluation": moment(counters.last_evaluation),
            "lastTrade": moment(counters.last_trade),
        }
    )


def _conditions(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    documents = [condition.to_dict() for condition in conditions]
    return [{**each, "message": _within(each["message"], MAX_MESSAGE)} for each in documents]


def _within(clause: str, length: int) -> str:
    """The clause, cut to what the schema holds: an error's text can be of any length."""
    return clause if len(clause) <= length else clause[: length - 1] + "…"


def _pnl(situation: Situation) -> dict[str, str]:
    day = situation.pnl_day()
    return _without_none({"day": amount(day) if day is not None else None, "total": amount(situation.pnl_total())})


def _position(situation: Situation, position: Position) -> dict[str, Any]:
    at_price = situation.ledger.price_of(position.symbol)
    return _without_none(
        {
            "strategy": position.strategy,
            "symbol": position.symbol,
            "quantity": text(position.quantity),
            "averagePrice": text(position.average_price.quantize(at_price) if at_price else position.average_price),
            "pnl": amount(position.unrealized_pnl(at_price)) if at_price is not None else None,
            "openedAt": moment(position.opened_at),
        }
    )


def _lock(lock: Lock) -> dict[str, Any]:
    return _without_none(
        {
            "id": lock.lock_id,
            "scope": lock.scope.value,
            "subject": lock.subject or None,
            "reason": lock.reason.value,
            "since": moment(lock.since),
            "until": moment(lock.until),
            "why": _within(lock.detail, MAX_CLAUSE),
            "madeBy": lock.made_by,
        }
    )


def _last_signal(record: SignalRecord | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        "symbol": record.signal.symbol,
        "action": record.signal.action.value,
        "confidence": round(record.shown_confidence, 4),
        "time": moment(record.signal.bar_time),
        "outcome": record.reason.value,
    }


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}

"""The runner's metrics, on a registry of their own. Names start with openbell_, label values come from closed sets.

Scheduler and namespace are labels of the scrape, not of the metrics: one runner serves one scheduler.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from openbell.domain.limits import LockScope
from openbell.domain.orders import IntentKind, Side
from openbell.domain.reasons import ExitReason, Reason
from openbell.domain.signals import Action
from openbell.domain.state import TradingState

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_LATENESS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_EVALUATION = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class ErrorKind(StrEnum):
    """Where an error came from; the closed label set of openbell_errors_total."""

    DATA = "data"
    BROKER = "broker"
    JOURNAL = "journal"
    CLUSTER = "cluster"
    STRATEGY = "strategy"
    API = "api"
    INTERNAL = "internal"


class LoopName(StrEnum):
    """The runner's two loops."""

    EVALUATION = "evaluation"
    EXIT = "exit"


def _initialise(metric: Counter | Histogram | Gauge, values: Iterable[StrEnum]) -> None:
    # A series that is absent until it first happens makes rate() blind to the first event.
    for value in values:
        metric.labels(value.value)


class RunnerMetrics:
    """Every metric that a runner has. Set them directly: `metrics.orders_sent.labels(intent.kind).inc()`."""

    def __init__(self, *, version: str, process: bool = True) -> None:
        self.registry = registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=registry)
            GCCollector(registry=registry)

        def counter(name: str, text: str, label: str | None = None, values: Iterable[StrEnum] = ()) -> Counter:
            metric = Counter(f"openbell_{name}", text, [label] if label else [], registry=registry)
            _initialise(metric, values)
            return metric

        def gauge(name: str, text: str, label: str | None = None, values: Iterable[StrEnum] = ()) -> Gauge:
            metric = Gauge(f"openbell_{name}", text, [label] if label else [], registry=registry)
            _initialise(metric, values)
            return metric

        def histogram(
            name: str, text: str, buckets: tuple[float, ...], label: str | None = None, values: Iterable[StrEnum] = ()
        ) -> Histogram:
            metric = Histogram(
                f"openbell_{name}", text, [label] if label else [], registry=registry, buckets=(*buckets, float("inf"))
            )
            _initialise(metric, values)
            return metric

        self.build = Gauge("openbell_build_info", "Always 1; the version is the label.", ["version"], registry=registry)
        self.build.labels(version).set(1)

        self.evaluations = counter("evaluations", "Evaluations of the scheduler's strategies that were run.")
        self.evaluations_coalesced = counter(
            "evaluations_coalesced", "Evaluations left out because the one before was still running."
        )
        self.evaluation_seconds = histogram(
            "evaluation_seconds", "Time of one evaluation, from fetching bars to the last decision.", _EVALUATION
        )
        self.tick_lateness_seconds = histogram(
            "tick_lateness_seconds", "How much later than planned a loop's tick began.", _LATENESS, "loop", LoopName
        )
        self.evaluation_interval_seconds = gauge(
            "evaluation_interval_seconds", "Shortest interval between evaluations in force, adaptive or not."
        )
        self.signals = counter("signals", "Signals that strategies gave.", "action", Action)
        self.signals_waiting = gauge(
            "signals_waiting", "Signals that wait to be decided again, denied for a reason that passes by itself."
        )
        self.decisions = counter("decisions", "Decisions by what was done or why nothing was.", "reason", Reason)
        self.orders_sent = counter("orders_sent", "Orders handed to the broker.", "kind", IntentKind)
        self.fills = counter("fills", "Executions that the broker reported, each counted once.", "side", Side)
        self.exits = counter("exits", "Positions left, by why.", "reason", ExitReason)
        self.order_latency_seconds = histogram(
            "order_latency_seconds", "From the close of a bar to its last order handed to the broker.", _EVALUATION
        )
        self.errors = counter("errors", "Errors by where they came from; each was contained.", "kind", ErrorKind)

        self.open_positions = gauge("open_positions", "Positions monitored for their exits.")
        self.protected_positions = gauge("protected_positions", "Open positions whose stop rests at the broker.")
        self.locks = gauge("locks", "Locks that hold openings back now.", "scope", LockScope)
        self.drawdown_ratio = gauge("drawdown_ratio", "How far the equity is below its highest, as a ratio of that.")
        self.settled_cash = gauge("settled_cash", "Settled money of a cash account; NaN for any other.")
        self.equity = gauge("equity", "Equity of the account in its currency, as the broker last reported it.")
        for unknown in (self.drawdown_ratio, self.settled_cash):
            unknown.set(float("nan"))
        self.pnl_day = gauge("pnl_day", "Profit and loss of the session in the account's currency.")
        self.pnl_total = gauge("pnl_total", "Profit and loss since the first start in the account's currency.")
        self.data_age_seconds = gauge("data_age_seconds", "Age of the newest bar or quote.")

        self.state = gauge("state", "1 for the effective state, 0 for the others.", "state", TradingState)
        self.broker_connected = gauge("broker_connected", "1 while the broker is connected.")
        self.orders_in_doubt = gauge(
            "orders_in_doubt", "Orders of ours on which the broker had no certain word when it was last asked for all."
        )
        self.leading = gauge("leading", "1 while this runner holds its lease.")
        self.epoch = gauge("epoch", "Number of this runner's leadership; grows with every takeover.")
        self.observed_generation = gauge("observed_generation", "Generation of the scheduler that the runner acts by.")
        self.pause_ack_seconds = histogram(
            "pause_ack_seconds", "From seeing a pause or stop to its acknowledgement in the status.", _EVALUATION
        )
        self.journal_commit_seconds = histogram("journal_commit_seconds", "Time of one commit of the journal.", _FAST)
        self.trail_lost = counter(
            "trail_lost", "Ticks that the decision trail lost: its queue was full, or its files could not be written."
        )
        self.loop_lag_seconds = histogram(
            "event_loop_lag_seconds", "How much later than asked for the event loop woke a timer.", _FAST
        )
        self.stream_clients = gauge("stream_clients", "Clients of the event stream.")
        self.stream_dropped = counter("stream_dropped", "Events that slow clients of the event stream lost.")

    def set_state(self, state: TradingState) -> None:
        """Make `state` the one that is 1."""
        for each in TradingState:
            self.state.labels(each.value).set(each is state)

    def exposition(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        return generate_latest(self.registry)

    def names(self) -> tuple[str, ...]:
        """Every sample name that a scrape can show, sorted; what dashboards and alerts are checked against."""
        names: set[str] = set()
        for family in self.registry.collect():
            names.update(sample.name for sample in family.samples)
        return tuple(sorted(names))

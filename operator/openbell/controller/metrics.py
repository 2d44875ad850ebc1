"""The operator's metrics, under the names of controller-runtime and client-go where they have one, so that existing
dashboards and alerts work; openbell_operator_* for what only we have."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from openbell.kube.resources import Resource

CONTROLLER = "tradingscheduler"
_WORK = (1e-4, 1e-3, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
_RECONCILE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class OperatorMetrics:
    """Every metric of the operator, on a registry of its own."""

    def __init__(self, *, version: str, process: bool = True) -> None:
        self.registry = registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=registry)
            GCCollector(registry=registry)
        self.build = Gauge("openbell_build_info", "Always 1; the version is the label.", ["version"], registry=registry)
        self.build.labels(version).set(1)

        queue, labels = ["name"], ["controller"]
        self.depth = Gauge("workqueue_depth", "Keys that wait.", queue, registry=registry).labels(CONTROLLER)
        self.adds = Counter("workqueue_adds", "Keys added.", queue, registry=registry).labels(CONTROLLER)
        self.retries = Counter(
            "workqueue_retries", "Keys added again after a failure.", queue, registry=registry
        ).labels(CONTROLLER)
        self.queue_seconds = Histogram(
            "workqueue_queue_duration_seconds", "How long a key waited.", queue, buckets=_WORK, registry=registry
        ).labels(CONTROLLER)
        self.work_seconds = Histogram(
            "workqueue_work_duration_seconds", "How long work on a key took.", queue, buckets=_WORK, registry=registry
        ).labels(CONTROLLER)
        self.unfinished = Gauge(
            "workqueue_unfinished_work_seconds",
            "How long all keys in work have been so, together.",
            queue,
            registry=registry,
        ).labels(CONTROLLER)
        self.longest = Gauge(
            "workqueue_longest_running_processor_seconds",
            "How long the oldest key in work has been so.",
            queue,
            registry=registry,
        ).labels(CONTROLLER)

        self._reconciles = Counter(
            "controller_runtime_reconcile", "Reconciles by result.", ["controller", "result"], registry=registry
        )
        for result in ("success", "error", "requeue_after"):
            self._reconciles.labels(CONTROLLER, result)
        self.errors = Counter(
            "controller_runtime_reconcile_errors", "Reconciles that failed.", labels, registry=registry
        ).labels(CONTROLLER)
        self.reconcile_seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Time of one reconcile.",
            labels,
            buckets=_RECONCILE,
            registry=registry,
        ).labels(CONTROLLER)
        self.max_workers = Gauge(
            "controller_runtime_max_concurrent_reconciles", "Workers at most.", labels, registry=registry
        ).labels(CONTROLLER)
        self.active_workers = Gauge(
            "controller_runtime_active_workers", "Workers at work.", labels, registry=registry
        ).labels(CONTROLLER)

        self._requests = Counter(
            "rest_client_requests",
            "Requests to the API server, by method, code and host.",
            ["method", "code", "host"],
            registry=registry,
        )
        self.leader = Gauge(
            "leader_election_master_status", "1 while this process leads.", ["name"], registry=registry
        ).labels(CONTROLLER)
        self._watched = Counter(
            "openbell_operator_watch_events", "Events of watches, by kind.", ["kind"], registry=registry
        )
        self._applies = Counter(
            "openbell_operator_applies",
            "Children compared with what they should be, by result.",
            ["kind", "result"],
            registry=registry,
        )
        self.status_writes = Counter("openbell_operator_status_writes", "Statuses written.", registry=registry)
        self.events_lost = Counter(
            "openbell_operator_events_lost", "Events that could not be written.", registry=registry
        )
        self.schedulers = Gauge("openbell_operator_schedulers", "Schedulers that exist.", registry=registry)
        self.strategies = Gauge("openbell_operator_strategies", "Strategies that exist.", registry=registry)
        self.canary_touches = Counter("openbell_operator_canary_touches", "Touches of the canary.", registry=registry)
        self.canary_age = Gauge(
            "openbell_operator_canary_pending_seconds",
            "How long a touch of the canary has not come back as an event.",
            registry=registry,
        )
        self.loop_lag = Histogram(
            "openbell_operator_event_loop_lag_seconds",
            "How much later than asked the event loop woke a timer.",
            registry=registry,
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0),
        )

    # what the work queue tells
    def added(self) -> None:
        self.adds.inc()
        self.depth.inc()

    def retried(self) -> None:
        self.retries.inc()

    def started(self, waited_seconds: float) -> None:
        self.depth.dec()
        self.active_workers.inc()
        self.queue_seconds.observe(waited_seconds)

    def finished(self, worked_seconds: float) -> None:
        self.active_workers.dec()
        self.work_seconds.observe(worked_seconds)
        self.reconcile_seconds.observe(worked_seconds)

    # what others tell
    def reconciled(self, result: str) -> None:
        self._reconciles.labels(CONTROLLER, result).inc()
        if result == "error":
            self.errors.inc()

    def requested(self, method: str, status: int, host: str) -> None:
        self._requests.labels(method, str(status) if status else "<error>", host).inc()

    def watched(self, resource: Resource) -> None:
        self._watched.labels(resource.kind).inc()

    def applied(self, kind: str, result: str) -> None:
        self._applies.labels(kind, result).inc()

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)

    def names(self) -> tuple[str, ...]:
        """Every sample name that a scrape can show, sorted; what dashboards and alerts are checked against."""
        return tuple(sorted({sample.name for family in self.registry.collect() for sample in family.samples}))

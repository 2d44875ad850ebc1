#!/usr/bin/env python3
"""grafana.py [--check]: writes the Grafana dashboard of the chart, or says that it differs and fails."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Lines
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueTextMode,
    DataSourceRef,
    LegendDisplayMode,
    LegendPlacement,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)

TARGET = Path(__file__).resolve().parent.parent / "charts" / "openbell" / "dashboards" / "openbell.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
RUNNER = 'namespace=~"$namespace",pod=~"$runner"'


@dataclass(frozen=True)
class Query:
    """A PromQL expression and how its series are called."""

    expression: str
    legend: str = "{{pod}}"

    def target(self, n: int) -> Dataquery:
        return (
            Dataquery()
            .expr(self.expression)
            .legend_format(self.legend)
            .ref_id(chr(ord("A") + n))
            .datasource(SOURCE)
            .range()
        )


@dataclass(frozen=True)
class Graph:
    """A panel of lines."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    span: int = 12

    def panel(self) -> Lines:
        panel = (
            Lines()
            .title(self.title)
            .description(self.description)
            .unit(self.unit)
            .datasource(SOURCE)
            .height(8)
            .span(self.span)
            .fill_opacity(8)
            .legend(
                VizLegendOptions()
                .display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM)
                .show_legend(True)
            )
        )
        for n, query in enumerate(self.queries):
            panel = panel.with_target(query.target(n))
        return panel


@dataclass(frozen=True)
class Number:
    """A panel of one number, or one word, a runner."""

    title: str
    description: str
    query: Query
    unit: str = "short"
    words: Sequence[tuple[str, str, str]] = ()  # value, text, colour
    shows_name: bool = False
    span: int = 4

    def panel(self) -> Stat:
        panel = (
            Stat()
            .title(self.title)
            .description(self.description)
            .unit(self.unit)
            .datasource(SOURCE)
            .height(5)
            .span(self.span)
            .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
            .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(color="blue")]))
            .color_mode(BigValueColorMode.VALUE)
            .text_mode(BigValueTextMode.NAME if self.shows_name else BigValueTextMode.VALUE_AND_NAME)
            .no_value("–")
            .with_target(self.query.target(0))
        )
        if self.words:
            options = {value: ValueMappingResult(text=text, color=colour) for value, text, colour in self.words}
            panel = panel.mappings([ValueMap(options=options)])
        return panel


YES_NO = (("1", "yes", "green"), ("0", "no", "red"))


def quantile(q: float, histogram: str, by: str = "pod") -> str:
    """A quantile over the rate of a runner's histogram."""
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({histogram}_bucket{{{RUNNER}}}[$__rate_interval])))"


def rate(counter: str, label: str) -> Query:
    """Events a minute of a runner's counter, by one label."""
    return Query(f"60 * sum by ({label}) (rate({counter}{{{RUNNER}}}[$__rate_interval]))", f"{{{{{label}}}}}")


ROWS: Sequence[tuple[str, Sequence[Graph | Number]]] = (
    (
        "Trading",
        (
            Number(
                "State",
                "The state by which each runner acts: the safer of what the scheduler asks for and what it can do.",
                Query(f"openbell_state{{{RUNNER}}} == 1", "{{pod}}: {{state}}"),
                shows_name=True,
            ),
            Number(
                "Leading",
                "Whether the runner holds its lease. Without it no order is sent, exits included.",
                Query(f"openbell_leading{{{RUNNER}}}"),
                words=YES_NO,
            ),
            Number(
                "Broker connected",
                "Whether orders can be sent now.",
                Query(f"openbell_broker_connected{{{RUNNER}}}"),
                words=YES_NO,
            ),
            Number(
                "Equity", "As the broker last reported it.", Query(f"openbell_equity{{{RUNNER}}}"), unit="currencyUSD"
            ),
            Number(
                "P&L of the session",
                "In the account's currency.",
                Query(f"openbell_pnl_day{{{RUNNER}}}"),
                "currencyUSD",
            ),
            Number("Open positions", "Monitored for their exits.", Query(f"openbell_open_positions{{{RUNNER}}}")),
            Graph("Equity", "Equity of the account.", [Query(f"openbell_equity{{{RUNNER}}}")], "currencyUSD"),
            Graph(
                "Profit and loss",
                "Of the session, and since the first start.",
                [
                    Query(f"openbell_pnl_day{{{RUNNER}}}", "{{pod}} session"),
                    Query(f"openbell_pnl_total{{{RUNNER}}}", "{{pod}} total"),
                ],
                "currencyUSD",
            ),
        ),
    ),
    (
        "Risk",
        (
            Graph(
                "Open positions, and those with a stop at the broker",
                "Those without one are watched by the runner alone.",
                [
                    Query(f"openbell_open_positions{{{RUNNER}}}", "{{pod}} open"),
                    Query(f"openbell_protected_positions{{{RUNNER}}}", "{{pod}} stop at the broker"),
                ],
                span=8,
            ),
            Graph(
                "Drawdown",
                "How far the equity is below its highest.",
                [Query(f"openbell_drawdown_ratio{{{RUNNER}}}")],
                "percentunit",
                8,
            ),
            Graph(
                "Locks, by scope",
                "They hold openings back until they end or a person lifts them; exits go on.",
                [Query(f"sum by (scope) (openbell_locks{{{RUNNER}}})", "{{scope}}")],
                span=8,
            ),
            Graph(
                "Settled cash",
                "Of cash accounts: what purchases may be paid with.",
                [Query(f"openbell_settled_cash{{{RUNNER}}}")],
                "currencyUSD",
            ),
            Graph(
                "Orders in doubt",
                "The broker was asked for everything and had no certain word on them: entries are held meanwhile.",
                [Query(f"openbell_orders_in_doubt{{{RUNNER}}}")],
            ),
            Graph(
                "Signals that wait",
                "Denied for a reason that passes by itself, and decided again while they live.",
                [Query(f"openbell_signals_waiting{{{RUNNER}}}")],
            ),
        ),
    ),
    (
        "Decisions and orders",
        (
            Graph(
                "Decisions a minute, by reason",
                "What was decided for each evaluation, strategy and symbol, and why.",
                [rate("openbell_decisions_total", "reason")],
            ),
            Graph(
                "Evaluations and signals a minute",
                "Evaluations that were run, those left out because the one before was still running, and signals.",
                [
                    Query(f"60 * sum(rate(openbell_evaluations_total{{{RUNNER}}}[$__rate_interval]))", "evaluations"),
                    Query(
                        f"60 * sum(rate(openbell_evaluations_coalesced_total{{{RUNNER}}}[$__rate_interval]))",
                        "coalesced",
                    ),
                    Query(f"60 * sum(rate(openbell_signals_total{{{RUNNER}}}[$__rate_interval]))", "signals"),
                ],
            ),
            Graph(
                "Orders a minute, by kind",
                "Orders handed to the broker.",
                [rate("openbell_orders_sent_total", "kind")],
                span=8,
            ),
            Graph("Fills a minute, by side", "Executions reported.", [rate("openbell_fills_total", "side")], span=8),
            Graph(
                "Exits a minute, by reason",
                "Positions left, and why.",
                [rate("openbell_exits_total", "reason")],
                span=8,
            ),
        ),
    ),
    (
        "Promptness",
        (
            Graph(
                "Tick lateness, p99",
                "How much later than planned a tick of the loops began.",
                [Query(quantile(0.99, "openbell_tick_lateness_seconds", "pod, loop"), "{{pod}} {{loop}}")],
                "s",
                8,
            ),
            Graph(
                "Bar closed → last order sent",
                "Half of them, and the slowest in a hundred.",
                [
                    Query(quantile(0.5, "openbell_order_latency_seconds"), "{{pod}} p50"),
                    Query(quantile(0.99, "openbell_order_latency_seconds"), "{{pod}} p99"),
                ],
                "s",
                8,
            ),
            Graph(
                "Pause seen → acknowledged, p99",
                "From seeing a pause or stop to its acknowledgement in the status.",
                [Query(quantile(0.99, "openbell_pause_ack_seconds"))],
                "s",
                8,
            ),
            Graph(
                "Evaluation, p99",
                "One evaluation, bars to last decision.",
                [Query(quantile(0.99, "openbell_evaluation_seconds"))],
                "s",
                8,
            ),
            Graph(
                "Journal commit, p99",
                "One commit to the disk.",
                [Query(quantile(0.99, "openbell_journal_commit_seconds"))],
                "s",
                8,
            ),
            Graph("Age of the newest data", "Bar or quote.", [Query(f"openbell_data_age_seconds{{{RUNNER}}}")], "s", 8),
            Graph(
                "Event loop lag, p99",
                "How much later than asked for the runner's event loop woke.",
                [Query(quantile(0.99, "openbell_event_loop_lag_seconds"))],
                "s",
                8,
            ),
            Graph(
                "Interval between evaluations",
                "The shortest one in force; it moves where spec.adaptive is on.",
                [Query(f"openbell_evaluation_interval_seconds{{{RUNNER}}}")],
                "s",
                8,
            ),
            Graph(
                "Lost to slowness a minute",
                "Ticks that the decision trail lost, and events that slow clients of the stream lost.",
                [
                    Query(f"60 * sum(rate(openbell_trail_lost_total{{{RUNNER}}}[$__rate_interval]))", "trail"),
                    Query(f"60 * sum(rate(openbell_stream_dropped_total{{{RUNNER}}}[$__rate_interval]))", "stream"),
                ],
                span=8,
            ),
            Graph("Errors a minute, by kind", "Each was contained.", [rate("openbell_errors_total", "kind")]),
            Graph(
                "Memory of the runners",
                "Resident.",
                [Query(f"process_resident_memory_bytes{{{RUNNER}}}")],
                "bytes",
            ),
        ),
    ),
    (
        "Runners",
        (
            Graph(
                "Epoch",
                "Number of the runner's leadership; a step is a takeover.",
                [Query(f"openbell_epoch{{{RUNNER}}}")],
                span=6,
            ),
            Graph(
                "Generation acted by",
                "Of the scheduler's resource.",
                [Query(f"openbell_observed_generation{{{RUNNER}}}")],
                span=6,
            ),
            Graph(
                "Version",
                "Runners of each version.",
                [Query(f"count by (version) (openbell_build_info{{{RUNNER}}})", "{{version}}")],
                span=6,
            ),
            Graph(
                "Clients of the stream",
                "Pages and programs that listen.",
                [Query(f"openbell_stream_clients{{{RUNNER}}}")],
                span=6,
            ),
        ),
    ),
    (
        "Operator",
        (
            Graph(
                "Queue depth",
                "Keys that wait to be reconciled.",
                [Query('sum by (name) (workqueue_depth{namespace=~"$operator"})', "{{name}}")],
                span=8,
            ),
            Graph(
                "Reconcile time",
                "Half of them, and the slowest in a hundred.",
                [
                    Query(
                        f"histogram_quantile({q}, sum by (le, controller) (rate("
                        'controller_runtime_reconcile_time_seconds_bucket{namespace=~"$operator"}[$__rate_interval])))',
                        f"{{{{controller}}}} {name}",
                    )
                    for q, name in ((0.5, "p50"), (0.99, "p99"))
                ],
                "s",
                8,
            ),
            Graph(
                "Reconciles a minute, by result",
                "Errors are tried again with backoff.",
                [
                    Query(
                        "60 * sum by (controller, result) (rate("
                        'controller_runtime_reconcile_total{namespace=~"$operator"}[$__rate_interval]))',
                        "{{controller}} {{result}}",
                    )
                ],
                span=8,
            ),
        ),
    ),
)


def variable(name: str, label: str, metric: str, target_label: str) -> QueryVariable:
    """A variable with the values that one label of a metric has; all of them by default."""
    query = f"label_values({metric}, {target_label})"
    return (
        QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        # Also series without the label: a runner outside a cluster, scraped as a plain target.
        .all_value(".*")
    )


def dashboard() -> str:
    """The dashboard as Grafana imports it."""
    board = (
        Dashboard("Openbell")
        .uid("openbell")
        .description("Schedulers, their trading and the operator.")
        .tags(["openbell", "trading", "kubernetes"])
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("15s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(variable("namespace", "Namespace", "openbell_leading", "namespace"))
        .with_variable(variable("runner", "Runner", 'openbell_leading{namespace=~"$namespace"}', "pod"))
        .with_variable(variable("operator", "Operator in", "workqueue_depth", "namespace"))
    )
    for title, panels in ROWS:
        board = board.with_row(Row(title))
        for panel in panels:
            board = board.with_panel(panel.panel())
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def main(arguments: list[str]) -> int:
    """Write, or with --check compare."""
    text = dashboard()
    if arguments == ["--check"]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
            return 0
        print(f"{TARGET.name} differs from its source: run hack/grafana.py", file=sys.stderr)
        return 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

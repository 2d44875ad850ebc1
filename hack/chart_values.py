"""The chart's values as a model: values.yaml, values.schema.json and the table in the chart's README are written
from it by `hack/chart.py`, so that a value, its bounds and its description are stated once."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Texts = dict[str, str]


class Block(BaseModel):
    """One object of the values: camelCase outside, nothing but the named fields."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Image(Block):
    repository: str = Field("openbell", min_length=1, description="Image of the operator and, by default, the runners.")
    tag: str = Field("", description="Tag; empty: the chart's appVersion.")
    digest: str = Field("", pattern=r"^(sha256:[0-9a-f]{64})?$", description="Digest; wins over the tag.")
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When the node pulls the image."
    )


class Runner(Block):
    image: str = Field("", description="Image of runners whose scheduler names none; empty: the operator's own.")


class Crds(Block):
    enabled: bool = Field(True, description="Install the custom resource definitions, and upgrade them with the chart.")
    keep: bool = Field(
        True, description="Keep them at uninstall. Without them every scheduler and strategy is deleted as well."
    )
    annotations: Texts = Field(default_factory=dict, description="Annotations on the definitions.")


class ServiceAccount(Block):
    create: bool = Field(True, description="Make a service account for the operator.")
    name: str = Field("", description="Its name; empty: the release's full name, or `default` when none is made.")
    annotations: Texts = Field(default_factory=dict, description="Annotations on it.")


class Rbac(Block):
    create: bool = Field(True, description="Make the roles and bindings that the operator needs.")
    aggregate: bool = Field(True, description="Add our kinds to the cluster's own roles `view`, `edit` and `admin`.")


class Amounts(Block):
    cpu: str = Field("", pattern=r"^([0-9]+(\.[0-9]+)?m?)?$", description="Processor; empty: none stated.")
    memory: str = Field(
        "", pattern=r"^([0-9]+(\.[0-9]+)?(k|Ki|M|Mi|G|Gi)?)?$", description="Memory; empty: none stated."
    )


class Resources(Block):
    requests: Amounts = Field(
        default_factory=lambda: Amounts(cpu="50m", memory="128Mi"), description="What the scheduler sets aside."
    )
    limits: Amounts = Field(
        default_factory=lambda: Amounts(memory="256Mi"),
        description="What the operator may take at most. No processor limit: throttling only delays reconciling.",
    )


class ServiceMonitor(Block):
    enabled: bool = Field(False, description="Make a ServiceMonitor (Prometheus Operator) for the operator.")
    interval: str = Field("30s", pattern=r"^[0-9]+(ms|s|m)$", description="Scrape interval.")
    labels: Texts = Field(default_factory=dict, description="Labels by which your Prometheus selects it.")


class PodMonitor(Block):
    enabled: bool = Field(False, description="Make a PodMonitor for the runners of all watched namespaces.")
    interval: str = Field("15s", pattern=r"^[0-9]+(ms|s|m)$", description="Scrape interval.")
    labels: Texts = Field(default_factory=dict, description="Labels by which your Prometheus selects it.")


class Metrics(Block):
    port: Port = Field(8080, description="Port of the operator's /metrics, /livez and /readyz.")
    service: bool = Field(True, description="Make a Service for the metrics.")
    scrape_annotations: bool = Field(True, description="Put the prometheus.io/* annotations on the operator's pod.")
    service_monitor: ServiceMonitor = Field(
        default_factory=ServiceMonitor, description="Prometheus Operator, operator."
    )
    pod_monitor: PodMonitor = Field(default_factory=PodMonitor, description="Prometheus Operator, runners.")


class Dashboard(Block):
    enabled: bool = Field(False, description="Make a ConfigMap with the Grafana dashboard.")
    namespace: str = Field("", description="Its namespace; empty: the release's.")
    label: str = Field("grafana_dashboard", min_length=1, description="Label by which Grafana's sidecar finds it.")
    label_value: str = Field("1", description="The label's value.")
    annotations: Texts = Field(default_factory=dict, description="Annotations, such as the sidecar's folder.")


class Values(Block):
    """Everything that can be set at `helm install`."""

    image: Image = Field(default_factory=Image, description="Which image runs.")
    image_pull_secrets: list[dict[str, str]] = Field(
        default_factory=list, description="Secrets for a private registry: `[{name: …}]`."
    )
    runner: Runner = Field(default_factory=Runner, description="Defaults of runners.")
    watch_namespaces: list[Namespace] = Field(
        default_factory=list,
        max_length=100,
        description="Namespaces in which schedulers are looked after; empty: all. When set, the operator's "
        "permissions are Roles in these namespaces and nothing cluster-wide.",
    )
    allow_live_trading: bool = Field(
        False,
        description="First of the two statements that real money needs; the other is the scheduler's own "
        "(`spec.mode: Live` with its account).",
    )
    crds: Crds = Field(default_factory=Crds, description="Custom resource definitions.")
    service_account: ServiceAccount = Field(default_factory=ServiceAccount, description="Who the operator is.")
    rbac: Rbac = Field(default_factory=Rbac, description="What it may do.")
    resources: Resources = Field(default_factory=Resources, description="The operator's share of a node.")
    node_selector: Texts = Field(default_factory=dict, description="Nodes on which the operator may run.")
    tolerations: list[dict[str, Any]] = Field(default_factory=list, description="Taints that it tolerates.")
    affinity: dict[str, Any] = Field(default_factory=dict, description="Nodes that it prefers.")
    priority_class_name: str = Field("", description="Its priority class.")
    pod_annotations: Texts = Field(default_factory=dict, description="Annotations on the operator's pod.")
    pod_labels: Texts = Field(default_factory=dict, description="Labels on the operator's pod.")
    metrics: Metrics = Field(default_factory=Metrics, description="Metrics and probes.")
    dashboard: Dashboard = Field(default_factory=Dashboard, description="Grafana.")
    name_override: str = Field("", max_length=40, description="Replaces the chart's name in object names.")
    fullname_override: str = Field("", max_length=40, description="Replaces the whole object name.")

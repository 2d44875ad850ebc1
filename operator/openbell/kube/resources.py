"""The kinds that Openbell reads or writes, and where the API serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from openbell.domain.errors import ClusterError

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as the API sends it."""

GROUP = "openbell.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind and its place in the API. The core group is the empty string."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def prefix(self) -> str:
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


TRADING_SCHEDULERS = Resource(GROUP, VERSION, "tradingschedulers", "TradingScheduler")
STRATEGIES = Resource(GROUP, VERSION, "strategies", "Strategy")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
SERVICES = Resource("", "v1", "services", "Service")
VOLUME_CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
PODS = Resource("", "v1", "pods", "Pod")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
NODES = Resource("", "v1", "nodes", "Node")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
CLUSTER_ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
CUSTOM_RESOURCE_DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"
)

ALL = (
    TRADING_SCHEDULERS,
    STRATEGIES,
    SERVICE_ACCOUNTS,
    SERVICES,
    VOLUME_CLAIMS,
    SECRETS,
    CONFIG_MAPS,
    PODS,
    NAMESPACES,
    NODES,
    DEPLOYMENTS,
    ROLES,
    ROLE_BINDINGS,
    CLUSTER_ROLES,
    CLUSTER_ROLE_BINDINGS,
    LEASES,
    EVENTS,
    CUSTOM_RESOURCE_DEFINITIONS,
)
_BY_KIND = {(resource.api_version, resource.kind): resource for resource in ALL}


def resource_of(obj: Object) -> Resource:
    """The resource an object belongs to; ClusterError names a kind that Openbell does not know."""
    key = (str(obj.get("apiVersion", "")), str(obj.get("kind", "")))
    try:
        return _BY_KIND[key]
    except KeyError:
        raise ClusterError(f"The kind {key[1]!r} of {key[0]!r} is not one that Openbell reads or writes.") from None

"""What the operator must be allowed, as data; the chart's roles are written from it, and tests hold it to the code.

A Role may only be made by somebody who holds every permission in it (or `escalate`, which the operator does not have),
so the runner's rules are part of the operator's own, without the names. There is no `bind` either, and Secrets can be
created but never read.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from openbell.controller.desired.access import runner_rules

RuleData: TypeAlias = dict[str, Any]


def _rule(group: str, resources: list[str], verbs: list[str]) -> RuleData:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


_CHILD = ["get", "list", "watch", "create", "patch"]

_NAMESPACE = _rule("", ["namespaces"], ["get"])

_OPERATOR: tuple[RuleData, ...] = (
    # patch: the finalizer and the canary's touch; create: the canary.
    _rule("openbell.dev", ["tradingschedulers"], ["get", "list", "watch", "create", "patch"]),
    # An owner reference that blocks its owner's deletion needs this where that admission check is on.
    _rule("openbell.dev", ["tradingschedulers/finalizers"], ["update"]),
    _rule("openbell.dev", ["strategies"], ["get", "list", "watch"]),
    _rule("openbell.dev", ["tradingschedulers/status", "strategies/status"], ["get", "patch"]),
    _rule("apps", ["deployments"], _CHILD),
    _rule("", ["serviceaccounts"], [*_CHILD, "delete"]),
    _rule("", ["services", "persistentvolumeclaims"], _CHILD),
    _rule("rbac.authorization.k8s.io", ["roles", "rolebindings"], _CHILD),
    _rule("coordination.k8s.io", ["leases"], _CHILD),
    _rule("", ["pods"], ["get", "list", "watch"]),
    _rule("", ["secrets"], ["create"]),
    _rule("events.k8s.io", ["events"], ["create"]),
    # Whether the namespace is being deleted, in which no finalizer is waited for.
    _NAMESPACE,
)


def _joined(rules: list[RuleData]) -> list[RuleData]:
    """One rule for each resource, its verbs together, in the order of first mention."""
    verbs: dict[tuple[str, str], dict[str, None]] = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                verbs.setdefault((group, resource), {}).update(dict.fromkeys(rule["verbs"]))
    return [_rule(group, [resource], list(names)) for (group, resource), names in verbs.items()]


def _granted() -> list[RuleData]:
    return [
        {key: value for key, value in rule.items() if key != "resourceNames"} for rule in runner_rules("", "", ("",))
    ]


WATCHED_RULES: tuple[RuleData, ...] = tuple(_joined([*_OPERATOR, *_granted()]))
"""In every namespace that is watched: by a ClusterRole, or by a Role in each of them."""

CLUSTER_RULES: tuple[RuleData, ...] = (_NAMESPACE,)
"""Only where all namespaces are watched."""

OWN_RULES: tuple[RuleData, ...] = (_rule("coordination.k8s.io", ["leases"], ["get", "create", "update", "patch"]),)
"""In the operator's own namespace: the Lease of its election."""

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
    # Whether a namespace is being deleted, in which no finalizer is waited for.
    _rule("", ["namespaces"], ["get"]),
)


def watched_rules() -> list[RuleData]:
    """In every namespace that is watched: a ClusterRole, or a Role in each of them."""
    granted = [{key: value for key, value in rule.items() if key != "resourceNames"} for rule in runner_rules("", "")]
    return _joined([*_OPERATOR, *granted])


def own_rules() -> list[RuleData]:
    """In the operator's own namespace: the Lease of its election."""
    return [_rule("coordination.k8s.io", ["leases"], ["get", "create", "update", "patch"])]


def _joined(rules: list[RuleData]) -> list[RuleData]:
    """One rule for each resource, its verbs together, in the order of first mention."""
    verbs: dict[tuple[str, str], dict[str, None]] = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                verbs.setdefault((group, resource), {}).update(dict.fromkeys(rule["verbs"]))
    return [_rule(group, [resource], list(names)) for (group, resource), names in verbs.items()]

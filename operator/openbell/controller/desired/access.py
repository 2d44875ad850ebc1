"""What the runner may do in the cluster: read itself and its strategies, report, and hold its lease."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from openbell.controller.desired.owner import Owner, child
from openbell.kube.resources import CONFIG_MAPS, GROUP, LEASES, ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS, Object


def service_account(owner: Owner) -> Object:
    return child(SERVICE_ACCOUNTS.api_version, SERVICE_ACCOUNTS.kind, owner.metadata(owner.runner))


def named_config_maps(strategies: Iterable[Object]) -> tuple[str, ...]:
    """The ConfigMaps that hold the classes of these strategies, each once."""
    names = set()
    for each in strategies:
        source = (each.get("spec") or {}).get("source") or {}
        name = (source.get("configMap") or {}).get("name")
        if name:
            names.add(str(name))
    return tuple(sorted(names))


def runner_rules(scheduler: str, lease: str, config_maps: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The rules of a runner's Role. The operator must hold every one of them itself, or it may not grant them."""
    sources = list(config_maps)
    rules: list[dict[str, Any]] = [
        {
            # list and watch work by name too, with the field selector metadata.name; patch is for REST lifecycle calls.
            "apiGroups": [GROUP],
            "resources": ["tradingschedulers"],
            "resourceNames": [scheduler],
            "verbs": ["get", "list", "watch", "patch"],
        },
        {
            "apiGroups": [GROUP],
            "resources": ["tradingschedulers/status"],
            "resourceNames": [scheduler],
            "verbs": ["get", "patch"],
        },
        {
            "apiGroups": [GROUP],
            "resources": ["strategies"],
            "verbs": ["get", "list", "watch", "create", "patch"],
        },
        {
            "apiGroups": [GROUP],
            "resources": ["strategies/status"],
            "verbs": ["get", "patch"],
        },
        {
            "apiGroups": [LEASES.group],
            "resources": [LEASES.plural],
            "resourceNames": [lease],
            "verbs": ["get", "update", "patch"],
        },
    ]
    if sources:
        # The classes of custom strategies: these ConfigMaps and no other, of which a namespace holds many.
        rules.append(
            {
                "apiGroups": [CONFIG_MAPS.group],
                "resources": [CONFIG_MAPS.plural],
                "resourceNames": sources,
                "verbs": ["get", "list", "watch"],
            }
        )
    return rules


def role(owner: Owner, config_maps: Iterable[str] = ()) -> Object:
    return child(
        ROLES.api_version,
        ROLES.kind,
        owner.metadata(owner.runner),
        rules=runner_rules(owner.name, owner.runner, config_maps),
    )


def role_binding(owner: Owner, service_account_name: str) -> Object:
    return child(
        ROLE_BINDINGS.api_version,
        ROLE_BINDINGS.kind,
        owner.metadata(owner.runner),
        roleRef={"apiGroup": ROLES.group, "kind": ROLES.kind, "name": owner.runner},
        subjects=[{"kind": SERVICE_ACCOUNTS.kind, "name": service_account_name, "namespace": owner.namespace}],
    )

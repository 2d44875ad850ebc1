"""All children of one scheduler together, in the order in which they are applied."""

from __future__ import annotations

from collections.abc import Iterable

from openbell.controller.desired.access import role, role_binding, service_account
from openbell.controller.desired.network import service
from openbell.controller.desired.owner import Owner
from openbell.controller.desired.storage import lease
from openbell.controller.desired.workload import service_account_name
from openbell.controller.diff import HASH_ANNOTATION, applied_hash
from openbell.kube.resources import Object
from openbell.resources.scheduler import SchedulerSpec


def surroundings(owner: Owner, spec: SchedulerSpec, config_maps: Iterable[str] = ()) -> list[Object]:
    """Everything that a runner pod needs around it, but its volume, token and Deployment.

    `config_maps` are those that hold the classes of its strategies.
    """
    objects = [
        role(owner, config_maps),
        role_binding(owner, service_account_name(owner, spec)),
        service(owner),
        lease(owner),
    ]
    if not spec.runner.service_account_name:
        objects.insert(0, service_account(owner))
    return [sealed(each) for each in objects]


def sealed(obj: Object) -> Object:
    """The object with the hash of all that we apply, so that fields which are no longer wanted are found.

    Replicas are left out: they follow the pods, not the inputs.
    """
    metadata = dict(obj["metadata"])
    inputs = obj | {"spec": {key: value for key, value in obj.get("spec", {}).items() if key != "replicas"}}
    metadata["annotations"] = metadata.get("annotations", {}) | {HASH_ANNOTATION: applied_hash(inputs)}
    return obj | {"metadata": metadata}

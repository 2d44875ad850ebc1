"""How others reach the runner: its Service, and the token that its write routes want."""

from __future__ import annotations

from openbell.controller.desired.owner import API_PORT, Owner, child
from openbell.kube.resources import SECRETS, SERVICES, Object


def service(owner: Owner) -> Object:
    return child(
        SERVICES.api_version,
        SERVICES.kind,
        owner.metadata(owner.service),
        spec={
            "type": "ClusterIP",
            "selector": owner.selector,
            "ports": [{"name": "api", "port": API_PORT, "targetPort": "api", "protocol": "TCP"}],
        },
    )


def token_secret(owner: Owner, token: str) -> Object:
    """The API token. The operator may only create Secrets, so it never reads one back."""
    return child(
        SECRETS.api_version,
        SECRETS.kind,
        owner.metadata(owner.token),
        type="Opaque",
        stringData={"token": token},
    )

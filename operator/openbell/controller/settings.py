"""What the operator is told by its Deployment: environment variables with defaults."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from openbell.domain.errors import ManifestError

DEFAULT_IMAGE = "openbell:latest"
DEFAULT_PORT = 8080


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Namespaces to watch (none: all), who we are, the runners' image, how hard to work, whether Live is allowed."""

    namespace: str = "default"
    identity: str = "openbell-operator"
    namespaces: tuple[str, ...] = ()
    runner_image: str = DEFAULT_IMAGE
    host: str = "0.0.0.0"  # noqa: S104 - the kubelet's probes and Prometheus come from outside the pod
    port: int = DEFAULT_PORT
    workers: int = 10
    write_rate: float = 400.0
    write_burst: float = 400.0
    resync_seconds: float = 600.0
    canary_seconds: float = 30.0
    elect: bool = True
    allow_live: bool = False

    @property
    def canary_namespace(self) -> str:
        """Our own namespace, or where that is not watched, the first that is."""
        if not self.namespaces or self.namespace in self.namespaces:
            return self.namespace
        return self.namespaces[0]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], *, namespace: str = "default") -> OperatorSettings:
        """From OPENBELL_* and the downward API; `namespace` is that of the credentials. Raises ManifestError."""
        default = cls()
        watched = tuple(part.strip() for part in environment.get("OPENBELL_WATCH_NAMESPACES", "").split(",") if part)
        return cls(
            namespace=environment.get("POD_NAMESPACE") or namespace,
            identity=environment.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            namespaces=watched,
            runner_image=environment.get("OPENBELL_RUNNER_IMAGE") or DEFAULT_IMAGE,
            host=environment.get("OPENBELL_METRICS_HOST") or default.host,
            port=int(_number(environment, "OPENBELL_METRICS_PORT", DEFAULT_PORT, 0, 65535)),
            workers=int(_number(environment, "OPENBELL_WORKERS", default.workers, 1, 200)),
            write_rate=_number(environment, "OPENBELL_WRITE_RATE", default.write_rate, 1, 100_000),
            write_burst=_number(environment, "OPENBELL_WRITE_BURST", default.write_burst, 1, 100_000),
            resync_seconds=_number(environment, "OPENBELL_RESYNC_SECONDS", default.resync_seconds, 10, 86_400),
            allow_live=_truth(environment, "OPENBELL_ALLOW_LIVE"),
        )


def _truth(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "")
    if text not in ("", "true", "false"):
        raise ManifestError(f"{name} is {text!r}; allowed is true or false.")
    return text == "true"


def _number(environment: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise ManifestError(f"{name} is {text!r}; allowed is a number from {least:g} to {most:g}.")
    return value

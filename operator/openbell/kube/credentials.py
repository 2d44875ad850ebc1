"""Where the API server is and who we are to it: read by the `kubernetes` package, kept fresh here.

The package is imported only when credentials are loaded, because it costs 20 MB and half a second.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openbell.domain.errors import ClusterError

TOKEN_LIFETIME_SECONDS = 30.0
"""How long a token is used before the source is asked again; bound tokens in a pod are rotated well before expiry."""


@dataclass(slots=True)
class Credentials:
    """Server address, TLS and the way to a current authorization header. Belongs to one event loop."""

    server: str
    tls: ssl.SSLContext | None
    namespace: str
    proxy: str | None
    _configuration: Any
    _token_until: float = 0.0
    _authorization: str | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def authorization(self, *, refresh: bool = False) -> str | None:
        """The value of the Authorization header, or None when the certificate says who we are."""
        if not refresh and time.monotonic() < self._token_until:
            return self._authorization
        async with self._lock:
            if refresh or time.monotonic() >= self._token_until:
                # Reading a file or starting a credential plugin blocks, so it happens in a thread.
                self._authorization = await asyncio.to_thread(_authorization, self._configuration)
                self._token_until = time.monotonic() + TOKEN_LIFETIME_SECONDS
        return self._authorization


async def load_credentials(kubeconfig: Path | None = None) -> Credentials:
    """Credentials from `kubeconfig`, else from the pod's service account, else from KUBECONFIG or ~/.kube/config.

    Raises ClusterError when none of them can be read.
    """
    return await asyncio.to_thread(_load, kubeconfig)


def _load(kubeconfig: Path | None) -> Credentials:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    configuration = Configuration()
    account = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    in_cluster = kubeconfig is None and "KUBECONFIG" not in os.environ and (account / "token").exists()
    try:
        if in_cluster:
            InClusterConfigLoader(
                token_filename=str(account / "token"), cert_filename=str(account / "ca.crt")
            ).load_and_set(configuration)
            namespace = (account / "namespace").read_text().strip()
        else:
            namespace = _load_file(kubeconfig, configuration)
    except (ConfigException, OSError, ValueError) as error:
        raise ClusterError(
            f"No credentials for a Kubernetes API server were found: {error}; "
            "run in a pod with a service account, set KUBECONFIG, or have a ~/.kube/config."
        ) from error
    server = str(configuration.host).rstrip("/")
    return Credentials(
        server=server,
        tls=_tls(configuration) if server.startswith("https") else None,
        namespace=namespace or "default",
        proxy=configuration.proxy,
        _configuration=configuration,
    )


def _load_file(kubeconfig: Path | None, configuration: Any) -> str:
    from kubernetes.config.kube_config import KubeConfigLoader, KubeConfigMerger

    # KUBECONFIG is read at call time: the package's own default is frozen when it is imported.
    paths = str(kubeconfig) if kubeconfig is not None else os.environ.get("KUBECONFIG", "~/.kube/config")
    merged = KubeConfigMerger(paths).config
    if merged is None:
        raise ValueError(f"{paths} holds no configuration")
    loader = KubeConfigLoader(config_dict=merged, config_base_path=None)
    loader.load_and_set(configuration)
    return str(loader.current_context["context"].get("namespace") or "default")


def _tls(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # Cluster certificates are often issued by tools that leave out the key usage extension.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _authorization(configuration: Any) -> str | None:
    key: str | None = configuration.get_api_key_with_prefix("BearerToken")
    if key is not None:
        scheme, _, rest = key.partition(" ")
        return f"{scheme.capitalize()} {rest}" if rest else f"Bearer {scheme}"
    if configuration.username and configuration.password:
        pair = f"{configuration.username}:{configuration.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()
    return None

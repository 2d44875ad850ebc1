"""A real API server and its etcd, without nodes or controllers, started in seconds and ended by process id.

    with serve(folder) as server:
        server.kubectl("get", "tsch", "-A")
        server.request("GET", "/apis/openbell.dev/v1alpha1/strategies")

RBAC is on. `token(namespace, service_account)` is a credential for `request` and `kubeconfig_for`. Nothing acts on
objects here: a namespace that is deleted stays Terminating, a Deployment makes no pods.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 10.0
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_libc = ctypes.CDLL(None)


class StartError(RuntimeError):
    """A program did not start; the message ends with the last lines of its log."""


def binaries() -> Path:
    """The folder of kube-apiserver, etcd and kubectl; what is missing is built first, which takes minutes once."""
    cache = os.environ.get("OPENBELL_CACHE") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openbell"
    )
    script = ROOT / "hack" / "cluster" / "binaries.sh"
    subprocess.run([script, "kube-apiserver", "etcd", "kubectl"], check=True, timeout=1800)
    return Path(cache) / "bin"


@dataclass(frozen=True)
class Answer:
    """What the API server said: HTTP status, the object, and the texts of its Warning headers."""

    status: int
    body: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def message(self) -> str:
        """The message of a Status object; empty for anything else."""
        return str(self.body.get("message", "")) if self.body.get("kind") == "Status" else ""


@dataclass(frozen=True)
class ApiServer:
    """A running API server and an administrator's credentials for it."""

    url: str
    kubeconfig: Path
    admin_token: str
    certificate: Path
    bin: Path
    pid: int
    client: httpx.Client

    def kubectl(
        self, *args: str, stdin: str | None = None, check: bool = True, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator; with `check`, a failure raises with what kubectl said."""
        done = subprocess.run(
            [self.bin / "kubectl", "--kubeconfig", kubeconfig or self.kubeconfig, *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(self.kubeconfig.parent)},
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(args)} answered {done.returncode}: {done.stderr}")
        return done

    def request(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json", token: str | None = None
    ) -> Answer:
        """One HTTP request, as administrator unless a token is given; errors are answers too."""
        headers = {"Authorization": f"Bearer {token or self.admin_token}", "Content-Type": content}
        answer = self.client.request(method, path, content=None if body is None else json.dumps(body), headers=headers)
        return _answer(answer)

    def token(self, namespace: str, service_account: str) -> str:
        """A token of a service account, which is made where it does not exist."""
        base = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.request("POST", base, {"metadata": {"name": service_account}})
        path = f"{base}/{service_account}/token"
        answer = self.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"})
        assert answer.status == 201, answer.message
        return str(answer.body["status"]["token"])

    def kubeconfig_for(self, token: str, path: Path) -> Path:
        """Write a kubeconfig with another credential than the administrator's."""
        path.write_text(_kubeconfig(self.url, self.certificate, token))
        return path


@contextlib.contextmanager
def serve(folder: Path, *, flags: Sequence[str] = ()) -> Iterator[ApiServer]:
    """An API server whose files are all in `folder`; ended, with its etcd, when the block is left."""
    folder.mkdir(parents=True, exist_ok=True)
    programs = binaries()
    with contextlib.ExitStack() as stack:
        etcd_port, peer, port = _free_ports(3)
        etcd_url = f"http://127.0.0.1:{etcd_port}"
        etcd = stack.enter_context(
            _running(
                folder / "etcd.log",
                [
                    str(programs / "etcd"),
                    f"--data-dir={folder / 'etcd'}",
                    f"--listen-client-urls={etcd_url}",
                    f"--advertise-client-urls={etcd_url}",
                    f"--listen-peer-urls=http://127.0.0.1:{peer}",
                    "--unsafe-no-fsync",
                    "--logger=zap",
                    "--log-level=warn",
                ],
            )
        )
        _await(etcd, folder / "etcd.log", etcd_url, "/health")

        admin_token = secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f"{admin_token},admin,admin,system:masters\n")
        certificates = folder / "certificates"
        # The serving key, which the API server makes itself, signs the service accounts' tokens too.
        key = certificates / "apiserver.key"
        process = stack.enter_context(
            _running(
                folder / "kube-apiserver.log",
                [
                    str(programs / "kube-apiserver"),
                    f"--etcd-servers={etcd_url}",
                    "--bind-address=127.0.0.1",
                    "--advertise-address=127.0.0.1",
                    f"--secure-port={port}",
                    f"--cert-dir={certificates}",
                    f"--token-auth-file={folder / 'tokens.csv'}",
                    "--authorization-mode=RBAC",
                    "--service-account-issuer=https://kubernetes.default.svc",
                    f"--service-account-key-file={key}",
                    f"--service-account-signing-key-file={key}",
                    "--service-cluster-ip-range=10.0.0.0/16",
                    # Without controllers a namespace has no default service account to wait for.
                    "--disable-admission-plugins=ServiceAccount",
                    "--endpoint-reconciler-type=none",
                    "--shutdown-delay-duration=0s",
                    *flags,
                ],
            )
        )
        url = f"https://127.0.0.1:{port}"
        certificate = certificates / "apiserver.crt"
        _await(process, folder / "kube-apiserver.log", url, "/readyz", certificate, admin_token)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(_kubeconfig(url, certificate, admin_token))
        client = stack.enter_context(httpx.Client(base_url=url, verify=_trusting(certificate), timeout=30))
        yield ApiServer(url, kubeconfig, admin_token, certificate, programs, process.pid, client)


def install_definitions(server: ApiServer) -> None:
    """Our CRDs from `crds/`, established."""
    folder = str(ROOT / "crds")
    server.kubectl("apply", "--server-side", "-f", folder)
    server.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", folder)


def wait_until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether a condition comes true in time; for what the API server does by itself and announces nowhere."""
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


def _answer(answer: httpx.Response) -> Answer:
    try:
        body = answer.json()
    except ValueError:
        body = {"content": answer.text}
    # A header looks like: 299 - "unknown field \"spec.x\""
    warnings = tuple(json.loads(warning.split(" ", 2)[2]) for warning in answer.headers.get_list("Warning"))
    return Answer(answer.status_code, body, warnings)


def _kubeconfig(url: str, certificate: Path, token: str) -> str:
    def one(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": "test", kind: content}

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [one("cluster", {"server": url, "certificate-authority": str(certificate)})],
            "users": [one("user", {"token": token})],
            "contexts": [one("context", {"cluster": "test", "user": "test"})],
            "current-context": "test",
        }
    )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def _die_with_parent() -> None:
    _libc.prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM: a test run that is killed leaves nothing behind


@contextlib.contextmanager
def _running(log: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=_die_with_parent)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def _await(
    process: subprocess.Popen[bytes], log: Path, url: str, path: str, certificate: Path | None = None, token: str = ""
) -> None:
    """Return as soon as the address answers; raise StartError when the program ends or is too slow."""
    limit = time.monotonic() + START_SECONDS
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    while time.monotonic() < limit and process.poll() is None:
        # The certificate is made by the server itself, so it may not be there yet.
        if certificate is None or certificate.exists():
            with contextlib.suppress(httpx.TransportError, ssl.SSLError):
                verify = _trusting(certificate) if certificate else False
                if httpx.get(url + path, headers=headers, verify=verify, timeout=2).status_code == 200:
                    return
        time.sleep(0.1)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise StartError(f"{log.stem} did not start:\n{tail}")

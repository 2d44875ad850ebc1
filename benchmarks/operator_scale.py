"""The operator at 1,000 schedulers and 5,000 strategies, on a real API server, beside that server's raw speed.

    python benchmarks/operator_scale.py [--schedulers N] [--strategies-each N] [--json FILE]

Measured in one run: mutating requests a second of one client alone (the same kinds of objects, as many requests at a
time as the operator has workers); then of the operator until every scheduler has all its children; its memory; and
its mutating requests in a restart with nothing changed, counted by the API server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "api"), str(ROOT / "operator")]

from apiserver import ApiServer, install_definitions, serve  # noqa: E402

from openbell.controller.desired.children import sealed, surroundings  # noqa: E402
from openbell.controller.desired.owner import Owner  # noqa: E402
from openbell.controller.desired.storage import volume_claim  # noqa: E402
from openbell.controller.desired.workload import deployment  # noqa: E402
from openbell.kube.client import DEPLOYMENTS, TRADING_SCHEDULERS, KubeClient, Object  # noqa: E402
from openbell.resources.scheduler import SchedulerSpec  # noqa: E402

WORKERS = 10
RAW_SETS = 60
QUIET_SECONDS = 45
MUTATING = re.compile(r'verb="(APPLY|POST|PUT|PATCH|DELETE)"')
NAMESPACE = "scale"


@dataclass(frozen=True, slots=True)
class Result:
    """All numbers of one run; goals stand in the design."""

    raw_per_second: float
    operator_per_second: float
    schedulers_per_second: float
    seconds: float
    resident_mib: float
    peak_mib: float
    restart_writes: int

    @property
    def ratio(self) -> float:
        return self.operator_per_second / self.raw_per_second

    def lines(self) -> Iterator[str]:
        yield f"raw mutating requests/s of one client      {self.raw_per_second:8.1f}"
        yield f"operator's mutating requests/s             {self.operator_per_second:8.1f}"
        yield f"ratio (goal 0.40, stretch 0.60)            {self.ratio:8.2f}"
        yield f"schedulers/s (a Go peer: 6)                {self.schedulers_per_second:8.1f}"
        yield f"seconds to all children                    {self.seconds:8.1f}"
        yield f"resident MiB (goal 175, stretch 150)       {self.resident_mib:8.1f}"
        yield f"peak MiB                                   {self.peak_mib:8.1f}"
        yield f"writes in a restart (goal 0)               {self.restart_writes:8d}"


async def raw_rate(client: KubeClient) -> float:
    """Applies of the same kinds of objects that the operator applies, as fast as this server takes them."""
    spec = SchedulerSpec()
    objects: list[Object] = []
    for index in range(RAW_SETS):
        owner = Owner(f"raw-{index:04d}", "raw", "00000000-0000-0000-0000-000000000000")
        claim = volume_claim(owner, spec.runner.storage, spec.runner.retain)
        workload = deployment(owner, spec, image="openbell:bench", replicas=0)
        objects += [*surroundings(owner, spec), sealed(claim), sealed(workload)]
    for each in objects:
        del each["metadata"]["labels"]["app.kubernetes.io/managed-by"]  # the operator is not to see them
    waiting = iter(objects)

    async def worker() -> None:
        for each in waiting:
            await client.apply(each, field_manager="benchmark")

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(worker())
    return len(objects) / (time.monotonic() - began)


async def create_resources(client: KubeClient, schedulers: int, strategies_each: int) -> None:
    meta = {"apiVersion": "openbell.dev/v1alpha1"}
    objects: list[Object] = []
    for index in range(schedulers):
        name = f"s-{index:04d}"
        objects.append(
            meta
            | {
                "kind": "TradingScheduler",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"enabled": True},
            }
        )
        objects += [
            meta
            | {
                "kind": "Strategy",
                "metadata": {"name": f"{name}-{number}", "namespace": NAMESPACE},
                "spec": {"schedulerRef": {"name": name}, "type": "Momentum", "symbols": ["AAPL", "MSFT", "IBM"]},
            }
            for number in range(strategies_each)
        ]
    waiting = iter(objects)

    async def worker() -> None:
        for each in waiting:
            await client.create(each)

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(worker())


async def mutating_requests(client: KubeClient, *, but_leases: bool = True) -> int:
    """As the API server has counted them; the operator's own Lease left out."""
    total = 0.0
    for line in (await client.raw("/metrics")).splitlines():
        if line.startswith("apiserver_request_total") and MUTATING.search(line):
            if but_leases and 'resource="leases"' in line and 'verb="APPLY"' not in line:
                continue
            total += float(line.rsplit(" ", 1)[1])
    return int(total)


@contextmanager
def running_operator(server: ApiServer, port: int, log: Path) -> Iterator[Popen[bytes]]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "operator"),
        "POD_NAME": "bench",
        "POD_NAMESPACE": "default",
        "OPENBELL_METRICS_HOST": "127.0.0.1",
        "OPENBELL_METRICS_PORT": str(port),
        "OPENBELL_WORKERS": str(WORKERS),
        "OPENBELL_WRITE_RATE": "100000",
        "OPENBELL_WRITE_BURST": "100000",
    }
    command = [sys.executable, "-m", "openbell.cli", "operator", "--kubeconfig", str(server.kubeconfig)]
    with log.open("wb") as output, Popen(command, env=environment, stdout=DEVNULL, stderr=output) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def scraped(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name):
                return float(line.rsplit(" ", 1)[1])
    raise KeyError(name)


def memory_mib(pid: int, field: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    assert found is not None
    return int(found.group(1)) / 1024


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def until_ready(port: int) -> None:
    for _ in range(600):
        if await asyncio.to_thread(is_ready, port):
            return
        await asyncio.sleep(0.2)
    raise TimeoutError("the operator was not ready within two minutes")


async def until_raised(client: KubeClient, schedulers: int) -> None:
    """Until every runner's Deployment, the last child of all, stands at one replica and every status is written."""
    while True:
        workloads, _ = await client.list(DEPLOYMENTS, NAMESPACE)
        if sum(each["spec"]["replicas"] for each in workloads) >= schedulers:
            found, _ = await client.list(TRADING_SCHEDULERS, NAMESPACE)
            if all((each.get("status") or {}).get("strategies") for each in found):
                return
        await asyncio.sleep(1.0)


async def until_settled(client: KubeClient) -> None:
    """Until two counts, ten seconds apart, are the same but for a touch of the canary."""
    count = await mutating_requests(client)
    while True:
        await asyncio.sleep(10.0)
        count, before = await mutating_requests(client), count
        if count - before <= 1:
            return


async def measure(server: ApiServer, folder: Path, schedulers: int, strategies_each: int) -> Result:
    client = await KubeClient.connect(server.kubeconfig)
    for name in ("raw", NAMESPACE):
        await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    raw = await raw_rate(client)
    print(f"raw: {raw:.0f} requests/s; creating {schedulers} schedulers …", flush=True)
    await create_resources(client, schedulers, strategies_each)
    before = await mutating_requests(client)
    port = 18000 + os.getpid() % 2000
    with running_operator(server, port, folder / "operator.log") as process:
        await until_ready(port)
        began = time.monotonic()
        print("operator is ready …", flush=True)
        await until_raised(client, schedulers)
        seconds = time.monotonic() - began
        made = await mutating_requests(client) - before
        print(f"all children after {seconds:.1f} s and {made} writes; settling …", flush=True)
        await asyncio.sleep(QUIET_SECONDS)
        await until_settled(client)
        resident, peak = memory_mib(process.pid, "VmRSS"), memory_mib(process.pid, "VmHWM")
    before = await mutating_requests(client)
    with running_operator(server, port, folder / "operator-again.log") as process:
        await until_ready(port)
        await asyncio.sleep(QUIET_SECONDS)
        touches = await asyncio.to_thread(scraped, port, "openbell_operator_canary_touches_total")
        writes = await mutating_requests(client) - before - int(touches)
        resident = max(resident, memory_mib(process.pid, "VmRSS"))
        peak = max(peak, memory_mib(process.pid, "VmHWM"))
    await client.close()
    return Result(raw, made / seconds, schedulers / seconds, seconds, resident, peak, writes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedulers", type=int, default=1000)
    parser.add_argument("--strategies-each", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serve(Path(name)) as server:
        install_definitions(server)
        result = asyncio.run(measure(server, Path(name), options.schedulers, options.strategies_each))
    print("\n".join(result.lines()))
    if options.json is not None:
        fields: dict[str, Any] = {each: getattr(result, each) for each in Result.__slots__}
        options.json.write_text(json.dumps(fields | {"ratio": result.ratio}, indent=2) + "\n")


if __name__ == "__main__":
    main()

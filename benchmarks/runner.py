"""One runner on a real API server: pause latency, gate under load, start, memory, each beside its reference.

    python benchmarks/runner.py [--rounds N] [--json FILE]

The references are measured in the same run: a bare patch of a resource until a watch shows it, for the pause; a Python
process that only imports the same libraries, for start and memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from subprocess import PIPE, Popen, run

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "api"), str(ROOT / "operator")]

from apiserver import ApiServer, install_definitions, serve  # noqa: E402

from openbell.kube.client import TRADING_SCHEDULERS, KubeClient, Object  # noqa: E402
from openbell.kube.watch import WatchEvent, watch  # noqa: E402

NAMESPACE = "default"
IDLE, BUSY, BARE = "idle", "busy", "bare"
LIBRARIES = (
    "fastapi, uvicorn, uvloop, sqlalchemy, talib, numpy, pydantic_settings, structlog, prometheus_client, aiohttp"
)
BUSY_STRATEGIES, BUSY_SYMBOLS = 100, 10


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds, seconds and MiB; goals stand in the design."""

    bare_p50_ms: float
    bare_p99_ms: float
    pause_p50_ms: float
    pause_p99_ms: float
    busy_gate_p50_ms: float
    busy_gate_p99_ms: float
    import_seconds: float
    start_seconds: float
    import_mib: float
    idle_mib: float
    busy_mib: float

    def lines(self) -> Iterator[str]:
        ratio = self.pause_p99_ms / self.bare_p99_ms
        yield f"patch → watch, bare, p50 / p99 ms                    {self.bare_p50_ms:7.1f} {self.bare_p99_ms:7.1f}"
        yield f"patch → Paused acknowledged, p50 / p99 ms (250)      {self.pause_p50_ms:7.1f} {self.pause_p99_ms:7.1f}"
        yield f"  as a ratio of the bare p99 (goal 3)                {ratio:7.2f}"
        gates = f"{self.busy_gate_p50_ms:7.1f} {self.busy_gate_p99_ms:7.1f}"
        yield f"gate closed, evaluation saturated, p50 / p99 ms (100){gates}"
        yield f"importing the libraries alone, s                     {self.import_seconds:7.2f}"
        yield f"start → first evaluation, s (goal 3, stretch 2)      {self.start_seconds:7.2f}"
        yield f"the libraries alone, MiB                             {self.import_mib:7.1f}"
        yield f"runner, MiB (goal 140, stretch 120)                  {self.idle_mib:7.1f}"
        yield f"runner with {BUSY_STRATEGIES} strategies × {BUSY_SYMBOLS} symbols, MiB      {self.busy_mib:7.1f}"


def scheduler(name: str, interval: int = 1) -> Object:
    return {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "TradingScheduler",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "enabled": True,
            "evaluationIntervalSeconds": interval,
            "market": {"calendar": "Always"},
            "risk": {"maxOrdersPerMinute": 1, "maxOrdersPerDay": 1},
        },
    }


def strategy(of: str, number: int, symbols: int) -> Object:
    return {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "Strategy",
        "metadata": {"name": f"{of}-{number}", "namespace": NAMESPACE},
        "spec": {
            "schedulerRef": {"name": of},
            "type": "Crossover" if number % 2 else "Momentum",
            "symbols": [f"S{index}" for index in range(symbols)],
            "barSeconds": 60,
        },
    }


def compiled(folder: Path) -> dict[str, str]:
    """An environment in which modules are compiled once, as in the image, and not at each start."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(folder / "pycache")}


@contextmanager
def running(server: ApiServer, name: str, folder: Path, port: int) -> Iterator[Popen[bytes]]:
    environment = compiled(folder) | {"PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(server.kubeconfig)}
    command = [sys.executable, "-m", "openbell.cli", "runner", "--scheduler", name, "--namespace", NAMESPACE]
    command += ["--data", str(folder / name), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / f"{name}.log").open("wb") as output, Popen(command, env=environment, stderr=output) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def counted(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/scheduler/status", timeout=2) as answer:
            return int(json.load(answer)["stats"]["evaluations_run"])
    except OSError:
        return 0


async def until_evaluated(port: int, seconds: float = 120.0) -> float:
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while await asyncio.to_thread(counted, port) == 0:  # noqa: ASYNC110 - it is another process's count
            await asyncio.sleep(0.02)
    return time.monotonic() - began


def memory_mib(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


def libraries(folder: Path) -> tuple[float, float]:
    """Seconds and MiB of a process that only imports what a runner imports from others."""
    code = f"import {LIBRARIES}; import re; print(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    began = time.monotonic()
    done = run([sys.executable, "-c", code], stdout=PIPE, check=True, env=compiled(folder))
    return time.monotonic() - began, int(done.stdout) / 1024


@asynccontextmanager
async def events_of(client: KubeClient, name: str) -> AsyncIterator[asyncio.Queue[WatchEvent]]:
    queue: asyncio.Queue[WatchEvent] = asyncio.Queue()

    async def follow() -> None:
        async for event in watch(client, TRADING_SCHEDULERS, NAMESPACE, name=name):
            queue.put_nowait(event)

    task = asyncio.create_task(follow())
    try:
        await asyncio.sleep(0.5)
        yield queue
    finally:
        task.cancel()


async def bare_round(client: KubeClient, events: asyncio.Queue[WatchEvent], number: int) -> float:
    began = time.monotonic()
    patch = {"metadata": {"annotations": {"bench": str(number)}}}
    await client.merge_patch(TRADING_SCHEDULERS, NAMESPACE, BARE, patch, field_manager="bench")
    async with asyncio.timeout(10):
        while True:
            found = (await events.get()).object
            if (found.get("metadata", {}).get("annotations") or {}).get("bench") == str(number):
                return time.monotonic() - began


async def pause_round(client: KubeClient, events: asyncio.Queue[WatchEvent], name: str, paused: bool) -> float:
    began = time.monotonic()
    patched = await client.merge_patch(
        TRADING_SCHEDULERS, NAMESPACE, name, {"spec": {"paused": paused}}, field_manager="bench"
    )
    generation = patched["metadata"]["generation"]
    async with asyncio.timeout(30):
        while True:
            found = (await events.get()).object
            for condition in (found.get("status") or {}).get("conditions") or ():
                is_ours = condition["type"] == "Paused" and condition["status"] == str(paused)
                if is_ours and condition.get("observedGeneration", 0) >= generation:
                    return time.monotonic() - began


def gate_delays(log: Path, patched_at: list[float]) -> list[float]:
    """From each patch to the runner's own line about its gate, on one machine's clock."""
    asked = []
    for line in log.read_text().splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("event") == "state.asked" and event.get("state") == "Paused":
            asked.append(datetime.fromisoformat(event["timestamp"]).timestamp())
    return [after - before for before, after in zip(patched_at, asked, strict=False)]


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def measure(server: ApiServer, folder: Path, rounds: int) -> Result:
    import_seconds, import_mib = min(libraries(folder) for _ in range(3))
    client = await KubeClient.connect(server.kubeconfig)
    for name in (IDLE, BUSY, BARE):
        await client.create(scheduler(name))
    await client.create(strategy(IDLE, 0, 3))
    for number in range(BUSY_STRATEGIES):
        await client.create(strategy(BUSY, number, BUSY_SYMBOLS))
    port = 19000 + os.getpid() % 2000
    bare: list[float] = []
    pauses: list[float] = []
    starts: list[float] = []
    for _ in range(2):
        with running(server, IDLE, folder, port):
            starts.append(await until_evaluated(port))
    with running(server, IDLE, folder, port) as process:
        starts.append(await until_evaluated(port))
        async with events_of(client, BARE) as of_bare, events_of(client, IDLE) as of_idle:
            for number in range(rounds):
                bare.append(await bare_round(client, of_bare, number))
                pauses.append(await pause_round(client, of_idle, IDLE, paused=True))
                await pause_round(client, of_idle, IDLE, paused=False)
                await asyncio.sleep(0.1)
        idle_mib = memory_mib(process.pid)
    patched_at: list[float] = []
    with running(server, BUSY, folder, port + 1) as process:
        await until_evaluated(port + 1)
        async with events_of(client, BUSY) as of_busy:
            for number in range(rounds):
                await asyncio.sleep(0.05 * (number % 20))  # any moment of the evaluation interval
                patched_at.append(time.time())
                await pause_round(client, of_busy, BUSY, paused=True)
                await pause_round(client, of_busy, BUSY, paused=False)
        busy_mib = memory_mib(process.pid)
    gates = gate_delays(folder / f"{BUSY}.log", patched_at)
    await client.close()
    return Result(
        bare_p50_ms=statistics.median(bare) * 1000,
        bare_p99_ms=percentile(bare, 0.99) * 1000,
        pause_p50_ms=statistics.median(pauses) * 1000,
        pause_p99_ms=percentile(pauses, 0.99) * 1000,
        busy_gate_p50_ms=statistics.median(gates) * 1000,
        busy_gate_p99_ms=percentile(gates, 0.99) * 1000,
        import_seconds=import_seconds,
        start_seconds=statistics.median(starts),
        import_mib=import_mib,
        idle_mib=idle_mib,
        busy_mib=busy_mib,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serve(Path(name)) as server:
        install_definitions(server)
        result = asyncio.run(measure(server, Path(name), options.rounds))
    print("\n".join(result.lines()))
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(result), indent=2) + "\n")


if __name__ == "__main__":
    main()

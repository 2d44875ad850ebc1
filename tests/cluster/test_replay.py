"""Thirteen years of daily bars: the same manifest gives the same trades on the cluster and without one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from lab import ROOT, Object, Place

from openbell.resources.load import documents

EXAMPLE = ROOT / "examples" / "replay.yaml"
SECONDS = 240.0


def manifests() -> list[Object]:
    return list(documents(EXAMPLE.read_text()))  # as kubectl reads it: a date stays text


@contextmanager
def standalone(manifest: Path, folder: Path, port: int) -> Iterator[str]:
    """`openbell run` of a manifest, in a process of its own."""
    command = [sys.executable, "-m", "openbell.cli", "run", str(manifest), "--data", str(folder / "data")]
    command += ["--datasets", str(ROOT / "examples" / "data"), "--port", str(port)]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log, env=os.environ) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def finished(address: str) -> dict[str, Any]:
    """The replay's result, once it has ended."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        try:
            found: dict[str, Any] = httpx.get(f"{address}/api/replay", timeout=10).json()
        except httpx.TransportError:
            found = {}
        if found.get("finished"):
            return found
        time.sleep(0.5)
    raise AssertionError(f"the replay has not ended within {SECONDS} s")


def without_cluster(folder: Path, seed: int, port: int) -> dict[str, Any]:
    folder.mkdir()
    found = manifests()
    found[0]["spec"]["broker"]["simulated"]["seed"] = seed
    (folder / "replay.yaml").write_text(yaml.safe_dump_all(found))
    with standalone(folder / "replay.yaml", folder, port) as address:
        return finished(address)


@pytest.mark.timeout(900, func_only=True)
def test_the_same_manifest_gives_the_same_trades_and_another_seed_gives_others(place: Place, tmp_path: Path) -> None:
    for each in manifests():
        place.api.apply(each | {"metadata": each["metadata"] | {"namespace": place.namespace}})
    here = without_cluster(tmp_path / "one", 1, 18391)
    other = without_cluster(tmp_path / "two", 2, 18392)
    status = place.wait(lambda it: "replay finished" in it.get("status", {}).get("why", ""), "replay", SECONDS)[
        "status"
    ]

    path = f"/api/v1/namespaces/{place.namespace}/services/replay-api:8021/proxy/api/replay"
    there = place.api.call("GET", path)
    assert there["finished"]
    assert (there["trades"], there["digest"]) == (here["trades"], here["digest"])
    assert there["digest"][:16] in status["why"]
    assert status["stats"]["exitsExecuted"] == there["trades"] > 300
    assert other["digest"] != here["digest"]

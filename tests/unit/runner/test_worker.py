"""A worker process: what it is kept from, how it is killed and started again, what it says of wrong classes."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes.custom import STREAK, with_body
from fakes.trading import until
from openbell.domain.bars import BarSeries
from openbell.runner.wire import columns_of
from openbell.runner.worker import LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES, Worker, WorkerError, memory_limit

SECONDS = 20.0


def living(group: int) -> list[str]:
    """The processes of a group that have not ended; what nobody has asked after may still stand there as a zombie."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, members_group = file.read_text().rpartition(")")[2].split()[:3]
            if int(members_group) == group and state != "Z":
                found.append(file.parent.name)
    return found


def landlock_version() -> int:
    """What this kernel offers; less than one where it has none."""
    return int(ctypes.CDLL(None).syscall(444, None, 0, 1))


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    made = Worker("test")
    await made.start()
    yield made
    await made.close()


async def load(worker: Worker, source: str | None, name: str = "Rise", **parameters: object) -> dict[str, Any]:
    body = {
        "op": "load",
        "class": name,
        "source": source,
        "where": "the image" if source is None else "ConfigMap c, key k",
        "parameters": parameters,
        "barSeconds": 60,
    }
    return dict((await worker.ask(body, (), SECONDS)).body)


async def evaluate(worker: Worker, *closes: float, held: str = "0", seconds: float = SECONDS) -> dict[str, Any]:
    close = np.array(closes)
    series = BarSeries("AAPL", 60, 1_700_000_000 + 60 * np.arange(len(closes)), close, close, close, close, close)
    body = {
        "op": "evaluate",
        "strategy": "s",
        "priority": 0,
        "now": "2026-03-02T15:00:00+00:00",
        "version": "1",
        "parametersHash": "h",
        "asked": [{"symbol": "AAPL", "barSeconds": 60, "count": len(closes), "position": held}],
    }
    return dict((await worker.ask(body, columns_of(series), seconds)).body)


async def test_a_class_is_loaded_says_what_it_needs_and_gives_signals(worker: Worker) -> None:
    loaded = await load(worker, STREAK, bars=3)
    assert loaded["schema"]["properties"]["bars"]["description"] == "Closes that must have risen."
    assert {name: loaded[name] for name in ("ok", "version", "parameters", "barSeconds", "warmup")} == {
        "ok": True,
        "version": "1.4",
        "parameters": {"bars": 3},
        "barSeconds": 60,
        "warmup": 4,
    }
    answer = await evaluate(worker, 1, 2, 3, 4)
    ((signal,),) = answer["signals"]
    assert (signal["action"], signal["confidence"], signal["reason"]) == ("Buy", 0.8, "rising")
    assert (await evaluate(worker, 1, 2, 3, 2.5, held="10"))["signals"][0][0]["action"] == "Close"
    assert (await evaluate(worker, 1, 2, 3, 2.5))["signals"] == [[]]


async def test_a_class_of_an_installed_module_is_loaded(worker: Worker) -> None:
    loaded = await load(worker, None, "openbell.strategies.momentum:Momentum", lookback=4)
    assert (loaded["ok"], loaded["warmup"]) == (True, 5)


@pytest.mark.parametrize(
    ("source", "name", "parameters", "kind", "sentence"),
    [
        (STREAK, "Rize", {}, "InvalidClass", "there is no strategy class Rize in ConfigMap c, key k; it has Rise"),
        ("x = 1", "Rise", {}, "InvalidClass", "it has no subclass of openbell.strategies.Strategy"),
        ("def f(:", "Rise", {}, "InvalidClass", "ConfigMap c, key k is no Python module: invalid syntax (line 1)"),
        ("\n1 / 0", "Rise", {}, "InvalidClass", "ZeroDivisionError: division by zero (line 2 of ConfigMap c, key k)"),
        ("import nothing_like_it", "Rise", {}, "InvalidClass", "No module named 'nothing_like_it'"),
        ("raise SystemExit(3)", "Rise", {}, "InvalidClass", "SystemExit: 3"),
        (STREAK.replace("def evaluate", "def evaluated"), "Rise", {}, "InvalidClass", "has no evaluate"),
        (STREAK.replace("    Params = Params", ""), "Rise", {}, "InvalidClass", "has no Params"),
        (None, "openbell.nowhere:X", {}, "InvalidClass", "No module named 'openbell.nowhere'"),
        (STREAK, "Rise", {"bars": 0}, "InvalidParameters", "spec.parameters.bars is 0, but must be greater"),
        (STREAK, "Rise", {"bar": 1}, "InvalidParameters", "is not a parameter of Rise, which has bars; did you mean"),
    ],
)
async def test_a_wrong_class_or_parameter_is_named(
    worker: Worker, source: str | None, name: str, parameters: dict[str, object], kind: str, sentence: str
) -> None:
    answer = await load(worker, source, name, **parameters)
    assert (answer["ok"], answer["kind"]) == (False, kind)
    assert sentence in answer["error"]


async def test_what_a_strategy_raises_is_the_tracebacks_last_line_and_the_next_one_is_answered(worker: Worker) -> None:
    await load(worker, with_body("if context.is_flat: 1 / 0\nreturn ()"))
    answer = await evaluate(worker, 1, 2, 3)
    assert answer["error"] == "ZeroDivisionError: division by zero (line 22 of ConfigMap c, key k)"
    assert (await evaluate(worker, 1, 2, 3, held="1"))["signals"] == [[]]


async def test_what_a_strategy_prints_or_reads_does_not_reach_the_pipes(worker: Worker) -> None:
    body = 'print("x" * 10_000)\nsys.stdout.flush()\nos.write(1, b"x")\nreturn () if os.read(0, 1) == b"" else 1'
    await load(worker, with_body(body))
    assert (await evaluate(worker, 1, 2, 3))["signals"] == [[]]


async def test_one_that_is_late_is_killed_with_all_that_it_started_and_started_again(worker: Worker) -> None:
    await load(worker, with_body("if os.fork() == 0: time.sleep(60)\ntime.sleep(60)\nreturn ()"))
    pid = worker.pid
    assert pid is not None
    began = time.monotonic()
    with pytest.raises(WorkerError, match=r"gave no answer within 0\.3 s, and its process was killed"):
        await evaluate(worker, 1, 2, 3, seconds=0.3)
    assert time.monotonic() - began < 5
    assert not worker.is_running
    await until(lambda: not living(pid))
    with pytest.raises(WorkerError, match="its process is not running"):
        await evaluate(worker, 1, 2, 3)
    await worker.start()
    assert worker.pid != pid
    await load(worker, STREAK)
    assert (await evaluate(worker, 1, 2, 3))["ok"] is True


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os._exit(7)", r"its process ended \(exit code 7\) without an answer"),
        ("os.kill(os.getpid(), 11)", r"its process ended \(killed by SIGSEGV\) without an answer"),
    ],
)
async def test_one_that_dies_is_told_with_how(worker: Worker, body: str, words: str) -> None:
    await load(worker, with_body(body))
    with pytest.raises(WorkerError, match=words):
        await evaluate(worker, 1, 2, 3)


async def test_memory_is_limited_to_its_own_process() -> None:
    worker = Worker("test", memory_bytes=LEAST_MEMORY_BYTES)
    await worker.start()
    await load(worker, with_body("len(bytearray(512 * 1024 * 1024))\nreturn ()"))
    assert (await evaluate(worker, 1, 2, 3))["error"].startswith("MemoryError")
    await worker.close()


async def test_neither_variables_nor_descriptors_nor_files_nor_sockets_are_within_its_reach(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENBELL_TOKEN", "secret")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    secret = tmp_path / "token"
    secret.write_text("secret")
    tries = {
        "token": f"open({str(secret)!r}).read()",
        "environment": f"open('/proc/{os.getpid()}/environ').read()",
        "signal": f"os.kill({os.getpid()}, 0)",
    }
    with socket.create_server(("127.0.0.1", 0)) as server:
        inherited = socket.create_connection(server.getsockname())
        inherited.set_inheritable(True)
        tries["connect"] = f"__import__('socket').create_connection(('127.0.0.1', {server.getsockname()[1]}), 1)"
        await worker.start()  # with what is in the environment and open now
        report = [
            "found = {'variables': sorted(os.environ), 'descriptors': []}",
            "for number in range(3, 64):",
            "    try: found['descriptors'].append(os.fstat(number).st_mode & 0o170000)",
            "    except OSError: pass",
            f"for name, code in {tries!r}.items():",
            "    try: found[name] = repr(eval(code))[:40]",
            "    except OSError as error: found[name] = type(error).__name__",
            "raise RuntimeError(__import__('json').dumps(found))",
        ]
        await load(worker, with_body("\n".join(report)))
        text = (await evaluate(worker, 1, 2, 3))["error"]
        inherited.close()
    found = __import__("json").loads(text.removeprefix("RuntimeError: ").partition(" (line")[0])
    assert set(found["variables"]) <= {
        "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "PYTHONPATH", "OPENBLAS_NUM_THREADS", "PYTHONDONTWRITEBYTECODE",
    }  # fmt: skip
    assert found["descriptors"] == [0o010000, 0o010000], "its two pipes"
    assert ("files" in worker.confined) is (landlock_version() >= 1)
    assert ("network" in worker.confined) is (landlock_version() >= 4)
    assert ("signals" in worker.confined) is (landlock_version() >= 6)
    if worker.confined:
        wanted = {"token": "files", "environment": "files", "connect": "network", "signal": "signals"}
        assert {name: found[name] for name, right in wanted.items() if right in worker.confined} == {
            name: "PermissionError" for name, right in wanted.items() if right in worker.confined
        }


async def test_a_request_that_is_given_up_leaves_no_answer_for_the_next(worker: Worker) -> None:
    await load(worker, with_body("time.sleep(0.3)\nreturn ()"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await evaluate(worker, 1, 2, 3)
    with pytest.raises(WorkerError):
        await evaluate(worker, 1, 2, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max\n", MOST_MEMORY_BYTES),
        (str(64 * 1024**3), MOST_MEMORY_BYTES),
        (str(1024**3), 512 * 1024**2),
        (str(128 * 1024**2), LEAST_MEMORY_BYTES),
    ],
)
def test_a_worker_gets_half_of_its_container(tmp_path: Path, text: str, expected: int) -> None:
    file = tmp_path / "memory.max"
    file.write_text(text)
    assert memory_limit(file) == expected
    assert memory_limit(tmp_path / "none") == MOST_MEMORY_BYTES

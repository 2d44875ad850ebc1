"""`openbell gateway-sim` as a process: it says where it listens, does what its scenario says, and ends when told."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from openbell.cli import main


def test_it_says_where_it_listens_and_ends_when_told(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("accounts: [DU7]\nvolatility: 0\n")
    arguments = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--scenario", str(scenario), "--symbol", "ACME"]
    command = [sys.executable, "-m", "openbell.cli", "gateway-sim", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        addresses = dict(
            line.split(" listening on ") for line in (process.stdout.readline(), process.stdout.readline())
        )
        port, door = (int(addresses[name].rpartition(":")[2]) for name in ("gateway", "control"))
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"API\0\0\0\0\x09v157..176\0\0\0\x08" + b"71\x002\x007\x00\x00")
            said = b""
            while b"15\x001\x00DU7\x00" not in said:
                said += client.recv(4096)
        with socket.create_connection(("127.0.0.1", door), timeout=20) as control:
            control.sendall(b'{"do": "move", "symbol": "ACME", "price": 12.5}\n')
            assert json.loads(control.makefile().readline()) == {"ok": None}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["--control", "127.0.0.1:99999"], "'127.0.0.1:99999' is not HOST:PORT"),
        (["--scenario", "missing.yaml"], "missing.yaml cannot be read"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["gateway-sim", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_a_scenario_with_a_mistake_is_told_where_it_is(tmp_path: Path) -> None:
    scenario = tmp_path / "wrong.yaml"
    scenario.write_text("faults: [{kind: Restart}]")
    result = CliRunner().invoke(main, ["gateway-sim", "--scenario", str(scenario)])
    assert (result.exit_code, "say afterSeconds or everySeconds" in result.output) == (2, True)

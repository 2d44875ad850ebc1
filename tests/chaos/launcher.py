"""Starts runners quickly: everything is imported once, then each runner is a fork of this process.

Run as `python launcher.py`. It reads one JSON object a line, `{"argv": [...], "kill_point": "name:n" or "", "log": F,
"planted": NAME or ""}`, forks a process that calls the command line with `argv`, and answers `{"pid": N}` and, when
that process has ended, `{"status": RETURNCODE}`. A bug is planted in the fork alone.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

import planted

from openbell.cli import main
from openbell.journal import killpoints


def work(order: dict[str, Any]) -> int:
    """The child: the real command line, from its arguments to its end."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    killpoints._armed = killpoints._parse(order["kill_point"])
    if order["planted"]:
        planted.BUGS[order["planted"]].plant()
    try:
        main(order["argv"])
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - the end of the child: what it is goes to its log
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = work(order)
            sys.stderr.flush()
            os._exit(status)
        answer({"pid": pid})
        _, status = os.waitpid(pid, 0)
        answer({"status": os.waitstatus_to_exitcode(status)})


def answer(message: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()

"""Starts runners quickly: everything is imported once, then each runner is a fork of this process.

Run as `python launcher.py [FOLDER...]`. It reads one JSON object a line, `{"argv": [...], "kill_point": "name:n" or "",
"log": F, "planted": ["module:function", ...]}`, forks a process that calls the command line with `argv`, and answers
`{"pid": N}` and, when that process has ended, `{"status": RETURNCODE}`. Bugs are planted in the fork alone; their
modules are looked for here and in each FOLDER.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
from typing import Any

from openbell.cli import gateway_sim, main, run
from openbell.journal import killpoints

READY = (run, gateway_sim)  # a command is imported when it is asked for, which takes seconds


def work(order: dict[str, Any]) -> int:
    """The child: the real command line, from its arguments to its end."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    killpoints._armed = killpoints._parse(order["kill_point"])
    try:
        for name in order["planted"]:
            module, _, function = name.partition(":")
            getattr(importlib.import_module(module), function)()
        main(order["argv"])
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - the end of the child: what it is goes to its log
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    gc.freeze()  # what is imported is not looked at again, nor its memory copied, in each fork
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
    sys.path += sys.argv[1:]
    serve()

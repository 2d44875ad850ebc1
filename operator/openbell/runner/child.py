"""The process in which one custom strategy lives: loads its class, checks its parameters, answers evaluations.

Run by `runner.worker` as `python -m openbell.runner.child`. It talks over the two pipes that were its standard input
and output; what the strategy prints goes nowhere. It ends when its input does.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from openbell.domain.errors import ManifestError, OpenbellError
from openbell.domain.signals import Signal
from openbell.runner.confinement import confine
from openbell.runner.wire import COLUMNS, HEADER, Message, decoded, encoded, lengths, series_from
from openbell.strategies.api import Context, ExitSignal, HeldPosition, Strategy, StrategyParams
from openbell.strategies.checks import check_strategy
from openbell.strategies.loader import compact_schema, validated

MODULE = "openbell_custom_strategy"
"""The name under which a ConfigMap's module is loaded."""
CONFIG_MAP = "ConfigMap "
"""How the place of such a module begins, which is also its file name in tracebacks."""
NICENESS = 5
"""A strategy that computes without end is not to take the processor from the exits."""
MAX_REASON = 500  # characters of a signal's reason
Answer = dict[str, Any]


class ClassError(OpenbellError):
    """The class cannot be loaded. Its message says why, and is told to the person who named it."""


class Host:
    """One strategy: first `load`, then any number of evaluations or checks."""

    def __init__(self) -> None:
        self.made: Callable[[], Strategy[Any]] | None = None
        self.strategy: Strategy[Any] | None = None
        self.params: StrategyParams | None = None

    def answer(self, message: Message) -> Answer:
        """The answer to one request. What foreign code raises is part of the answer."""
        handle = {"load": self._load, "evaluate": self._evaluate, "check": self._check}[message.body["op"]]
        try:
            return {"ok": True, **handle(message)}
        except ClassError as error:
            return {"ok": False, "kind": "InvalidClass", "error": str(error)}
        except ManifestError as error:
            return {"ok": False, "kind": "InvalidParameters", "error": str(error)}
        except BaseException as error:  # noqa: BLE001 - the boundary of foreign code, which may raise SystemExit as well
            return {"ok": False, "kind": "Error", "error": last_line(error)}

    def _load(self, message: Message) -> Answer:
        body = message.body
        name = body["class"]
        loaded = load_class(name, body["source"], body["where"])
        try:
            self.made = loaded
            self.strategy = loaded()
        except Exception as error:
            raise ClassError(f"{name} of {body['where']} cannot be made: {last_line(error)}") from error
        self.params = validated(name, loaded.Params, body["parameters"])
        needs = self.strategy.data(self.params, body["barSeconds"])
        return {
            "version": str(getattr(loaded, "version", "")),
            "parameters": self.params.model_dump(mode="json", by_alias=True),
            "schema": compact_schema(loaded.Params),
            "barSeconds": int(needs.bar_seconds),
            "warmup": int(needs.warmup),
        }

    def _evaluate(self, message: Message) -> Answer:
        assert self.strategy is not None  # noqa: S101 - the runner loads before it asks
        assert self.params is not None  # noqa: S101
        body, values = message.body, message.values
        start = 0
        said: list[list[Answer]] = []
        exits: list[Answer | None] = []
        for each in body["asked"]:
            stop = start + each["count"] * len(COLUMNS)
            context = Context(
                symbol=each["symbol"],
                bars=series_from(each["symbol"], each["barSeconds"], each["count"], values[start:stop]),
                params=self.params,
                position_quantity=Decimal(each["position"]),
                now=datetime.fromisoformat(body["now"]),
                strategy=body["strategy"],
                priority=body["priority"],
                version=body["version"],
                parameters_hash=body["parametersHash"],
            )
            said.append([_signal(signal) for signal in self.strategy.evaluate(context)])
            held = each.get("held")
            exits.append(None if held is None else _exit(self.strategy.exit(context, _held(held))))
            start = stop
        return {"signals": said, "exits": exits}

    def _check(self, message: Message) -> Answer:
        assert self.made is not None  # noqa: S101 - the runner loads before it asks
        assert self.params is not None  # noqa: S101
        body = message.body
        bars = series_from(body["symbol"], body["barSeconds"], body["count"], message.values)
        found = check_strategy(self.made, self.params, bars)
        return {"findings": [[each.check.value, each.sentence] for each in found]}


def load_class(name: str, source: str | None, where: str) -> type[Strategy[Any]]:
    """The class of a module's text, or of an installed module (`name` is then package.module:Class).

    Raises ClassError, whose message names what is wrong.
    """
    if source is None:
        path, _, name = name.partition(":")
        module = _imported(path, lambda: importlib.import_module(path), where)
    else:
        module = ModuleType(MODULE)
        sys.modules[MODULE] = module  # pydantic and dataclasses look a class's module up
        module.__file__ = where

        def run() -> ModuleType:
            exec(compile(source, where, "exec"), vars(module))  # noqa: S102 - a process of its own exists for this
            return module

        module = _imported(where, run, where)
    found = getattr(module, name, None)
    if not (inspect.isclass(found) and issubclass(found, Strategy)):
        known = [
            each
            for each, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, Strategy) and value.__module__ == module.__name__
        ]
        has = f"it has {', '.join(known)}" if known else "it has no subclass of openbell.strategies.Strategy"
        raise ClassError(f"there is no strategy class {name} in {where}; {has}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ClassError(f"the class {name} of {where} has no {missing}")
    params = getattr(found, "Params", None)
    if not (inspect.isclass(params) and issubclass(params, StrategyParams)):
        raise ClassError(f"the class {name} of {where} has no Params that is a openbell.strategies.StrategyParams")
    return found


def _imported(what: str, load: Callable[[], ModuleType], where: str) -> ModuleType:
    try:
        return load()
    except SyntaxError as error:
        raise ClassError(f"{where} is no Python module: {error.msg} (line {error.lineno})") from error
    except BaseException as error:
        raise ClassError(f"{what} cannot be loaded: {last_line(error)}") from error


def last_line(error: BaseException) -> str:
    """The last line of a traceback, and the line of a ConfigMap's module at which it was raised."""
    told = traceback.format_exception_only(error)[-1].strip()
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(CONFIG_MAP)]
    return f"{told} (line {own[-1].lineno} of {own[-1].filename})" if own else told


def _signal(said: object) -> Answer:
    if not isinstance(said, Signal):
        raise TypeError(f"evaluate gave {said!r}, which is a {type(said).__name__}; it must give signals")
    return {
        "symbol": said.symbol,
        "action": str(said.action.value),
        "confidence": float(said.confidence),
        "validUntil": said.valid_until.isoformat(),
        "reason": str(said.reason)[:MAX_REASON],
    }


def _held(told: Mapping[str, Any]) -> HeldPosition:
    opened_at = datetime.fromisoformat(told["openedAt"])
    return HeldPosition(Decimal(told["quantity"]), told["averagePrice"], opened_at, told["stop"])


def _exit(said: object) -> Answer | None:
    if said is None:
        return None
    if not isinstance(said, ExitSignal):
        raise TypeError(f"exit gave {said!r}, which is a {type(said).__name__}; it must give an ExitSignal or None")
    return {"reason": str(said.reason)[:MAX_REASON], "stop": None if said.stop is None else float(said.stop)}


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    # Where all memory of a container is used up, this process is the one to go, and not the runner.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """The two pipes, under numbers of their own; what a strategy reads or prints does not reach them."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return requests, answers


def _read(requests: BinaryIO) -> Message | None:
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    text, raw = lengths(header)
    return decoded(requests.read(text), requests.read(raw))


def main(arguments: Mapping[str, str]) -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner decides when a worker ends
    requests, answers = _pipes()
    _limit(int(arguments["memory"]))
    confined = confine()
    host = Host()
    answers.write(encoded({"ok": True, "confined": confined}))
    answers.flush()
    while (message := _read(requests)) is not None:
        answers.write(encoded(host.answer(message)))
        answers.flush()


if __name__ == "__main__":
    main({"memory": sys.argv[1]})

"""Custom strategies: where the class of each comes from, and the worker process in which it is loaded and asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from pydantic import ConfigDict

from openbell.domain.bars import BarSeries
from openbell.domain.signals import Action, Signal
from openbell.runner.entry import Code, Refusal, StrategyEntry
from openbell.runner.wire import WireError, columns_of
from openbell.runner.worker import Worker, WorkerError
from openbell.strategies.api import Context, DataNeeds, ExitSignal, HeldPosition, Strategy, StrategyParams
from openbell.strategies.loader import hash_of

log = structlog.get_logger("openbell.custom")

LOAD_SECONDS = 30.0
"""How long a class may take to load; what its module imports is part of it."""
MAX_WARMUP = 100_000
MAX_VERSION = 64  # characters
MAX_TEXT = 1000  # characters of what a worker says for people
MAX_SCHEMA = 16_384
"""Characters of JSON: a longer schema is not published. A resource holds about a million bytes in all."""


class CustomParams(StrategyParams):
    """Parameters as the manifest has them: only the class itself, in its worker, knows what they may be."""

    model_config = ConfigDict(extra="allow")


class CustomStrategy(Strategy[CustomParams]):
    """Stands for a class that this process never loads."""

    name = "Custom"
    version = ""
    Params = CustomParams

    def data(self, params: CustomParams, bar_seconds: int) -> DataNeeds:
        raise WorkerError("a custom strategy is asked in its worker")

    def evaluate(self, context: Context[CustomParams]) -> Iterable[Signal]:
        raise WorkerError("a custom strategy is asked in its worker")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a class said of itself when it was loaded. `problem`: why older parameters are in force, else empty."""

    version: str
    parameters: Mapping[str, Any]
    parameters_hash: str
    schema: Mapping[str, Any] | None
    needs: DataNeeds
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be loaded: with other values of it, the class is loaded anew."""

    code: Code
    parameters: str  # JSON
    bar_seconds: int


class Bench:
    """One strategy's worker, and what its class said."""

    def __init__(self, job: Job, entry: StrategyEntry, worker: Worker, on_change: Callable[[], None]) -> None:
        self.job = job
        self.loaded: Loaded | None = None
        self.refusal: Refusal | None = None
        self.error = ""
        self.was_tried = False
        self._name = entry.name
        self._entry = entry
        self._worker = worker
        self._on_change = on_change
        self._loading: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None]:
        """Load the class, unless that is under way."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load(), name=f"load {self._name}")
        return self._loading

    async def ready(self, seconds: float | None) -> Loaded | None:
        """What was loaded, once a worker has it; None where that takes longer, is refused, or failed (`error`)."""
        if self.refusal is not None:
            return None
        if self.loaded is None or not self._worker.is_running:
            await asyncio.wait({self.begin()}, timeout=seconds)
        return self.loaded if self._worker.is_running else None

    async def _load(self) -> None:
        code, entry = self.job.code, self._entry
        before = (self.loaded, self.refusal, self.error)  # what stands until this attempt is over
        try:
            await self._worker.start()
            answer, problem = await self._ask_to_load(entry.parameters.model_dump(mode="json")), ""
            if answer.get("kind") == "InvalidParameters" and entry.fallback is not None:
                problem = f"the last good parameters stay in force: {_text(answer.get('error'))}"
                answer = await self._ask_to_load(entry.fallback)
            self.error = ""
            if answer.get("ok") is not True:
                await self._worker.close()
                self.loaded, self.refusal = None, Refusal(_refusal_reason(answer), _text(answer.get("error")))
            else:
                self.loaded, self.refusal = _loaded(answer, code, problem), None
        except (WorkerError, WireError, OSError) as error:
            self.loaded, self.error = None, f"its class cannot be loaded: {error}"
            await self._worker.close()
        self.was_tried = True
        if (self.loaded, self.refusal, self.error) != before:
            log.info("custom.loaded" if self.loaded else "custom.refused", strategy=self._name, why=self.why())
            self._on_change()

    def why(self) -> str:
        return self.refusal.sentence if self.refusal else self.error or (self.loaded.problem if self.loaded else "")

    async def _ask_to_load(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        body = {
            "op": "load",
            "class": self.job.code.class_name,
            "source": self.job.code.text,
            "where": self.job.code.where,
            "parameters": parameters,
            "barSeconds": self.job.bar_seconds,
        }
        return (await self._worker.ask(body, (), LOAD_SECONDS)).body

    async def evaluate(
        self, contexts: Sequence[Context[Any]], seconds: float, held: Sequence[HeldPosition | None] = ()
    ) -> tuple[tuple[tuple[Signal, ...], ...], tuple[ExitSignal | None, ...]]:
        """The signals for each context, and what is said of each position in `held`, one for each context or none.

        Raises WorkerError for no answer, and for what the strategy raised.
        """
        if not contexts:
            return (), ()
        positions = held or [None] * len(contexts)
        first = contexts[0]
        body = {
            "op": "evaluate",
            "strategy": first.strategy,
            "priority": first.priority,
            "now": first.now.isoformat(),
            "version": first.version,
            "parametersHash": first.parameters_hash,
            "asked": [
                {
                    "symbol": each.symbol,
                    "barSeconds": each.bars.bar_seconds,
                    "count": len(each.bars),
                    "position": str(each.position_quantity),
                    "held": None if position is None else held_as_text(position),
                }
                for each, position in zip(contexts, positions, strict=True)
            ],
        }
        columns = [column for each in contexts for column in columns_of(each.bars)]
        answer = (await self._worker.ask(body, columns, seconds)).body
        if answer.get("ok") is not True:
            raise WorkerError(_text(answer.get("error")))
        try:
            signals = tuple(
                tuple(signal_of(said, context) for said in each)
                for each, context in zip(answer["signals"], contexts, strict=True)
            )
            exits = tuple(exit_of(each) for each, _ in zip(answer["exits"], contexts, strict=True))
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise WorkerError(f"what it said is no signal: {type(error).__name__}: {error}") from error
        return signals, exits

    async def check(self, bars: BarSeries, seconds: float) -> list[tuple[str, str]]:
        """What `strategies.checks` finds on these bars: names and sentences. Raises WorkerError."""
        body = {"op": "check", "symbol": bars.symbol, "barSeconds": bars.bar_seconds, "count": len(bars)}
        answer = (await self._worker.ask(body, columns_of(bars), seconds)).body
        if answer.get("ok") is not True:
            raise WorkerError(_text(answer.get("error")))
        return [(str(name), _text(sentence)) for name, sentence in answer["findings"]]

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        await self._worker.close()


class Workshop:
    """The benches of all custom strategies of a scheduler."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.on_change = on_change
        self._benches: dict[str, Bench] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def adopt(self, entries: Mapping[str, StrategyEntry]) -> None:
        """Take up what the resources now ask for: new and changed classes begin to load, those that went are ended."""
        wanted = {name: job for name, entry in entries.items() if (job := job_of(entry)) is not None}
        for name in [name for name, bench in self._benches.items() if wanted.get(name) != bench.job]:
            self._later(self._benches.pop(name).close())
        for name, job in wanted.items():
            if name not in self._benches:
                self._benches[name] = Bench(job, entries[name], Worker(name), lambda: self.on_change())
                self._benches[name].begin()

    def bench(self, name: str) -> Bench | None:
        return self._benches.get(name)

    def loaded(self, name: str) -> Loaded | None:
        bench = self._benches.get(name)
        return bench.loaded if bench else None

    def refusal(self, name: str) -> Refusal | None:
        bench = self._benches.get(name)
        return bench.refusal if bench else None

    def why(self, name: str) -> str:
        """What keeps a class from being as it was asked for, in words; empty where nothing does."""
        bench = self._benches.get(name)
        return bench.why() if bench else ""

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="end worker")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """End every process."""
        benches, self._benches = list(self._benches.values()), {}
        await asyncio.gather(*(bench.close() for bench in benches), *self._closing, return_exceptions=True)


def job_of(entry: StrategyEntry) -> Job | None:
    """What has to be loaded for a strategy; None for one of the built-in types, and where its source is not there."""
    if entry.code is None:
        return None
    return Job(entry.code, entry.parameters.model_dump_json(), entry.settings.bar_seconds)


def held_as_text(position: HeldPosition) -> dict[str, Any]:
    """A position as it is told to a worker."""
    return {
        "quantity": str(position.quantity),
        "averagePrice": position.average_price,
        "openedAt": position.opened_at.isoformat(),
        "stop": position.stop,
    }


def exit_of(said: Mapping[str, Any] | None) -> ExitSignal | None:
    """What a worker said of an exit. Raises KeyError or TypeError where it makes no sense."""
    return None if said is None else ExitSignal(str(said["reason"])[:MAX_TEXT], said["stop"])


def signal_of(said: Mapping[str, Any], context: Context[Any]) -> Signal:
    """A signal from what a worker said: only its opinion is taken, everything else is known better here.

    Raises KeyError, TypeError or ValueError where it is none.
    """
    if said["symbol"] != context.symbol:
        raise ValueError(f"a signal on {said['symbol']!r} when it was asked of {context.symbol}")
    if not isinstance(said["confidence"], (int, float)):
        raise TypeError(f"the confidence is {said['confidence']!r}")
    valid_until = datetime.fromisoformat(said["validUntil"])
    if valid_until.tzinfo is None:
        raise ValueError("validUntil has no time zone")
    end = context.bars.last_end
    assert end is not None  # noqa: S101 - it was asked of bars
    return Signal(
        strategy=context.strategy,
        symbol=context.symbol,
        action=Action(said["action"]),
        confidence=float(said["confidence"]),
        bar_time=end,
        valid_until=valid_until,
        reason=str(said["reason"])[:MAX_TEXT],
        version=context.version,
        parameters_hash=context.parameters_hash,
        priority=context.priority,
    )


def _loaded(answer: Mapping[str, Any], code: Code, problem: str) -> Loaded:
    """What a class says of itself, taken with care. Raises WorkerError where it makes no sense."""
    try:
        parameters, schema = dict(answer["parameters"]), dict(answer["schema"])
        needs = DataNeeds(int(answer["barSeconds"]), int(answer["warmup"]))
        version = str(answer["version"])[:MAX_VERSION] or code.digest
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerError(f"what it says of itself makes no sense: {error}") from error
    if not (1 <= needs.warmup <= MAX_WARMUP and 1 <= needs.bar_seconds <= 86_400):
        raise WorkerError(
            f"data(...) asks for {needs.warmup} bars of {needs.bar_seconds} s; "
            f"allowed are 1 to {MAX_WARMUP} bars of 1 to 86400 s"
        )
    is_short = len(repr(schema)) <= MAX_SCHEMA
    return Loaded(version, parameters, hash_of(parameters), schema if is_short else None, needs, problem)


def _refusal_reason(answer: Mapping[str, Any]) -> str:
    kind = answer.get("kind")
    return kind if kind in ("InvalidClass", "InvalidParameters") else "InvalidClass"


def _text(said: object) -> str:
    """What a worker says for people: one line of a length that fits a status."""
    return " ".join(str(said).split())[:MAX_TEXT]

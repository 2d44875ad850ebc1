"""The thread that writes trail and inputs. Telling it costs a queue's append: it never delays or stops an order.

What comes in while the queue is full is dropped and counted; what cannot be written is logged once, counted, and given
up. The trading process never waits for this thread, except at its end, and then not for long.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias, TypeVar

import structlog

from openbell.domain.errors import JournalError
from openbell.engine.trail import DecisionQuery, Note, Run
from openbell.journal.inputs import INPUTS, InputsFile
from openbell.journal.relaxed import is_damage
from openbell.journal.trail import MAX_AGE, TRAIL, TrailFile

log = structlog.get_logger("openbell.trail")

T = TypeVar("T")

QUEUE_ITEMS = 1000
"""Ticks that may wait to be written."""
FLUSH_SECONDS = 2.0
RETRY_SECONDS = 30.0
"""Between two tries to open files that could not be opened."""
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """One tick: its notes are made, and its inputs written, on the recorder's thread."""

    notes: Callable[[], Iterable[Note]]
    inputs: Callable[[InputsFile], None] | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    query: DecisionQuery
    answer: Future[tuple[Run, ...]]


_Item: TypeAlias = Told | _Asked | None


class Recorder:
    """Told from any thread. `on_drop` and `on_error` count; they are called on the thread that noticed."""

    def __init__(
        self,
        folder: Path,
        *,
        on_drop: Callable[[], None] = lambda: None,
        on_error: Callable[[], None] = lambda: None,
        queue_items: int = QUEUE_ITEMS,
        max_age: timedelta = MAX_AGE,
    ) -> None:
        self._folder = folder
        self._on_drop = on_drop
        self._on_error = on_error
        self._max_age = max_age
        self._queue: queue.Queue[_Item] = queue.Queue(queue_items)
        self._trail: TrailFile | None = None
        self._inputs: InputsFile | None = None
        self._open_again_at = 0.0
        self._is_failing = False
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="trail", daemon=True)
        self._thread.start()

    def tell(self, told: Told) -> None:
        """Have a tick written. Never waits, never raises."""
        if self._is_closed:
            return
        try:
            self._queue.put_nowait(told)
        except queue.Full:
            self._on_drop()

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be written that who can wait should."""
        return self._queue.qsize() * 2 > self._queue.maxsize

    async def decisions(self, query: DecisionQuery) -> tuple[Run, ...]:
        """The runs asked for, newest first, with all that was told before. Raises JournalError where it cannot say."""
        answer: Future[tuple[Run, ...]] = Future()
        try:
            if self._is_closed:
                raise JournalError("the decision trail is closed")
            self._queue.put_nowait(_Asked(query, answer))
        except queue.Full as error:
            raise JournalError("the decision trail is behind with its writing; ask again in a moment") from error
        return await asyncio.wrap_future(answer)

    def close(self) -> None:
        """Write what waits and let the files go; what cannot be written in time is lost."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._queue.put(None, timeout=CLOSE_SECONDS)
        except queue.Full:
            log.warning("trail.not-written", waiting=self._queue.qsize())
            return
        self._thread.join(CLOSE_SECONDS)

    # -- on the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        flushed = time.monotonic()
        item: _Item = None
        while True:
            try:
                item = self._queue.get(timeout=FLUSH_SECONDS)
                if item is None:
                    break
                self._take(item)
            except queue.Empty:
                pass
            if time.monotonic() - flushed >= FLUSH_SECONDS:
                flushed = time.monotonic()
                self._guarded(self._flush)
        self._guarded(self._close_files)

    def _take(self, item: Told | _Asked) -> None:
        if isinstance(item, _Asked):
            self._answer(item)
            return
        told = item

        def write_notes() -> None:
            self._trail_file().note(told.notes())

        self._guarded(write_notes)
        if told.inputs is not None:
            write_inputs = told.inputs
            self._guarded(lambda: write_inputs(self._inputs_file()))

    def _answer(self, asked: _Asked) -> None:
        try:
            asked.answer.set_result(self._trail_file().find(asked.query))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the asking one's to hear
            self._failed(error)
            asked.answer.set_exception(JournalError(f"the decision trail cannot be read: {error}"))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
            self._is_failing = False
        except Exception as error:  # noqa: BLE001 - the trail explains trading and must not be able to end it
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._on_error()
        if not self._is_failing:
            self._is_failing = True
            log.error("trail.failed", error=f"{type(error).__name__}: {error}", folder=str(self._folder))
        if isinstance(error, sqlite3.Error) and is_damage(error):
            self._replace(str(error))

    def _replace(self, why: str) -> None:
        """Which of the two files is damaged is found by opening them: the sound one stays."""
        trail, inputs = self._trail, self._inputs
        self._trail = self._inputs = None
        for file in (trail, inputs):
            if file is not None:
                try:
                    file.close()
                except sqlite3.Error as error:
                    log.warning("trail.not-closed", error=str(error), why=why)

    def _trail_file(self) -> TrailFile:
        if self._trail is None:
            self._trail = self._opened(lambda: TrailFile(self._folder / TRAIL, max_age=self._max_age))
        return self._trail

    def _inputs_file(self) -> InputsFile:
        if self._inputs is None:
            self._inputs = self._opened(lambda: InputsFile(self._folder / INPUTS))
        return self._inputs

    def _opened(self, open_file: Callable[[], T]) -> T:
        if time.monotonic() < self._open_again_at:
            raise JournalError("the decision trail's files cannot be opened")
        try:
            return open_file()
        except (sqlite3.Error, OSError):
            self._open_again_at = time.monotonic() + RETRY_SECONDS
            raise

    def _flush(self) -> None:
        if self._trail is not None:
            self._trail.flush()

    def _close_files(self) -> None:
        if self._trail is not None:
            self._trail.close()
        if self._inputs is not None:
            self._inputs.close()

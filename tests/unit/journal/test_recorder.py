"""The recorder writes what it is told, and whatever happens to it is nobody else's trouble."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.values import T0, at
from openbell.domain.errors import JournalError
from openbell.engine.recorded import SplitRecord
from openbell.engine.trail import DecisionQuery, Note, TrailKind
from openbell.journal import recorder as module
from openbell.journal.inputs import InputsFile, read_inputs
from openbell.journal.recorder import Recorder, Told
from openbell.journal.relaxed import read_only


class Counted:
    """A recorder whose drops and errors are counted."""

    def __init__(self, folder: Path, queue_items: int = 100) -> None:
        self.drops = 0
        self.errors = 0
        self.recorder = Recorder(folder, on_drop=self._drop, on_error=self._error, queue_items=queue_items)

    def _drop(self) -> None:
        self.drops += 1

    def _error(self) -> None:
        self.errors += 1


@contextmanager
def recording(folder: Path, queue_items: int = 100) -> Iterator[Counted]:
    counted = Counted(folder, queue_items)
    try:
        yield counted
    finally:
        counted.recorder.close()


def told(moment: datetime = T0, reason: str = "NO_SIGNAL") -> Told:
    return Told(lambda: [Note(moment, "trend", "AAPL", TrailKind.ENTRY, reason)])


def split(file: InputsFile) -> None:
    file.split(SplitRecord(T0, "AAPL", Decimal(2)))


def raises() -> list[Note]:
    raise RuntimeError("a fault of the notes")


async def test_what_is_told_is_answered_and_written(tmp_path: Path) -> None:
    with recording(tmp_path) as counted:
        counted.recorder.tell(told())
        counted.recorder.tell(Told(list, split))
        counted.recorder.tell(told(at(60)))
        (run,) = await counted.recorder.decisions(DecisionQuery())
        assert (run.count, run.until) == (2, at(60))
    with closing(read_only(tmp_path / "inputs.db")) as raw:
        assert [type(each.record) for each in read_inputs(raw)] == [SplitRecord]
    assert (counted.drops, counted.errors) == (0, 0)


async def test_telling_never_waits_and_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    held = threading.Event()
    begun = threading.Event()

    def wait() -> list[Note]:
        begun.set()
        held.wait(10)
        return []

    with recording(tmp_path, queue_items=3) as counted:
        counted.recorder.tell(Told(wait))
        assert await asyncio.to_thread(begun.wait, 10)
        before = time.monotonic()
        for second in range(100):
            counted.recorder.tell(told(at(second)))
        assert time.monotonic() - before < 1.0
        assert counted.drops == 97
        with pytest.raises(JournalError, match="behind with its writing"):
            await counted.recorder.decisions(DecisionQuery())
        held.set()


async def test_a_fault_is_counted_and_told_once_and_the_rest_is_written(tmp_path: Path) -> None:
    with recording(tmp_path) as counted:
        counted.recorder.tell(Told(raises, split))
        counted.recorder.tell(told())
        assert len(await counted.recorder.decisions(DecisionQuery())) == 1
    assert counted.errors == 1


async def test_a_file_that_breaks_while_it_is_used_is_moved_aside(tmp_path: Path) -> None:
    with recording(tmp_path, queue_items=1000) as counted:
        for second in range(200):
            counted.recorder.tell(told(at(second), f"r{second}"))
        await counted.recorder.decisions(DecisionQuery())
        # The pages of the running database are overwritten behind its back.
        for name in ("trail.db", "trail.db-wal"):
            size = (tmp_path / name).stat().st_size
            (tmp_path / name).write_bytes(b"\xff" * max(size, 8192))
        for second in range(200, 260):
            counted.recorder.tell(told(at(second), f"r{second}"))
        await _until(lambda: _answers(counted))
        counted.recorder.tell(told(at(400), "AFTER"))
        found = await counted.recorder.decisions(DecisionQuery(reason="AFTER"))
        assert len(found) == 1


async def _answers(counted: Counted) -> bool:
    try:
        await counted.recorder.decisions(DecisionQuery(limit=1))
    except JournalError:
        return False
    return True


async def _until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while True:
            found = reached()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


async def test_files_that_cannot_be_opened_are_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    with recording(tmp_path / "later") as counted:
        counted.recorder.tell(told())
        with pytest.raises(JournalError, match="cannot be read"):
            await counted.recorder.decisions(DecisionQuery())
        assert counted.errors == 2
        (tmp_path / "later").mkdir()
        counted.recorder.tell(told())
        assert len(await counted.recorder.decisions(DecisionQuery())) == 1


async def test_after_its_end_nothing_is_written_and_a_question_is_refused(tmp_path: Path) -> None:
    with recording(tmp_path) as counted:
        counted.recorder.tell(told())
    counted.recorder.close()
    counted.recorder.tell(told(at(60)))
    with pytest.raises(JournalError, match="closed"):
        await counted.recorder.decisions(DecisionQuery())
    with recording(tmp_path) as again:
        (run,) = await again.recorder.decisions(DecisionQuery())
        assert run.count == 1


async def test_what_goes_on_is_written_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    with recording(tmp_path) as counted:
        counted.recorder.tell(told())
        await counted.recorder.decisions(DecisionQuery())
        counted.recorder.tell(told(at(60)))
        with closing(read_only(tmp_path / "trail.db")) as raw:
            await _until(lambda: raw.execute("SELECT max(count) FROM runs").fetchone()[0] == 2)

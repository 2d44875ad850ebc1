"""Whether rules' columns say what the rules say, asked at every bar in every position; and what was proven before.

A proof holds for the rule's version, its parameters and these very bars, whatever the exits, the sizing or the risk;
so that of many runs with the same bars only the first pays for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from openbell import __version__
from openbell.backtest.batch import spoken
from openbell.backtest.run import Backtest
from openbell.backtest.seats import Seat, Spoken, Table
from openbell.domain.errors import ManifestError
from openbell.domain.money import ZERO
from openbell.domain.signals import Action, Signal

HELD = (ZERO, Decimal(1), Decimal(-1))
POSITIONS = ("flat", "long", "short")


class Proofs:
    """Proofs that were made before, by their identity, each an empty file of a folder; None remembers nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def require(self, run: Backtest) -> None:
        """Prove that the batch form of every rule of a run that has not begun says what the rule says.

        Raises ManifestError with the first difference, or where a rule has no batch form.
        """
        for table in run.tables:
            for seat in table.seats:
                where = spoken(table.entry.strategy, table.entry.parameters, seat.symbol, run.recorded, run.timeline)
                if where is None:
                    raise ManifestError(f"Strategy {table.name}: {table.entry.strategy.name} has no batch form")
                key = _identity(run, table, seat)
                if self._knows(key):
                    continue
                found = difference(run, table, seat, where)
                if found:
                    raise ManifestError(f"Strategy {table.name}: its batch form is not its rule: {found}")
                self._keep(key)

    def _knows(self, key: str) -> bool:
        return self._folder is not None and (self._folder / key).exists()

    def _keep(self, key: str) -> None:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / key).touch()


def difference(run: Backtest, table: Table, seat: Seat, where: Spoken) -> str:
    """The first session and position at which columns and rule differ, as one clause; empty where there is none."""
    columns = seat.columns
    for number, session in enumerate(run.timeline.sessions):
        shown = run.recorded.columns(seat.symbol, session.open)
        if shown[1] is not columns[1]:  # a split has made other columns
            seat.columns = columns = shown
        stop = seat.stops[number]
        for held, position, flags in zip(HELD, POSITIONS, where.said, strict=True):
            said: Iterable[Signal] = ()
            if stop >= table.warmup:
                said = table.entry.strategy.evaluate(table.context(seat, stop, held, session.close))
            rule = _flag(tuple(said), is_flat=held == ZERO)
            if rule != flags[number]:
                return f"at {session.close:%Y-%m-%d %H:%M} while {position} it says {flags[number]}, the rule {rule}"
    return ""


def _flag(said: tuple[Signal, ...], *, is_flat: bool) -> int:
    if not said:
        return 0
    return -1 if is_flat and said[0].action is Action.SELL else 1


def _identity(run: Backtest, table: Table, seat: Seat) -> str:
    strategy, sessions = table.entry.strategy, run.timeline.sessions
    content = hashlib.sha256()
    kind = f"{type(strategy).__module__}.{type(strategy).__qualname__}"
    for part in (__version__, kind, strategy.version, table.entry.parameters_hash, seat.symbol, str(seat.window)):
        content.update(f"{len(part)}:{part}".encode())
    for session in (sessions[0], sessions[-1]):
        content.update(session.close.isoformat().encode())
    for column in run.recorded.columns(seat.symbol, sessions[-1].close):
        content.update(column.tobytes())
    for split in run.recorded.splits:
        content.update(f"{split.symbol} {split.date} {split.ratio}".encode())
    return content.hexdigest()

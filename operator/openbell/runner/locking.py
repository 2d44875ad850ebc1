"""Locks of this runner: made by protections after each closed trade, made and lifted by people, kept in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import structlog

from openbell.domain.account import Account
from openbell.domain.clock import Clock
from openbell.domain.errors import JournalError, OpenbellError
from openbell.domain.limits import LockScope
from openbell.domain.money import cents
from openbell.domain.reasons import Reason
from openbell.journal import Journal
from openbell.resources.risk import MONTH_SECONDS, RiskSpec
from openbell.risk.assembling import is_new_peak, review
from openbell.risk.locks import Lock, lift, lock_id
from openbell.risk.losses import is_in_drawdown
from openbell.runner.desk import Told
from openbell.runner.ledger import Ledger
from openbell.runner.limits import drawdown_limit, protections_of
from openbell.telemetry.metrics import ErrorKind, RunnerMetrics

log = structlog.get_logger("openbell.locks")

UNLOCK_ANNOTATION = "openbell.dev/unlock"
LOCK_MEMORY = timedelta(seconds=MONTH_SECONDS)
"""How long a lifted lock is remembered: no protection looks further back."""

DRAWDOWN_MAKER = "maxDrawdownFraction"
PEAK_STEP = Decimal("1.001")
"""The highest equity is written down when it has risen by so much: a restart may forget less than that of it."""


class LockNotFoundError(OpenbellError):
    """Raised by `Locking.lift` where no lock has the id."""


class Locking:
    """Changes the ledger's locks and highest equity; what protections made is written down by `run`."""

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        clock: Clock,
        metrics: RunnerMetrics,
        announce: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._announce = announce
        self._risk = RiskSpec()
        self._to_do: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._written_peak = ledger.peak_equity

    # -- what happens ------------------------------------------------------------------------------------------

    def adopt(self, risk: RiskSpec) -> None:
        """Take the newest spec in."""
        self._risk = risk

    def on_told(self, told: Told) -> None:
        """A closed trade may make locks."""
        if told.closed is not None:
            self.review()

    def review(self) -> None:
        """Make the locks that are due by the protections of the spec."""
        due = review(self._ledger, protections_of(self._risk), self._clock.now())
        for lock in due:
            self._to_do.put_nowait(partial(self._write, lock))
            log.warning("lock.made", lock=lock.lock_id, **_said(lock))
        if due:
            self._announce()

    async def on_account(self, account: Account) -> None:
        """The account was read: its highest equity, and what protections make of it."""
        ledger = self._ledger
        self.review()
        if not is_new_peak(ledger, account.equity):
            return
        ledger.peak_equity, ledger.peak_since = account.equity, ledger.peak_since or self._clock.now()
        if self._written_peak is None or account.equity >= self._written_peak * PEAK_STEP:
            await self._write_peak()

    async def run(self) -> None:
        """Write down what protections made, and do what annotations ask for, in the order in which it came."""
        while True:
            doing = await self._to_do.get()
            await doing()

    async def _write(self, lock: Lock) -> None:
        # One that cannot be written is made again after a restart, by its trades.
        try:
            await self._journal.save_locks([lock])
        except JournalError as error:
            self._failed(error)

    # -- what people ask ---------------------------------------------------------------------------------------

    def active(self) -> tuple[Lock, ...]:
        """Locks that hold openings back now, the drawdown's among them, oldest first."""
        now = self._clock.now()
        drawdown = self._drawdown(now)
        locks = [lock for lock in self._ledger.locks.values() if lock.is_active(now)]
        return tuple(sorted([*locks, *([drawdown] if drawdown else [])], key=lambda lock: (lock.since, lock.lock_id)))

    async def add(self, scope: LockScope, subject: str, seconds: int | None, why: str, by: str) -> Lock:
        """A person's lock. Raises JournalError, with nothing locked, where it cannot be kept."""
        now = self._clock.now()
        name = lock_id("person", scope.value, subject, now.isoformat(), why, by)
        until = None if seconds is None else now + timedelta(seconds=seconds)
        lock = Lock(name, scope, subject, Reason.LOCKED, why, now, until, by)
        await self._journal.save_locks([lock])
        self._ledger.locks[name] = lock
        log.warning("lock.made", lock=name, **_said(lock))
        self._announce()
        return lock

    async def lift(self, name: str, by: str) -> Lock:
        """Lift a lock; one that was lifted stays as it is. Lifting the drawdown's counts the highest equity anew.

        Raises LockNotFoundError, and JournalError with nothing changed.
        """
        now = self._clock.now()
        drawdown = self._drawdown(now)
        if drawdown is not None and drawdown.lock_id == name and self._ledger.account is not None:
            equity = self._ledger.account.equity
            await self._journal.save_peak(equity, now)
            self._ledger.peak_equity = self._written_peak = equity
            self._ledger.peak_since = now
            self._lifted(drawdown, by)
            return lift(drawdown, by=by, at=now)
        lock = self._ledger.locks.get(name)
        if lock is None:
            raise LockNotFoundError(f"there is no lock {name}")
        if lock.lifted_at is not None:
            return lock
        lifted = lift(lock, by=by, at=now)
        await self._journal.save_locks([lifted])
        self._ledger.locks[name] = lifted
        self._lifted(lock, by)
        return lifted

    def take(self, annotations: Mapping[str, str]) -> None:
        """Lift what the annotation names: ids apart by commas. An id that is gone or lifted changes nothing."""
        for name in named(annotations):
            if any(lock.lock_id == name for lock in self.active()):
                self._to_do.put_nowait(partial(self._lift_by_annotation, name))

    async def _lift_by_annotation(self, name: str) -> None:
        try:
            await self.lift(name, f"annotation {UNLOCK_ANNOTATION}")
        except (JournalError, LockNotFoundError) as error:
            self._failed(error)

    # -- the drawdown ------------------------------------------------------------------------------------------

    def _drawdown(self, now: datetime) -> Lock | None:
        """The drawdown rule as a lock: it is derived, not kept, and known by the highest equity behind it."""
        ledger, limit = self._ledger, drawdown_limit(self._risk)
        peak, account = ledger.peak_equity, ledger.account
        if account is None or peak is None or not is_in_drawdown(account.equity, peak, limit):
            return None
        since = ledger.peak_since or now
        detail = f"the equity {cents(account.equity)} has fallen by {limit:.2%} or more from {cents(peak)}"
        name = lock_id(DRAWDOWN_MAKER, str(peak), since.isoformat())
        return Lock(name, LockScope.GLOBAL, "", Reason.DRAWDOWN, detail, since, None, DRAWDOWN_MAKER)

    async def _write_peak(self) -> None:
        equity, since = self._ledger.peak_equity, self._ledger.peak_since
        if equity is None or since is None:
            return
        try:
            await self._journal.save_peak(equity, since)
        except JournalError as error:
            self._failed(error)
        else:
            self._written_peak = equity

    def _lifted(self, lock: Lock, by: str) -> None:
        log.warning("lock.lifted", lock=lock.lock_id, by=by, **_said(lock))
        self._announce()

    def _failed(self, error: OpenbellError) -> None:
        self._metrics.errors.labels(ErrorKind.JOURNAL.value).inc()
        log.error("lock.not-kept", error=str(error))


def named(annotations: Mapping[str, str]) -> Iterable[str]:
    """The ids that the annotation names."""
    return tuple(name.strip() for name in annotations.get(UNLOCK_ANNOTATION, "").split(",") if name.strip())


def _said(lock: Lock) -> dict[str, str]:
    return {
        "scope": f"{lock.scope.value} {lock.subject}".strip(),
        "why": lock.detail,
        "until": lock.until.isoformat() if lock.until else "it is lifted",
        "made_by": lock.made_by,
    }

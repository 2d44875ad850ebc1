"""The Lease protocol: who may act, decided by pure functions; the record is written by compare-and-swap.

The rules are client-go's, sharpened: a contender trusts no clock but its own (it takes over only after it has itself
seen the record unchanged for a whole lease duration, on CLOCK_BOOTTIME, which counts suspended time too), and each
acquisition raises an epoch that is kept in an annotation, so that it survives a Lease that is made again elsewhere.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from openbell.domain.errors import ClusterError
from openbell.kube.client import KubeClient
from openbell.kube.resources import LEASES, Object

EPOCH_ANNOTATION = "openbell.dev/epoch"
LEASE_DURATION_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10.0
RENEW_INTERVAL_SECONDS = 4.0
RELEASED_DURATION_SECONDS = 1


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says. No holder and no renew time: new; no holder with a renew time: given back by its holder."""

    holder: str
    acquire_time: datetime | None
    renew_time: datetime | None
    duration_seconds: int
    transitions: int
    epoch: int
    resource_version: str

    @property
    def is_released(self) -> bool:
        return not self.holder and self.renew_time is not None

    @property
    def is_new(self) -> bool:
        return not self.holder and self.renew_time is None


@dataclass(frozen=True, slots=True)
class Acquire:
    """Take the lease now, by compare-and-swap against the record that was read."""


@dataclass(frozen=True, slots=True)
class Renew:
    """The lease is ours: renew it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody else may be acting: look again in `seconds` at the latest."""

    seconds: float


Decision: TypeAlias = Acquire | Renew | Wait
_Fingerprint: TypeAlias = tuple[str, datetime | None, datetime | None, int, int] | None


@dataclass(frozen=True, slots=True)
class Observer:
    """What this process has itself seen: since when the record is unchanged, and the epoch it holds (0: none)."""

    since: float = 0.0
    held_epoch: int = 0
    _seen: _Fingerprint = None
    _looked: bool = False

    def observe(self, record: LeaseRecord | None, now: float) -> Observer:
        """After a read that returned at `now` (boot time). Labels and owners may change without a new `since`."""
        seen = _fingerprint(record)
        if self._looked and seen == self._seen:
            return self
        return replace(self, since=now, _seen=seen, _looked=True)

    def holding(self, epoch: int) -> Observer:
        """After an acquisition of ours."""
        return replace(self, held_epoch=epoch)

    def unchanged_seconds(self, now: float) -> float:
        """How long the record has been seen unchanged; 0 before the first look."""
        return max(0.0, now - self.since) if self._looked else 0.0

    def has_seen(self, record: LeaseRecord | None) -> bool:
        """Whether this is the record that was observed last."""
        return self._looked and _fingerprint(record) == self._seen


def _fingerprint(record: LeaseRecord | None) -> _Fingerprint:
    if record is None:
        return None
    return (record.holder, record.acquire_time, record.renew_time, record.transitions, record.epoch)


def boot_time() -> float:
    """Seconds on CLOCK_BOOTTIME: never set back, and it goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def decide(
    record: LeaseRecord | None,
    observer: Observer,
    me: str,
    now: float,
    ever_ran: bool,
    *,
    duration_seconds: float = LEASE_DURATION_SECONDS,
) -> Decision:
    """What to do about a record that was read; `now` is boot time. One that `observer` has not observed is new to it.

    `me` names the pod, so a restarted container takes its predecessor's lease back at once (the predecessor is
    dead: a pod never runs two containers of one name). An absent or new Lease counts as held for a whole duration
    unless the scheduler never ran, because a Lease can be deleted while its holder trades.
    """
    if record is None or record.is_new:
        if not ever_ran:
            return Acquire()
        return _after(duration_seconds, record, observer, now)
    if record.is_released:
        return Acquire()
    if record.holder == me:
        if observer.held_epoch == 0:
            return Acquire()
        if record.epoch == observer.held_epoch:
            return Renew()
    # A shorter duration in the record would let us in before its holder's deadline, so ours is the least.
    return _after(max(duration_seconds, float(record.duration_seconds)), record, observer, now)


def _after(seconds: float, record: LeaseRecord | None, observer: Observer, now: float) -> Decision:
    left = seconds - (observer.unchanged_seconds(now) if observer.has_seen(record) else 0.0)
    return Acquire() if left <= 0 else Wait(left)


def deadline_of(renewal_started: float, renew_deadline_seconds: float = RENEW_DEADLINE_SECONDS) -> float:
    """Until when (boot time) a holder may act: counted from the start of its last good renewal."""
    return renewal_started + renew_deadline_seconds


def record_of(lease: Object) -> LeaseRecord:
    """Read a Lease object; what another writer has left out or garbled counts as unset."""
    spec: dict[str, Any] = lease.get("spec") or {}
    annotations = lease["metadata"].get("annotations") or {}
    epoch = str(annotations.get(EPOCH_ANNOTATION, "0"))
    return LeaseRecord(
        holder=str(spec.get("holderIdentity") or ""),
        acquire_time=_moment(spec.get("acquireTime")),
        renew_time=_moment(spec.get("renewTime")),
        duration_seconds=int(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        epoch=int(epoch) if epoch.isdecimal() else 0,
        resource_version=str(lease["metadata"].get("resourceVersion", "")),
    )


async def read(client: KubeClient, namespace: str, name: str) -> LeaseRecord | None:
    """The record, or None when the API server says there is no such Lease."""
    lease = await client.get(LEASES, namespace, name)
    return None if lease is None else record_of(lease)


async def acquire(
    client: KubeClient,
    namespace: str,
    name: str,
    record: LeaseRecord | None,
    me: str,
    *,
    now: datetime,
    epoch_floor: int = 0,
    duration_seconds: int = LEASE_DURATION_SECONDS,
    field_manager: str = "openbell-runner",
) -> LeaseRecord:
    """Take the lease with epoch = max(record, floor) + 1; ClusterError 409 when somebody was faster."""
    epoch = max(record.epoch if record else 0, epoch_floor) + 1
    moment = micro_time(now)
    spec = {
        "holderIdentity": me,
        "acquireTime": moment,
        "renewTime": moment,
        "leaseDurationSeconds": duration_seconds,
        "leaseTransitions": (record.transitions + 1) if record else 0,
    }
    metadata: dict[str, Any] = {"annotations": {EPOCH_ANNOTATION: str(epoch)}}
    if record is None:
        lease = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata | {"name": name, "namespace": namespace},
            "spec": spec,
        }
        return record_of(await client.create(lease, field_manager=field_manager))
    return await _swap(client, namespace, name, record, metadata, spec, field_manager)


async def renew(
    client: KubeClient,
    namespace: str,
    name: str,
    record: LeaseRecord,
    *,
    now: datetime,
    field_manager: str = "openbell-runner",
) -> LeaseRecord:
    """Renew the record that was read; ClusterError 409 when it has changed since (read again and decide)."""
    return await _swap(client, namespace, name, record, {}, {"renewTime": micro_time(now)}, field_manager)


async def release(
    client: KubeClient,
    namespace: str,
    name: str,
    record: LeaseRecord,
    *,
    now: datetime,
    field_manager: str = "openbell-runner",
) -> None:
    """Give the lease back, so that the next holder need not wait. Only after everything has been halted.

    A record that has changed meanwhile is left alone: it is no longer ours.
    """
    spec = {
        "holderIdentity": "",
        "renewTime": micro_time(now),
        "leaseDurationSeconds": RELEASED_DURATION_SECONDS,
    }
    try:
        await _swap(client, namespace, name, record, {}, spec, field_manager)
    except ClusterError as error:
        if error.status not in (404, 409):
            raise


async def _swap(
    client: KubeClient,
    namespace: str,
    name: str,
    record: LeaseRecord,
    metadata: dict[str, Any],
    spec: dict[str, Any],
    field_manager: str,
) -> LeaseRecord:
    # The resourceVersion in a merge patch makes it a compare-and-swap that leaves the operator's fields alone.
    body = {"metadata": metadata | {"resourceVersion": record.resource_version}, "spec": spec}
    return record_of(await client.merge_patch(LEASES, namespace, name, body, field_manager=field_manager))


def micro_time(moment: datetime) -> str:
    """The MicroTime that a Lease wants: RFC 3339 in UTC with six decimals."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None

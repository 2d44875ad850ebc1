"""The Lease protocol: what one contender decides, and that two of them never both act."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openbell.kube.lease import (
    LEASE_DURATION_SECONDS,
    RENEW_DEADLINE_SECONDS,
    Acquire,
    LeaseRecord,
    Observer,
    Renew,
    Wait,
    deadline_of,
    decide,
    micro_time,
    record_of,
)

START = datetime(2026, 11, 24, tzinfo=UTC)


def record(holder: str = "other", *, renewed: int | None = 0, epoch: int = 1, duration: int = 15) -> LeaseRecord:
    moment = None if renewed is None else START + timedelta(seconds=renewed)
    return LeaseRecord(holder, moment, moment, duration, 0, epoch, "1")


def observed(seen: LeaseRecord | None, at: float = 100.0) -> Observer:
    return Observer().observe(seen, at)


def test_a_lease_that_never_had_a_holder_is_taken_at_once_by_a_scheduler_that_never_ran() -> None:
    new = record("", renewed=None, epoch=0)
    assert decide(new, observed(new), "me", 100.0, ever_ran=False) == Acquire()
    assert decide(None, observed(None), "me", 100.0, ever_ran=False) == Acquire()


@pytest.mark.parametrize("seen", [None, record("", renewed=None, epoch=0)])
def test_an_absent_or_new_lease_counts_as_held_once_the_scheduler_has_run(seen: LeaseRecord | None) -> None:
    assert decide(seen, observed(seen), "me", 104.0, ever_ran=True) == Wait(11.0)
    assert decide(seen, observed(seen), "me", 115.0, ever_ran=True) == Acquire()


def test_a_lease_given_back_is_taken_at_once() -> None:
    released = record("")
    assert decide(released, observed(released), "me", 100.0, ever_ran=True) == Acquire()


def test_another_holder_is_outlived_only_by_a_whole_duration_seen_by_ourselves() -> None:
    seen = record()
    observer = observed(seen)
    assert decide(seen, observer, "me", 114.9, ever_ran=True) == Wait(pytest.approx(0.1))
    renewed = record(renewed=4)
    observer = observer.observe(renewed, 114.9)
    assert decide(renewed, observer, "me", 115.0, ever_ran=True) == Wait(pytest.approx(14.9))


def test_a_shorter_duration_in_the_record_does_not_let_us_in_sooner_and_a_longer_one_counts() -> None:
    short, long = record(duration=1), record(duration=60)
    assert decide(short, observed(short), "me", 110.0, ever_ran=True) == Wait(5.0)
    assert decide(long, observed(long), "me", 120.0, ever_ran=True) == Wait(40.0)


def test_a_restarted_container_takes_its_predecessors_lease_back_with_a_new_epoch() -> None:
    mine = record("me", epoch=3)
    assert decide(mine, observed(mine), "me", 100.0, ever_ran=True) == Acquire()
    assert decide(mine, observed(mine).holding(3), "me", 100.0, ever_ran=True) == Renew()


def test_our_name_with_another_epoch_is_somebody_else() -> None:
    mine = record("me", epoch=4)
    assert decide(mine, observed(mine).holding(3), "me", 100.0, ever_ran=True) == Wait(15.0)


def test_a_record_that_was_not_observed_is_not_outlived_by_the_time_of_another() -> None:
    assert decide(record("new"), observed(record()), "me", 115.0, ever_ran=True) == Wait(15.0)


def test_labels_that_change_do_not_count_as_a_renewal() -> None:
    seen = record()
    relabelled = LeaseRecord(
        seen.holder, seen.acquire_time, seen.renew_time, seen.duration_seconds, seen.transitions, seen.epoch, "2"
    )
    assert observed(seen).observe(relabelled, 110.0).unchanged_seconds(115.0) == 15.0


def test_a_record_is_read_from_what_the_api_server_gives() -> None:
    lease = {
        "metadata": {"name": "x", "resourceVersion": "7", "annotations": {"openbell.dev/epoch": "4"}},
        "spec": {
            "holderIdentity": "pod",
            "acquireTime": micro_time(START),
            "renewTime": "nonsense",
            "leaseDurationSeconds": 15,
            "leaseTransitions": 2,
        },
    }
    assert record_of(lease) == LeaseRecord("pod", START, None, 15, 2, 4, "7")
    assert record_of({"metadata": {"annotations": {"openbell.dev/epoch": "x"}}}) == LeaseRecord(
        "", None, None, 0, 0, 0, ""
    )


@dataclass
class Server:
    """The API server's one record, changed by compare-and-swap only."""

    record: LeaseRecord = field(default_factory=lambda: record("", renewed=None, epoch=0))
    version: int = 1
    writes: int = 0

    def swap(self, based_on: LeaseRecord, holder: str, epoch: int) -> LeaseRecord | None:
        if based_on.resource_version != str(self.version):
            return None
        self.version += 1
        self.writes += 1
        moment = START + timedelta(seconds=self.writes)
        self.record = LeaseRecord(holder, moment, moment, 15, 0, epoch, str(self.version))
        return self.record


@dataclass
class Contender:
    """One runner with a clock of its own offset, driven step by step; any step may be late."""

    name: str
    offset: float
    observer: Observer = field(default_factory=Observer)
    deadline: float = float("-inf")
    read: LeaseRecord | None = None
    started: float = 0.0
    epoch: int = 0

    def clock(self, true_time: float) -> float:
        return true_time + self.offset

    def holds(self, true_time: float) -> bool:
        return self.clock(true_time) < self.deadline

    def look(self, server: Server, true_time: float) -> None:
        self.started = self.clock(true_time)
        self.read = LeaseRecord(
            server.record.holder,
            server.record.acquire_time,
            server.record.renew_time,
            server.record.duration_seconds,
            server.record.transitions,
            server.record.epoch,
            str(server.version),
        )

    def receive(self, true_time: float) -> None:
        if self.read is not None:
            self.observer = self.observer.observe(self.read, self.clock(true_time))

    def act(self, server: Server, true_time: float, *, answer_lost: bool) -> None:
        if self.read is None:
            return
        decision = decide(self.read, self.observer, self.name, self.clock(true_time), ever_ran=True)
        if isinstance(decision, Wait):
            return
        epoch = self.epoch if isinstance(decision, Renew) else self.read.epoch + 1
        written = server.swap(self.read, self.name, epoch)
        if written is not None and not answer_lost:
            self.epoch = epoch
            self.observer = self.observer.holding(epoch)
            self.deadline = deadline_of(self.started)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1]),
        st.sampled_from(["look", "receive", "act", "act lost", "nothing"]),
        st.floats(0, 40, allow_nan=False),
    ),
    max_size=60,
)


@settings(max_examples=400, deadline=None)
@given(steps=STEPS, offset=st.floats(-1e6, 1e6, allow_nan=False))
@example(
    steps=[
        *((who, step, 0.0) for who in (0, 1) for step in ("look", "receive")),
        *((0, "look", 6.0), (0, "act", 9.0), (1, "look", 0.0), (1, "act", 0.0)),
    ],
    offset=0.0,
)
def test_two_contenders_are_never_both_inside_their_deadline_whatever_stalls(
    steps: list[tuple[int, str, float]], offset: float
) -> None:
    server = Server()
    both = (Contender("a", 0.0), Contender("b", round(offset)))
    now = 1000.0
    highest = 0
    for who, step, stall in steps:
        now += stall
        contender = both[who]
        if step == "look":
            contender.look(server, now)
        elif step == "receive":
            contender.receive(now)
        elif step.startswith("act"):
            contender.act(server, now, answer_lost=step == "act lost")
        assert not (both[0].holds(now) and both[1].holds(now))
        assert server.record.epoch >= highest
        highest = server.record.epoch


@settings(max_examples=100, deadline=None)
@given(first=st.floats(0, 8), period=st.floats(0.5, 4))
def test_a_contender_that_renews_in_time_keeps_the_lease_and_one_that_stops_loses_it(
    first: float, period: float
) -> None:
    server = Server()
    holder, waiting = Contender("a", 0.0), Contender("b", 5.0)
    now = 1000.0 + first
    for _ in range(40):
        for each in (holder, waiting):
            each.look(server, now)
            each.receive(now)
            each.act(server, now, answer_lost=False)
        now += period
    assert server.record.holder == "a"
    now += RENEW_DEADLINE_SECONDS
    assert not holder.holds(now)
    for _ in range(int(LEASE_DURATION_SECONDS / period) + 2):
        waiting.look(server, now)
        waiting.receive(now)
        waiting.act(server, now, answer_lost=False)
        now += period
    assert server.record.holder == "b"

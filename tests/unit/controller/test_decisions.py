"""Rollout, deletion, accounts and silence: the operator's decisions, each from values alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from openbell.controller.accounts import Accounts, account_of
from openbell.controller.deletion import FLATTEN_PATIENCE_SECONDS, DeletionFacts, decide_deletion
from openbell.controller.rollout import (
    STOP_PATIENCE_SECONDS,
    Rollout,
    RolloutFacts,
    decide_rollout,
    is_rolled_out,
    pods_alive,
    trouble_of,
)
from openbell.controller.silence import LeaseWatch, Verdict


def rollout(**facts: Any) -> Rollout:
    usual: dict[str, Any] = {
        "is_stalled": False,
        "scale_to_zero": False,
        "current": 1,
        "stop_acknowledged": False,
        "must_flatten": False,
        "stop_waited_seconds": 0.0,
    }
    return decide_rollout(RolloutFacts(**(usual | facts)))


def test_a_deployment_is_made_at_zero_and_raised_only_by_way_of_a_live_look() -> None:
    assert rollout(current=None) == Rollout(0, wants_raise=True)
    assert rollout(current=0) == Rollout(0, wants_raise=True)


def test_no_decision_ever_raises_replicas_by_itself_or_gives_more_than_one() -> None:
    choices = [(False, True), (False, True), (None, 0, 1, 2, 5), (False, True), (False, True), (0.0, 1e6)]
    names = ("is_stalled", "scale_to_zero", "current", "stop_acknowledged", "must_flatten", "stop_waited_seconds")
    for values in itertools.product(*choices):
        facts = dict(zip(names, values, strict=True))
        decided = rollout(**facts)
        assert decided.replicas <= min(1, int(facts["current"] or 0))


def test_a_stalled_scheduler_has_no_runner() -> None:
    assert rollout(is_stalled=True) == Rollout(0)


def test_the_pod_goes_only_after_the_runner_has_acknowledged_the_stop() -> None:
    waiting = rollout(scale_to_zero=True)
    assert waiting.replicas == 1
    assert waiting.progress is not None
    assert rollout(scale_to_zero=True, stop_acknowledged=True) == Rollout(0)


def test_a_runner_that_cannot_answer_holds_up_a_stop_for_two_minutes_unless_positions_are_to_be_closed() -> None:
    late = STOP_PATIENCE_SECONDS
    assert rollout(scale_to_zero=True, stop_waited_seconds=late) == Rollout(0)
    assert rollout(scale_to_zero=True, stop_waited_seconds=late, must_flatten=True).replicas == 1


def pod(name: str = "p", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name}, "status": status}


def test_a_terminating_or_unknown_pod_is_alive_and_one_whose_containers_have_ended_is_not() -> None:
    terminating = pod("t", phase="Running")
    terminating["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
    pods = [terminating, pod("u"), pod("s", phase="Succeeded"), pod("f", phase="Failed")]
    assert pods_alive(pods) == ["t", "u"]


def test_a_rollout_is_done_when_the_newest_template_is_ready() -> None:
    done = {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1}
    deployment = {"metadata": {"generation": 2}, "status": done}
    assert is_rolled_out(deployment)
    for field, value in (("observedGeneration", 1), ("updatedReplicas", 0), ("availableReplicas", 0)):
        assert not is_rolled_out({"metadata": {"generation": 2}, "status": done | {field: value}})
    assert not is_rolled_out(None)


def test_trouble_is_told_in_the_kubelets_words() -> None:
    cause = trouble_of([pod(waiting="ImagePullBackOff", message='Back-off pulling image "x"')])
    assert (cause.reason, cause.message) == ("ImagePullBackOff", 'the runner pod waits: Back-off pulling image "x"')
    assert trouble_of([]).reason == "RunnerStarting"


def deletion(**facts: Any) -> float:
    usual: dict[str, Any] = {
        "must_flatten": True,
        "has_pod": True,
        "ever_ran": True,
        "is_flat": False,
        "namespace_is_ending": False,
        "waited_seconds": 10.0,
    }
    return decide_deletion(DeletionFacts(**(usual | facts))).seconds_left


def test_a_deleted_scheduler_waits_for_its_runner_to_close_positions_within_bounded_time() -> None:
    assert deletion() == FLATTEN_PATIENCE_SECONDS - 10
    assert deletion(waited_seconds=FLATTEN_PATIENCE_SECONDS) == 0


@pytest.mark.parametrize(
    "facts",
    [
        {"must_flatten": False},
        {"namespace_is_ending": True},
        {"is_flat": True},
        {"has_pod": False},
        {"ever_ran": False},
    ],
)
def test_a_deleted_scheduler_is_let_go_at_once_where_waiting_would_not_help(facts: dict[str, Any]) -> None:
    assert deletion(**facts) == 0


def ibkr(host: str, account: str) -> dict[str, Any]:
    return {"broker": {"type": "IBKR", "ibkr": {"host": host, "port": 4002, "account": account}}}


def test_an_account_belongs_to_the_scheduler_that_named_it_first() -> None:
    accounts = Accounts()
    account = account_of(ibkr("GW", "DU1"), "n")
    assert account == ("gw.n", "DU1")
    assert account_of({"broker": {"type": "Simulated"}}, "n") is None
    assert accounts.claim(("n", "young"), account, "2026-02-01", "b") == set()
    assert accounts.claim(("n", "old"), account, "2026-01-01", "a") == {("n", "young")}
    assert accounts.holder_before(("n", "young")) == ("n", "old")
    assert accounts.holder_before(("n", "old")) is None
    assert accounts.claim(("n", "old"), account, "2026-01-01", "a") == set()
    assert accounts.claim(("n", "old"), None, "", "") == {("n", "young")}
    assert accounts.holder_before(("n", "young")) is None


def test_a_scheduler_that_names_another_account_gives_the_first_one_free() -> None:
    accounts = Accounts()
    for name, created in (("a", "2026-01-01"), ("b", "2026-01-02"), ("c", "2026-01-03")):
        accounts.claim(("n", name), ("gw", "DU1"), created, name)
    accounts.claim(("n", "d"), ("gw", "DU2"), "2026-01-04", "d")
    assert accounts.holder_before(("n", "c")) == ("n", "a"), "the earliest"
    assert accounts.claim(("n", "a"), ("gw", "DU2"), "2026-01-01", "a") == {("n", "b"), ("n", "c"), ("n", "d")}
    assert [accounts.holder_before(("n", name)) for name in "abcd"] == [None, None, ("n", "b"), ("n", "a")]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("gw", "DU1"), ("gw", "DU1"), True),
        (("gw", "DU1"), ("gw", "DU2"), False),
        (("gw", "DU1"), ("gw", ""), True),  # whichever the gateway has may be that one
        (("gw", ""), ("gw", ""), True),
        (("gw", "DU1"), ("gw.n.svc", "DU1"), True),
        (("gw", "DU1"), ("gw.n.svc.cluster.local.", "DU1"), True),
        (("gw", "DU1"), ("gw.m", "DU1"), False),
        (("gw.example.org", ""), ("gw.example.org", "DU1"), True),
        (("10.0.0.1", "DU1"), ("10.0.0.2", "DU1"), False),
    ],
)
def test_two_names_of_one_account(one: tuple[str, str], other: tuple[str, str], same: bool) -> None:
    accounts = Accounts()
    accounts.claim(("n", "old"), account_of(ibkr(*one), "n"), "2026-01-01", "a")
    affected = accounts.claim(("n", "young"), account_of(ibkr(*other), "n"), "2026-02-01", "b")
    assert accounts.holder_before(("n", "young")) == (("n", "old") if same else None)
    assert affected == ({("n", "old")} if same else set())


def test_a_service_of_another_namespace_is_another_gateway() -> None:
    assert account_of(ibkr("gw", "DU1"), "n") != account_of(ibkr("gw", "DU1"), "m")


def lease(renewed: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "1"},
        "spec": {"holderIdentity": "pod", "renewTime": renewed},
    }


class Silence:
    """A lease watch on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.told: list[Verdict] = []
        self.watch = LeaseWatch(
            lambda _obj, _exists: None, lambda name: self.told.append(self.watch.verdict(name)), clock=lambda: self.now
        )
        self.watch.alive(True)

    @property
    def verdict(self) -> Verdict:
        return self.watch.verdict(("n", "x"))


def test_a_runner_is_silent_only_after_its_lease_was_seen_unchanged_for_a_duration() -> None:
    world = Silence()
    world.watch.observe(lease("2026-11-24T00:00:00Z"))
    world.now += 14.9
    assert world.verdict is Verdict.UNSURE
    world.now += 0.1
    world.watch.sweep()
    world.watch.sweep()
    assert world.told == [Verdict.SILENT]
    world.watch.observe(lease("2026-11-24T00:00:20Z"))
    assert world.told == [Verdict.SILENT, Verdict.FRESH]


def test_what_was_not_watched_is_not_called_silent() -> None:
    world = Silence()
    world.watch.observe(lease("2026-11-24T00:00:00Z"))
    world.watch.observe(lease("2026-11-24T00:00:04Z"))
    assert world.verdict is Verdict.FRESH
    world.watch.alive(False)
    world.now += 100
    assert world.verdict is Verdict.UNSURE
    world.watch.alive(True)
    assert world.verdict is Verdict.UNSURE
    world.now += 15
    assert world.verdict is Verdict.SILENT

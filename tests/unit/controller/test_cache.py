"""The cache: what wakes a reconcile, what does not, and what is found through it."""

from __future__ import annotations

from typing import Any

from openbell.controller.cache import Cache
from openbell.kube.resources import SERVICES, STRATEGIES, TRADING_SCHEDULERS


def scheduler(version: int = 1, *, uid: str = "s", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "alpha",
            "namespace": "n",
            "uid": uid,
            "resourceVersion": str(version),
            "generation": 1,
            "managedFields": [{"manager": "x" * 1000}],
        },
        "spec": {"enabled": True},
        "status": status,
    }


def strategy(name: str, ref: str, version: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": str(version)},
        "spec": {"schedulerRef": {"name": ref}},
    }


def service(uid: str = "svc", label: str = "alpha") -> dict[str, Any]:
    labels = {"openbell.dev/scheduler": label}
    return {"metadata": {"name": "alpha-api", "namespace": "n", "uid": uid, "resourceVersion": "5", "labels": labels}}


ALPHA = ("n", "alpha")


def test_statistics_that_change_wake_nobody_and_conditions_do() -> None:
    cache = Cache()
    assert cache.observe(TRADING_SCHEDULERS, scheduler(1))
    assert not cache.observe(TRADING_SCHEDULERS, scheduler(2, stats={"evaluationsRun": 7}, equity="1"))
    kept = cache.get(TRADING_SCHEDULERS, ALPHA)
    assert kept is not None
    assert kept["metadata"]["resourceVersion"] == "2"
    assert "managedFields" not in kept["metadata"]
    assert cache.observe(TRADING_SCHEDULERS, scheduler(3, conditions=[{"type": "Paused"}]))


def test_an_event_older_than_our_own_write_is_not_believed() -> None:
    cache = Cache()
    cache.observe(TRADING_SCHEDULERS, scheduler(9, state="Running"))
    assert not cache.observe(TRADING_SCHEDULERS, scheduler(8, state="Stopped"))
    assert cache.observe(TRADING_SCHEDULERS, scheduler(2, uid="another", state="Stopped"))


def test_what_belongs_to_a_scheduler_is_found_and_moves_when_it_points_elsewhere() -> None:
    cache = Cache()
    for name in ("b", "a"):
        cache.observe(STRATEGIES, strategy(name, "alpha"))
    cache.observe(SERVICES, service())
    assert [each["metadata"]["name"] for each in cache.of_scheduler(STRATEGIES, ALPHA)] == ["a", "b"]
    cache.observe(STRATEGIES, strategy("a", "beta", version=2))
    assert [each["metadata"]["name"] for each in cache.of_scheduler(STRATEGIES, ALPHA)] == ["b"]
    assert [each["metadata"]["name"] for each in cache.of_scheduler(STRATEGIES, ("n", "beta"))] == ["a"]


def test_a_deletion_of_an_earlier_object_does_not_drop_its_successor() -> None:
    cache = Cache()
    cache.observe(SERVICES, service("second"))
    assert not cache.forget(SERVICES, ("n", "alpha-api"), "first")
    assert cache.forget(SERVICES, ("n", "alpha-api"), "second")
    assert cache.get(SERVICES, ("n", "alpha-api")) is None


def test_a_list_drops_what_was_known_before_it_and_is_not_on_it() -> None:
    cache = Cache()
    cache.observe(STRATEGIES, strategy("gone", "alpha"))
    cache.observe(STRATEGIES, strategy("stays", "alpha"))
    before = cache.uids(STRATEGIES)
    cache.observe(STRATEGIES, strategy("new", "alpha"))  # came while the list was under way
    assert cache.prune(STRATEGIES, before, {"stays"}) == [("n", "gone")]
    assert cache.missing(STRATEGIES, {"stays", "new", "unseen"}) == {"unseen"}

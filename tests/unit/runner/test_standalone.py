"""Resources from files: what the file says, what REST said since, and what is kept over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes.trading import until
from openbell.domain.errors import ManifestError
from openbell.resources.scheduler import SchedulerSpec
from openbell.runner import standalone
from openbell.runner.settings import SchedulerVariables
from openbell.runner.source import Observed
from openbell.runner.standalone import FileSource


def scheduler(name: str = "main", **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "TradingScheduler",
        "metadata": {"name": name},
        "spec": {"enabled": True, **spec},
    }


def strategy(name: str = "trend", of: str = "main", **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "openbell.dev/v1alpha1",
        "kind": "Strategy",
        "metadata": {"name": name},
        "spec": {"schedulerRef": {"name": of}, "type": "Momentum", "symbols": ["AAPL"], **spec},
    }


class Place:
    """A file and a folder, and runs that come and go."""

    def __init__(self, root: Path) -> None:
        self.file = root / "main.yaml"
        self.folder = root / "data"
        self.told: list[Observed] = []
        self.source = self.start()

    def write(self, *documents: Mapping[str, Any] | str) -> None:
        texts = [each if isinstance(each, str) else yaml.safe_dump(dict(each)) for each in documents]
        self.file.write_text("---\n".join(texts), encoding="utf-8")

    def start(self, **variables: Any) -> FileSource:
        """As a new process does."""
        self.source = FileSource([self.file], self.folder, SchedulerVariables(**variables))
        return self.source

    def look(self) -> bool:
        """What the source does when it sees that a file changed."""
        self.source._on_change = self.told.append
        return self.source._look()

    @property
    def spec(self) -> SchedulerSpec:
        manifest = self.source.read().scheduler
        assert manifest is not None
        assert isinstance(manifest.spec, SchedulerSpec)
        return manifest.spec

    @property
    def generation(self) -> int:
        manifest = self.source.read().scheduler
        assert manifest is not None
        return manifest.generation


@pytest.fixture
def place(folder: Path) -> Place:
    made = Place(folder)
    made.write(scheduler(), strategy())
    return made


def test_a_file_gives_its_scheduler_and_its_strategies(place: Place) -> None:
    observed = place.source.read()
    assert observed.scheduler is not None
    assert (observed.scheduler.name, observed.scheduler.generation, list(observed.strategies)) == ("main", 1, ["trend"])


def test_without_a_file_there_is_a_scheduler_that_is_off(folder: Path) -> None:
    observed = FileSource([], folder, SchedulerVariables()).read()
    assert observed.scheduler is not None
    assert isinstance(observed.scheduler.spec, SchedulerSpec)
    assert (observed.scheduler.name, observed.scheduler.spec.enabled) == ("scheduler", False)


def test_a_variable_outweighs_the_file(place: Place) -> None:
    place.start(evaluation_interval=7, enabled=False)
    assert (place.spec.evaluation_interval_seconds, place.spec.enabled) == (7, False)


# -- generations


def test_the_generation_grows_with_each_change_and_with_nothing_else(place: Place) -> None:
    assert (place.generation, place.generation) == (1, 1)
    place.write(scheduler(minConfidence=0.7), strategy())
    assert (place.generation, place.generation) == (2, 2)
    place.write("# a remark\n", scheduler(minConfidence=0.7), strategy("other"))
    assert place.generation == 2


def test_the_generation_is_kept_over_a_restart(place: Place) -> None:
    place.write(scheduler(minConfidence=0.7))
    assert place.generation == 1
    place.start()
    assert place.generation == 1
    place.write(scheduler(minConfidence=0.8))
    place.start()
    assert place.generation == 2


# -- what REST says


async def test_a_pause_by_rest_outweighs_the_file_and_is_kept(place: Place) -> None:
    assert place.look()
    assert await place.source.patch_scheduler({"paused": True}) == 2
    assert place.told[-1].scheduler is not None
    assert place.told[-1].scheduler.generation == 2
    place.start()
    assert (place.spec.paused, place.spec.enabled, place.generation) == (True, True, 2)


async def test_an_edit_of_something_else_leaves_the_word_of_rest(place: Place) -> None:
    place.look()
    await place.source.patch_scheduler({"paused": True})
    place.write(scheduler(minConfidence=0.7))
    place.look()
    assert (place.spec.paused, place.spec.min_confidence) == (True, 0.7)


async def test_an_edit_of_the_lifecycle_is_newer_than_what_rest_said(place: Place) -> None:
    place.look()
    await place.source.patch_scheduler({"enabled": False})
    place.write(scheduler(paused=True))
    place.look()
    assert (place.spec.enabled, place.spec.paused) == (True, True)


async def test_an_edit_while_nothing_ran_is_newer_too(place: Place) -> None:
    place.look()
    await place.source.patch_scheduler({"paused": True})
    place.write(scheduler(enabled=False))
    place.start()
    assert (place.spec.enabled, place.spec.paused) == (False, False)


async def test_the_same_word_twice_is_one_generation(place: Place) -> None:
    place.look()
    assert await place.source.patch_scheduler({"paused": True}) == 2
    assert await place.source.patch_scheduler({"paused": True}) == 2
    assert await place.source.patch_scheduler({"paused": False}) == 3


async def test_a_pause_takes_effect_although_the_file_is_wrong_just_now(place: Place) -> None:
    place.look()
    place.write("spec: [")
    assert await place.source.patch_scheduler({"paused": True}) == 2
    paused = place.told[-1].scheduler
    assert paused is not None
    assert isinstance(paused.spec, SchedulerSpec)
    assert (paused.spec.paused, paused.generation, list(place.told[-1].strategies)) == (True, 2, ["trend"])
    place.write(scheduler(), strategy())
    place.look()
    assert (place.spec.paused, place.generation) == (True, 2)


async def test_a_patch_before_anything_was_read_is_refused_where_the_file_is_wrong(place: Place) -> None:
    place.write("spec: [")
    with pytest.raises(ManifestError, match="cannot be read"):
        await place.source.patch_scheduler({"paused": True})


# -- what is wrong


def test_what_is_for_a_cluster_alone_is_passed_over(place: Place) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "gateway"}, "spec": {"ports": []}}
    place.write(yaml.safe_dump_all([service, scheduler(), strategy()]))
    observed = place.source.read()
    assert observed.scheduler is not None
    assert len(observed.strategies) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spec: [", "main.yaml"),
        (yaml.safe_dump(scheduler(minConfidence=2)), "minConfidence"),
        (yaml.safe_dump(scheduler(pauzed=True)), "pauzed"),
        ("kind: Deployment", "must be TradingScheduler, Strategy or ConfigMap"),
        ("- a\n- b", "must be TradingScheduler, Strategy or ConfigMap"),
        (yaml.safe_dump(strategy(of="other")), "the scheduler here is scheduler"),
    ],
)
def test_an_edit_that_is_wrong_is_refused_and_the_last_good_one_stays(place: Place, text: str, said: str) -> None:
    assert place.look()
    place.write(text)
    with pytest.raises(ManifestError, match=said):
        place.source.read()
    assert not place.look()
    assert len(place.told) == 1
    place.write(scheduler(paused=True))
    assert place.look()
    assert len(place.told) == 2


def test_a_file_that_is_gone_leaves_the_last_good_one(place: Place) -> None:
    place.look()
    place.file.unlink()
    assert not place.look()
    with pytest.raises(ManifestError, match="cannot be read"):
        place.source.read()


def test_two_schedulers_are_refused(place: Place) -> None:
    place.write(scheduler("one"), scheduler("two"))
    with pytest.raises(ManifestError, match=r"2 schedulers \(one, two\); a runner has exactly one"):
        place.source.read()


def test_two_strategies_of_one_name_are_refused(place: Place) -> None:
    place.write(scheduler(), strategy(), strategy(symbols=["MSFT"]))
    with pytest.raises(ManifestError, match="two strategies called 'trend'"):
        place.source.read()


# -- strategies by REST


async def test_a_strategy_that_is_added_is_told_and_kept(place: Place) -> None:
    place.look()
    made = await place.source.create_strategy(strategy("added"))
    assert made.name == "added"
    assert list(place.told[-1].strategies) == ["trend", "added"]
    place.start()
    assert list(place.source.read().strategies) == ["trend", "added"]


@pytest.mark.parametrize("name", ["trend", "added"])
async def test_a_name_that_is_taken_is_refused(place: Place, name: str) -> None:
    place.look()
    await place.source.create_strategy(strategy("added"))
    with pytest.raises(ManifestError, match=f"metadata.name is '{name}'; a Strategy of that name exists"):
        await place.source.create_strategy(strategy(name))


async def test_a_strategy_that_is_wrong_is_not_kept(place: Place) -> None:
    place.look()
    with pytest.raises(ManifestError, match="symbols"):
        await place.source.create_strategy(strategy("added", symbols=[]))
    assert list(place.source.read().strategies) == ["trend"]


async def test_a_name_that_leaves_the_folder_is_refused(place: Place) -> None:
    place.look()
    with pytest.raises(ManifestError, match="name is"):
        await place.source.create_strategy(strategy("../../evil"))


# -- watching


async def test_files_are_watched(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone, "LOOK_SECONDS", 0.002)
    watching = asyncio.create_task(place.source.run(place.told.append))
    await until(lambda: len(place.told) > 0)
    place.write(scheduler(paused=True), strategy())
    await until(lambda: bool(place.told[-1].scheduler and place.told[-1].scheduler.generation == 2))
    place.write("spec: [")
    await asyncio.sleep(0.02)
    told = len(place.told)
    place.write(scheduler(paused=False), strategy())
    await until(lambda: len(place.told) > told)
    assert place.told[-1].scheduler is not None
    assert place.told[-1].scheduler.generation == 3
    watching.cancel()


async def test_a_status_goes_nowhere(place: Place) -> None:
    await place.source.write_status("TradingScheduler", "main", {"state": "Running"})
    assert not place.folder.exists()

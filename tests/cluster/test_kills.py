"""Runners are killed, again and again, while they trade: no order is sent twice, none is lost, and the counts go on."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from lab import Object, Place, Venue, epoch, kill_container, positions, says, stats

KILLS = 20
SIDE_BY_SIDE = 4
SEED = 20


@dataclass
class Desk:
    """One scheduler with a broker of its own, and what was seen of it."""

    place: Place
    name: str
    venue: Venue
    epochs: list[int] = field(default_factory=list)
    trades: list[int] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)

    def leading(self, above: int = 0) -> Object:
        """The scheduler, once a runner with a higher epoch leads and has traded again."""
        return self.place.wait(
            lambda it: (
                says(it, "RunnerLeading", "True")
                and says(it, "BrokerInSync", "True")
                and epoch(it) > above
                and stats(it, "tradesExecuted") > (self.trades[-1] if self.trades else 0)
            ),
            self.name,
            150,
        )

    def note(self, resource: Object) -> None:
        self.epochs.append(epoch(resource))
        self.trades.append(stats(resource, "tradesExecuted"))
        self.evaluations.append(stats(resource, "evaluationsRun"))


def desk(place: Place, number: int) -> Desk:
    name = f"desk-{number}"
    venue = place.venue(f"venue-{number}")
    exits = {"stopLoss": 0.02, "takeProfit": 0.02, "maxHoldingSeconds": 2}
    limits = {"maxOrdersPerMinute": 1000, "maxOrdersPerDay": 100_000, "maxDailyLossFraction": 1}
    place.api.apply(
        place.scheduler(name, broker=venue.broker, exits=exits, risk=limits, pausePolicy={"openOrders": "Keep"}),
        place.strategy(f"momentum-{number}", name),
    )
    return Desk(place, name, venue)


def kill_again_and_again(desk: Desk, times: int, rng: random.Random) -> None:
    """Every second time the container alone, which the kubelet starts again in place; else the whole pod."""
    for turn in range(times):
        resource = desk.leading(above=desk.epochs[-1] if desk.epochs else 0)
        desk.note(resource)
        # Somewhere within its ticks: evaluation and exits come once a second.
        time.sleep(rng.random())
        pod = desk.place.api.get("Pod", desk.place.namespace, resource["status"]["runner"]["pod"])
        assert pod is not None
        kill_container(pod)
        if turn % 2:
            desk.place.api.delete("Pod", desk.place.namespace, pod["metadata"]["name"], grace=0)
    desk.note(desk.leading(above=desk.epochs[-1]))


STATUS_SECONDS = 15.0  # a status that is no transition is written within this time


def settle(desk: Desk) -> Object:
    """Nothing new is opened, and what is open is left by its exits.

    An entry that works when the pause comes may still fill (pausePolicy.openOrders is Keep), so that what has no
    position yet is waited for as well: every entry that was counted has been left, and stays so for a while.
    """
    desk.place.ask(desk.name, paused=True)
    desk.place.wait(lambda it: says(it, "Paused", "True"), desk.name, 60)
    time.sleep(2 * STATUS_SECONDS)
    return desk.place.wait(
        lambda it: not positions(it) and stats(it, "tradesExecuted") == stats(it, "exitsExecuted"), desk.name, 120
    )


@pytest.mark.timeout(560, func_only=True)
def test_twenty_kills_send_no_order_twice_and_lose_none(place: Place) -> None:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        desks = list(pool.map(lambda number: desk(place, number), range(SIDE_BY_SIDE)))
        work = [
            pool.submit(kill_again_and_again, each, KILLS // SIDE_BY_SIDE, random.Random(SEED + number))
            for number, each in enumerate(desks)
        ]
        for done in work:
            done.result()
        settled = list(pool.map(settle, desks))

    for each, resource in zip(desks, settled, strict=True):
        arrivals = [arrival for arrival in each.venue.ask("arrivals") if arrival["kind"] == "Order"]
        sent = Counter(arrival["order_ref"] for arrival in arrivals)
        entries = stats(resource, "tradesExecuted")
        exits = stats(resource, "exitsExecuted")
        fills = each.venue.ask("executions")
        # No reference arrived twice, and what was counted is what was filled: entries, and exits of any kind.
        assert [ref for ref, times in sent.items() if times > 1] == []
        assert len({fill["order_ref"] for fill in fills}) == entries + exits
        assert entries == exits
        # Bought and sold in equal parts: no position was forgotten, none was left twice.
        assert net(fills) == {}
        assert each.epochs == sorted(set(each.epochs))
        assert each.trades == sorted(set(each.trades))
        # The count of an evaluation is written after its orders, so a kill between the two may cost one, never more.
        assert each.evaluations == sorted(each.evaluations)
    assert sum(len(each.epochs) - 1 for each in desks) >= KILLS


def net(fills: list[Object]) -> dict[str, float]:
    """What the fills come to by symbol, where that is not nothing."""
    held: dict[str, float] = {}
    for fill in fills:
        sign = 1 if fill["side"] == "Buy" else -1
        held[fill["symbol"]] = held.get(fill["symbol"], 0) + sign * float(fill["quantity"])
    return {symbol: quantity for symbol, quantity in held.items() if quantity}

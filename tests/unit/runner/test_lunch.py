"""A lunch break, as the runner keeps it: no exit is sent, no day begins anew, no data grows old."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fakes.trading import World, scheduler_manifest, strategy_manifest
from openbell.market.calendar import calendar_for
from openbell.runner.situation import open_seconds

TOKYO = ZoneInfo("Asia/Tokyo")
XTKS = calendar_for("XTKS")


def tokyo(text: str, day: str = "2026-11-24") -> datetime:
    return datetime.fromisoformat(f"{day}T{text}").replace(tzinfo=TOKYO).astimezone(UTC)


@pytest.fixture
async def holding(world: World) -> World:
    """Ten AAPL at 100 on a market with Tokyo's hours; the price is below the stop."""
    world.take(scheduler_manifest(market={"calendar": "XTKS"}), strategy_manifest())
    world.situation.calendar = XTKS
    await world.hold("a")
    world.broker.says(AAPL=10)
    world.broker.sent.clear()
    world.market.prices["AAPL"] = 97.0
    return world


async def test_a_stop_that_is_passed_at_lunch_is_acted_on_when_trading_goes_on(holding: World) -> None:
    for moment in ("11:30", "12:00", "12:29:59"):
        holding.clock.set(tokyo(moment))
        await holding.exits.check()
        assert not holding.situation.can_run()
        assert holding.broker.sent == []
    assert holding.situation.why() == "market closed for lunch until 12:30 JST"
    holding.clock.set(tokyo("12:30"))
    await holding.exits.check()
    assert [intent.reason for intent in holding.broker.sent] == ["STOP_LOSS"]


async def test_before_lunch_an_exit_is_sent(holding: World) -> None:
    holding.clock.set(tokyo("11:29:59"))
    await holding.exits.check()
    assert len(holding.broker.sent) == 1


async def test_lunch_begins_no_new_trading_day(holding: World) -> None:
    assert {holding.situation.day_start(tokyo(each)) for each in ("09:00", "12:00", "15:29")} == {tokyo("09:00")}


def test_data_does_not_age_at_lunch_nor_between_sessions() -> None:
    def minutes(until: datetime) -> float:
        return open_seconds(XTKS, tokyo("11:00"), until, hours_only=True) / 60

    ages = [minutes(tokyo(each)) for each in ("11:30", "12:00", "12:30", "12:40", "15:30")]
    assert ages == [30, 30, 30, 40, 210]
    assert minutes(tokyo("09:05", "2026-11-25")) == 215


def test_data_of_an_evening_session_ages_from_its_evening() -> None:
    chicago = ZoneInfo("America/Chicago")
    friday = datetime(2026, 11, 20, 15, 50, tzinfo=chicago)
    sunday = datetime(2026, 11, 22, 17, 5, tzinfo=chicago)
    assert open_seconds(calendar_for("CMES"), friday, sunday, hours_only=True) == 15 * 60

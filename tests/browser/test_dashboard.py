"""The dashboard as a person meets it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from dashboard_page import SCREENSHOTS, opened, served
from playwright.async_api import Browser, Page, expect

from fakes import runner_view as fake
from openbell.domain.errors import JournalError
from openbell.domain.reasons import Reason
from openbell.domain.state import TradingState
from openbell.web.hub import Hub
from openbell.web.values import ConditionView, ReplayView

pytestmark = pytest.mark.timeout(60)


async def sees(page: Page, testid: str, text: str) -> None:
    await expect(page.get_by_test_id(testid)).to_contain_text(text, timeout=8000)


async def test_it_shows_everything_and_complains_of_nothing(browser: Browser) -> None:
    async with served(fake.busy_runner()) as port, opened(browser, port) as (page, seen):
        await sees(page, "banner", "PAPER")
        await sees(page, "scheduler-name", "quickstart")
        await sees(page, "state", "Running")
        await sees(page, "connection", "Connected, data 1 s old")
        await sees(page, "open-trades", "3 of 5")
        await sees(page, "position-IBM", "+292.60")
        await sees(page, "position-IBM", "leaving")
        await sees(page, "position-MSFT", "−71.94")
        await sees(page, "position-AAPL", "stop 242.85")
        await sees(page, "order-TSLA", "the symbol is halted")
        await sees(page, "strategy-momentum-watch", "paused by a person")
        await sees(page, "log", "order.rejected")
        await sees(page, "stat-evaluations", "142")
        refused = page.locator('[data-testid=signal][data-decision="LOW_CONFIDENCE"]')
        await expect(refused).to_contain_text("Not ordered: the confidence is below the minimum (0.42 is below 0.50)")
        await expect(page.get_by_test_id("equity-chart")).to_have_attribute("data-points", "400")
        assert await page.get_by_test_id("equity-chart").locator("canvas").count() > 0
        assert "quickstart · PAPER" in await page.title()
        assert seen.complaints == []


async def test_a_position_says_whose_it_is_what_it_was_bought_in_and_whether_its_stop_is_at_the_broker(
    browser: Browser,
) -> None:
    runner = fake.busy_runner()
    held = fake.position("KO", is_protected=False)
    own = fake.position("PEP", is_protected=False, broker_side=False)
    runner.view_positions = (*runner.view_positions, held, own)
    async with served(runner) as port, opened(browser, port) as (page, seen):
        await sees(page, "position-AAPL", "owned by momentum-tech")
        await sees(page, "position-AAPL", "stop rests at the broker")
        await sees(page, "position-KO", "no stop at the broker yet")
        await sees(page, "position-PEP", "watched by the runner only")
        await expect(page.get_by_test_id("position-IBM").locator(".protection")).to_have_count(0)
        await sees(page, "lots-AAPL", "2 lots, oldest first: 25 at 247.10, 13:48 · 15 at 248.99, 13:50")
        await expect(page.get_by_test_id("lots-MSFT")).to_have_count(0)
        runner.view_positions = (replace(held, is_protected=True),)
        runner.hub.publish(runner.portfolio())
        await sees(page, "position-KO", "stop rests at the broker")
        assert seen.complaints == []


async def test_a_lock_is_shown_with_its_reason_and_lifted_with_the_token_after_a_question(browser: Browser) -> None:
    runner = fake.busy_runner()
    async with served(runner, token="right-token") as port, opened(browser, port) as (page, _):
        await sees(page, "lock-newsday", "Openings of TSLA are held back until a person unlocks them")
        await sees(page, "lock-newsday", "earnings tonight · since 14:25:00 by REST")
        await sees(page, "lock-k2v7wq4mzt3a", "Openings of strategy momentum-tech are held back until 15:25:00")
        await sees(page, "lock-k2v7wq4mzt3a", "2 losing stops within 3600 s")
        await page.get_by_test_id("unlock-newsday").click()
        await sees(page, "dialog-unlock", "Unlock openings of TSLA?")
        await page.keyboard.press("Escape")
        assert len(runner.view_locks) == 2
        await page.get_by_test_id("unlock-newsday").click()
        await page.get_by_test_id("confirm-unlock").click()
        await page.get_by_test_id("token-input").fill("right-token")
        assert len(runner.view_locks) == 2
        await page.get_by_test_id("token-submit").click()
        await sees(page, "notice", "The lock on openings of TSLA is lifted.")
        await expect(page.get_by_test_id("lock-newsday")).to_have_count(0)
        await page.get_by_test_id("unlock-k2v7wq4mzt3a").click()
        await page.get_by_test_id("confirm-unlock").click()
        await expect(page.get_by_test_id("locks")).to_have_count(0)
    assert runner.view_locks == ()


async def test_the_latest_decisions_are_told_in_words(browser: Browser) -> None:
    runner = fake.busy_runner()
    async with served(runner) as port, opened(browser, port) as (page, seen):
        decisions = page.get_by_test_id("decision")
        await expect(decisions).to_have_count(7)
        kept = page.locator('[data-testid=decision][data-symbol="GOOG"]')
        await expect(kept).to_contain_text("The confidence is below the minimum")
        await expect(kept).to_contain_text("0.42 is below 0.50")
        await expect(kept).to_contain_text("18 times")
        await expect(page.locator('[data-testid=decision][data-reason="HOLD"]').first).to_contain_text(
            "No rule to leave it was reached"
        )
        assert seen.complaints == []


async def test_a_trail_that_cannot_be_read_takes_nothing_else_off_the_page(browser: Browser) -> None:
    runner = fake.busy_runner()
    runner.fail_decisions = JournalError("the decision trail is closed")
    async with served(runner) as port, opened(browser, port) as (page, _):
        await sees(page, "log", "order.rejected")
        await sees(page, "decisions-empty", "The decision trail cannot be read now.")
        await expect(page.get_by_test_id("lock-newsday")).to_be_visible()
        runner.fail_decisions = None
        runner.hub.publish(fake.trade())
        await expect(page.get_by_test_id("decision")).to_have_count(7)
        runner.fail_decisions = JournalError("the decision trail is behind with its writing")
        runner.hub.publish(fake.trade("MSFT"))
        await sees(page, "decisions", "As of before: the trail cannot be read now")
        await expect(page.get_by_test_id("decision")).to_have_count(7)


async def test_a_market_without_closing_hours_is_said_to_be_always_open(browser: Browser) -> None:
    runner = fake.busy_runner()
    runner.view_status = fake.status(next_open=None, next_close=None)
    async with served(runner) as port, opened(browser, port) as (page, _):
        await sees(page, "market", "Always open")


async def test_a_fresh_runner_says_in_words_that_there_is_nothing_yet(browser: Browser) -> None:
    runner = fake.FakeRunner(fake.status(state=TradingState.STOPPED, enabled=False), equity=None)
    async with served(runner) as port, opened(browser, port) as (page, seen):
        for panel in ("positions", "orders", "signals", "strategies", "equity", "decisions", "log"):
            await expect(page.get_by_test_id(f"{panel}-empty")).to_be_visible()
        await expect(page.get_by_test_id("locks")).to_have_count(0)
        await sees(page, "equity", "–")
        await expect(page.get_by_test_id("button-start")).to_be_enabled()
        await expect(page.get_by_test_id("button-stop")).to_have_count(0)
        assert seen.complaints == []


async def test_pausing_and_resuming_from_the_keyboard(browser: Browser) -> None:
    runner = fake.busy_runner()
    async with served(runner) as port, opened(browser, port) as (page, _):
        await page.get_by_test_id("button-pause").focus()
        await page.keyboard.press("Enter")
        await sees(page, "state", "Paused")
        await sees(page, "why", "a person paused it")
        await sees(page, "notice", "the runner has acknowledged it")
        await page.get_by_test_id("button-resume").press("Space")
        await sees(page, "state", "Running")
    assert [call for call, _ in runner.calls] == ["pause", "resume"]


async def test_an_unacknowledged_pause_is_not_called_done(browser: Browser) -> None:
    runner = fake.busy_runner()
    runner.acknowledges = False
    async with served(runner) as port, opened(browser, port) as (page, _):
        await page.get_by_test_id("button-pause").click()
        await sees(page, "notice", "has not acknowledged it yet")


async def test_stopping_asks_first_and_takes_no_for_an_answer(browser: Browser) -> None:
    runner = fake.busy_runner()
    async with served(runner) as port, opened(browser, port) as (page, _):
        await page.get_by_test_id("button-stop").click()
        await sees(page, "dialog-stop", "The 3 open positions are kept without being watched")
        await page.keyboard.press("Escape")
        await expect(page.get_by_test_id("dialog-stop")).to_have_count(0)
        assert runner.calls == []
        await page.get_by_test_id("button-stop").click()
        await page.get_by_test_id("confirm-stop").click()
        await sees(page, "state", "Stopped")
    assert [call for call, _ in runner.calls] == ["stop"]


async def test_the_token_is_asked_for_once_and_kept_for_the_tab(browser: Browser) -> None:
    runner = fake.busy_runner()
    async with served(runner, token="right-token") as port, opened(browser, port) as (page, _):
        await page.get_by_test_id("button-pause").click()
        await page.get_by_test_id("token-input").fill("wrong-token")
        await page.get_by_test_id("token-submit").click()
        await sees(page, "token-error", "is not this scheduler's")
        assert runner.calls == []
        await page.get_by_test_id("token-input").fill("right-token")
        await page.keyboard.press("Enter")
        await sees(page, "state", "Paused")
        await page.get_by_test_id("button-resume").click()
        await sees(page, "state", "Running")
        await expect(page.get_by_test_id("dialog-token")).to_have_count(0)
        await page.reload()
        await page.get_by_test_id("button-pause").click()
        await sees(page, "state", "Paused")


async def test_what_happens_is_shown_as_it_happens(browser: Browser) -> None:
    runner = fake.busy_runner()
    async with served(runner) as port, opened(browser, port) as (page, seen):
        new = fake.signal("NFLX", decision=Reason.MAX_CONCURRENT_TRADES)
        runner.hub.publish(new)
        first = page.get_by_test_id("signal").first
        await expect(first).to_have_attribute("data-symbol", "NFLX")
        await expect(first).to_contain_text("the number of open trades is at its limit")
        runner.hub.publish(fake.trade("AAPL", pnl=Decimal("12.50")))
        await sees(page, "last-trade", "Bought 40 AAPL at 247.81 (gain 12.50)")
        runner.equity = Decimal("123456.78")
        runner.view_positions = ()
        runner.hub.publish(runner.portfolio())
        await sees(page, "equity", "123,456.78")
        await expect(page.get_by_test_id("positions-empty")).to_be_visible()
        await expect(page.get_by_test_id("equity-chart")).to_have_attribute("data-points", "401")
        assert seen.complaints == []


async def test_a_lost_runner_is_said_and_found_again(browser: Browser) -> None:
    runner = fake.busy_runner()
    async with served(runner) as port:
        context = opened(browser, port)
        page, _ = await context.__aenter__()
    await sees(page, "connection", "Disconnected")
    await sees(page, "disconnected", "What you see is from before.")
    await expect(page.get_by_test_id("button-pause")).to_be_disabled()
    runner.view_status = replace(runner.view_status, state=TradingState.PAUSED, paused=True)
    async with served(runner, port=port):
        await sees(page, "connection", "Connected")
        await sees(page, "state", "Paused")
        await expect(page.get_by_test_id("disconnected")).to_have_count(0)
        await context.__aexit__(None, None, None)


async def test_a_page_that_fell_behind_takes_a_new_snapshot(browser: Browser) -> None:
    runner = fake.busy_runner()
    runner.hub = Hub(clock=runner.clock, queue_length=2)
    async with served(runner) as port, opened(browser, port) as (page, _):
        for number in range(50):  # in one step: the page has no turn in between
            runner.hub.publish(fake.signal(f"S{number}"))
        runner.view_signals = (fake.signal("AFTER"), *runner.view_signals)
        await expect(page.get_by_test_id("signal").first).to_have_attribute("data-symbol", "AFTER")
        runner.hub.publish(fake.signal("LATER"))
        await expect(page.get_by_test_id("signal").first).to_have_attribute("data-symbol", "LATER")


@pytest.mark.parametrize(
    ("changes", "mode"), [({"mode": "Live"}, "LIVE"), ({"market_data": "Replay"}, "REPLAY"), ({}, "PAPER")]
)
async def test_the_mode_is_said_in_words_above_everything(
    browser: Browser, changes: dict[str, object], mode: str
) -> None:
    runner = fake.busy_runner()
    runner.view_status = fake.status(**changes)
    if mode == "REPLAY":
        runner.view_replay = ReplayView(False, 40, "0123456789abcdef0123")
    async with served(runner) as port, opened(browser, port) as (page, _):
        await sees(page, "banner", mode)
        if mode == "REPLAY":
            await sees(page, "replay", "Running · 40 trades")
            runner.view_replay = ReplayView(True, 41, "fedcba9876543210fedcba")
            runner.hub.publish(fake.trade())
            await sees(page, "replay", "Finished · 41 trades · fedcba9876543210fed")


async def test_stale_data_and_unwatched_positions_are_said(browser: Browser) -> None:
    runner = fake.busy_runner()
    runner.view_status = fake.status(
        data_age_seconds=260.0,
        conditions=(
            ConditionView("DataFresh", "False", "Old", "the newest bar is 4 min old", fake.NOW),
            ConditionView("UnmonitoredPositions", "True", "ExitsHalted", "3 positions are not watched", fake.NOW),
        ),
    )
    async with served(runner) as port, opened(browser, port) as (page, _):
        await sees(page, "connection", "Stale, data 4 min old")
        await sees(page, "condition-UnmonitoredPositions", "3 positions are not watched")
        await sees(page, "condition-DataFresh", "the newest bar is 4 min old")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1360, 1180), (820, 1180), (390, 844)])
async def test_it_fits_every_width_in_both_schemes(browser: Browser, scheme: str, width: int, height: int) -> None:
    async with (
        served(fake.busy_runner()) as port,
        opened(
            browser, port, color_scheme=scheme, viewport={"width": width, "height": height}, reduced_motion="reduce"
        ) as (page, seen),
    ):
        await sees(page, "log", "exit.sent")
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        for button in ("close-AAPL", "unlock-newsday"):
            box = await page.get_by_test_id(button).bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= width, f"{button} is out of sight"
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(245, 245, 242)", "dark": "rgb(17, 20, 22)"}[scheme]
        await page.screenshot(path=SCREENSHOTS / f"dashboard-{scheme}-{width}.png", full_page=True)
        assert seen.complaints == []

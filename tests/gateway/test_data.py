"""Accounts and the market as each unmodified client is told of them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from driving import Client

from openbell.gateway.server import Gateway
from openbell.gateway.settings import DataRights, ExchangeSettings, GatewaySettings

AAPL = {"symbol": "AAPL", "secType": "STK", "exchange": "SMART", "currency": "USD"}
STOCK = {"contract": AAPL}


async def ask(driven: Client, name: str, *args: Any) -> None:
    await driven.do("request", name=name, args=list(args))


async def buy(driven: Client, quantity: int = 10, action: str = "BUY") -> None:
    seen = len(driven.named("commissionReport"))
    asked = {"action": action, "totalQuantity": quantity, "orderType": "MKT", "tif": "DAY"}
    await driven.do("place", contract=AAPL, order=asked)
    await driven.until(lambda _: len(driven.named("commissionReport")) > seen, "the commission")


def numbered(driven: Client, event: str, number: int) -> list[list[Any]]:
    return [args for args in driven.named(event) if args[0] == number]


async def test_positions_are_told_and_kept_told(driven: Client) -> None:
    await ask(driven, "reqPositions")
    await driven.until(lambda _: driven.named("positionEnd"), "the end")
    await buy(driven)
    await driven.until(lambda _: driven.named("position"), "the position")
    account, contract, position, cost = driven.named("position")[-1]
    assert (account, contract["symbol"], contract["conId"], position) == ("DU1000001", "AAPL", 265598, 10)
    assert cost == pytest.approx(190.11)  # the price and a tenth of the commission
    await buy(driven, 10, "SELL")
    await driven.until(lambda _: driven.named("position")[-1][2] == 0, "that nothing is held")
    realized = driven.named("commissionReport")[-1][0]["realizedPNL"]
    assert realized == pytest.approx(10 * (189.99 - 190.01) - 2)


async def test_account_updates_list_values_then_holdings_then_the_end(driven: Client) -> None:
    await buy(driven)
    await asyncio.sleep(0.3)  # what ib_insync and ib_async had subscribed to by themselves is told after a fill
    since = len(driven.events)
    await ask(driven, "reqAccountUpdates", True, "DU1000001")
    await driven.until(lambda _: driven.named("accountDownloadEnd", since), "the end")
    names = [name for name, _ in driven.events[since:]]
    assert names.index("updatePortfolio") > names.index("updateAccountValue")
    keys = [args[0] for args in driven.named("updateAccountValue", since)]
    assert keys == sorted(keys)
    values = {args[0]: args[1] for args in driven.named("updateAccountValue", since) if args[2] != "BASE"}
    assert (values["TotalCashValue"], values["NetLiquidation"]) == ("998098.90", "999998.90")
    (row,) = driven.named("updatePortfolio", since)
    assert (row[0]["symbol"], row[1:4], row[7]) == ("AAPL", [10, 190, 1900], "DU1000001")
    assert row[5] == pytest.approx(-1.1)


async def test_a_summary_has_the_tags_that_were_asked_for(driven: Client) -> None:
    await ask(driven, "reqAccountSummary", 31, "All", "NetLiquidation,BuyingPower,AccountType,DayTradesRemaining")
    await driven.until(lambda _: [31] in driven.named("accountSummaryEnd"), "the end")
    found = {args[2]: args[3:] for args in numbered(driven, "accountSummary", 31)}
    assert found == {
        "AccountType": ["INDIVIDUAL", ""],
        "BuyingPower": ["4000000.00", "USD"],
        "DayTradesRemaining": ["-1", ""],
        "NetLiquidation": ["1000000.00", "USD"],
    }
    await ask(driven, "reqAccountSummary", 32, "All", "$LEDGER:ALL")
    await driven.until(lambda _: [32] in driven.named("accountSummaryEnd"), "the end")
    assert {args[4] for args in numbered(driven, "accountSummary", 32)} == {"USD", "BASE"}
    await ask(driven, "reqAccountSummary", 33, "All", "NetLiquidation")
    await driven.until(lambda _: [a for a in driven.named("error") if a[:2] == [33, 322]], "that two are the most")


async def test_several_accounts_are_followed_by_their_own_requests(driven: Client) -> None:
    await ask(driven, "reqAccountUpdatesMulti", 41, "DU1000001", "", False)
    await ask(driven, "reqPositionsMulti", 42, "DU1000001", "")
    await driven.until(lambda _: [41] in driven.named("accountUpdateMultiEnd"), "the end of updates")
    await driven.until(lambda _: [42] in driven.named("positionMultiEnd"), "the end of positions")
    await buy(driven)
    (row,) = await driven.until(lambda _: numbered(driven, "positionMulti", 42), "a position")
    assert (row[1], row[3]["symbol"], row[4]) == ("DU1000001", "AAPL", 10)
    await ask(driven, "reqPnL", 43, "U4711", "")
    await driven.until(lambda _: [a for a in driven.named("error") if a[:2] == [43, 321]], "that it is not managed")


async def test_profit_and_loss_follow_the_price(gateway: Gateway, driven: Client) -> None:
    await buy(driven)
    await ask(driven, "reqPnL", 51, "DU1000001", "")
    await ask(driven, "reqPnLSingle", 52, "DU1000001", "", 265598)
    await driven.until(lambda _: numbered(driven, "pnl", 51) and numbered(driven, "pnlSingle", 52), "both")
    assert numbered(driven, "pnl", 51)[0][1:] == pytest.approx([-1.1, -1.1, 0])
    gateway.exchange.move("AAPL", 200)
    await driven.until(lambda _: numbered(driven, "pnl", 51)[-1][1] == pytest.approx(98.9), "the profit")
    await driven.until(lambda _: numbered(driven, "pnlSingle", 52)[-1][5] == 2000, "the value")
    assert numbered(driven, "pnlSingle", 52)[-1][1:] == pytest.approx([10, 98.9, 98.9, 0, 2000])


async def test_contracts_are_known_or_not(driven: Client) -> None:
    await ask(driven, "reqContractDetails", 61, STOCK)
    await driven.until(lambda _: [61] in driven.named("contractDetailsEnd"), "the end")
    (found,) = numbered(driven, "contractDetails", 61)
    details = found[1]
    assert (details["contract"]["conId"], details["contract"]["primaryExchange"]) == (265598, "NASDAQ")
    assert (details["longName"], details["minTick"], details["timeZoneId"]) == ("APPLE INC", 0.01, "US/Eastern")
    assert details["marketRuleIds"].split(",")[0] == "26"
    if driven.name != "ibapi":  # from version 164 on
        assert (details["minSize"], details["sizeIncrement"]) == (1, 1)
    await ask(driven, "reqContractDetails", 62, {"contract": {**AAPL, "symbol": "NOSUCH"}})
    await driven.until(lambda _: [a for a in driven.named("error") if a[:2] == [62, 200]], "that it is not known")
    await ask(driven, "reqMatchingSymbols", 63, "app")
    ((_, samples),) = await driven.until(lambda _: numbered(driven, "symbolSamples", 63), "symbols")
    assert [sample["contract"]["symbol"] for sample in samples] == ["AAPL"]
    await ask(driven, "reqMarketRule", 26)
    ((rule, steps),) = await driven.until(lambda _: driven.named("marketRule"), "the rule")
    assert (rule, steps[-1]) == (26, {"lowEdge": 1.0, "increment": 0.01})


def ticks(driven: Client, number: int) -> dict[int, float]:
    """The last price told of each tick type."""
    event = "tickPrice" if driven.name == "ibapi" else "priceSizeTick"
    return {args[1]: args[2] for args in numbered(driven, event, number)}


async def test_market_data_comes_at_once_and_with_every_price(gateway: Gateway, driven: Client) -> None:
    await ask(driven, "reqMktData", 71, STOCK, "", False, False, [])
    await driven.until(lambda _: ticks(driven, 71).get(4) == 190, "the price")
    assert {kind: ticks(driven, 71)[kind] for kind in (1, 2, 4)} == {1: 189.99, 2: 190.01, 4: 190.0}
    assert {6, 7, 9, 14} <= set(ticks(driven, 71))
    assert driven.named("marketDataType")[-1] == [71, 1]
    assert driven.named("tickReqParams")[-1][:2] == [71, 0.01]
    gateway.exchange.move("AAPL", 191.5)
    await driven.until(lambda _: ticks(driven, 71)[4] == 191.5, "the new price")
    await ask(driven, "cancelMktData", 71)
    await asyncio.sleep(0.2)
    gateway.exchange.move("AAPL", 180)
    await asyncio.sleep(0.2)
    assert ticks(driven, 71)[4] == 191.5


async def test_a_snapshot_ends(driven: Client) -> None:
    await ask(driven, "reqMktData", 72, STOCK, "", True, False, [])
    await driven.until(lambda _: [72] in driven.named("tickSnapshotEnd"), "the end")
    assert ticks(driven, 72)[4] == 190


async def test_market_data_of_an_unknown_contract_is_refused(driven: Client) -> None:
    await ask(driven, "reqMktData", 73, {"contract": {**AAPL, "symbol": "NOSUCH"}}, "", False, False, [])
    await driven.until(lambda _: [a for a in driven.named("error") if a[:2] == [73, 200]], "that it is not known")


class TestWithDelayedData:
    """Live market data was not paid for."""

    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(ExchangeSettings(preset_tif=False), data_rights=DataRights.DELAYED, delay_seconds=2.0)

    async def test_data_is_refused_until_delayed_data_is_asked_for(self, gateway: Gateway, driven: Client) -> None:
        await ask(driven, "reqMktData", 74, STOCK, "", False, False, [])
        await driven.until(lambda _: [a for a in driven.named("error") if a[:2] == [74, 10089]], "that it costs")
        await ask(driven, "reqMarketDataType", 3)
        await ask(driven, "reqMktData", 75, STOCK, "", False, False, [])
        await driven.until(lambda _: ticks(driven, 75).get(68) == 190, "the price of before")
        assert [a[1] for a in driven.named("error") if a[0] == 75] == [10167]
        assert driven.named("marketDataType")[-1] == [75, 3]
        gateway.exchange.move("AAPL", 195)
        await asyncio.sleep(0.5)
        assert ticks(driven, 75)[68] == 190
        await driven.until(lambda _: ticks(driven, 75)[68] == 195, "the price, later")


class TestWithALivelyMarket:
    """Prices move by themselves."""

    @pytest.fixture
    def settings(self) -> GatewaySettings:
        return GatewaySettings(ExchangeSettings(seed=5, volatility=2.0))

    async def test_history_is_the_same_twice_and_is_kept_up_to_date(self, driven: Client) -> None:
        arguments = (STOCK, "", "600 S", "5 secs", "TRADES", False, 2)
        await ask(driven, "reqHistoricalData", 81, *arguments, True, [])
        bars = await driven.until(lambda _: history(driven, 81), "bars")
        assert len(bars) in {119, 120, 121}
        assert all(bar["low"] <= min(bar["open"], bar["close"]) for bar in bars)
        assert all(bar["high"] >= max(bar["open"], bar["close"]) for bar in bars)
        assert len({bar["close"] for bar in bars}) > 20
        assert [bar["open"] for bar in bars[1:]] == [bar["close"] for bar in bars[:-1]]
        await ask(driven, "reqHistoricalData", 82, STOCK, "", "900 S", "5 secs", "TRADES", False, 2, False, [])
        again = {bar["date"]: bar for bar in await driven.until(lambda _: history(driven, 82), "bars again")}
        assert all(again[bar["date"]]["close"] == bar["close"] for bar in bars[:-1])
        last = bars[-1]["date"]
        await driven.until(
            lambda _: [a for a in numbered(driven, "historicalDataUpdate", 81) if str(a[1]["date"]) > str(last)],
            "the next bar",
        )
        await ask(driven, "cancelHistoricalData", 81)
        await driven.until(lambda _: [a for a in driven.named("error") if a[:2] == [81, 162]], "its end")

    async def test_daily_history_has_days(self, driven: Client) -> None:
        await ask(driven, "reqHistoricalData", 83, STOCK, "", "5 D", "1 day", "TRADES", True, 1, False, [])
        bars = await driven.until(lambda _: history(driven, 83), "bars")
        assert len(bars) == 5
        days = [datetime.fromisoformat(bar["date"]).date() for bar in bars]
        assert days == sorted(set(days))

    async def test_real_time_bars_come_every_five_seconds(self, driven: Client) -> None:
        await ask(driven, "reqRealTimeBars", 84, STOCK, 5, "TRADES", False, [])
        await driven.until(lambda _: len(numbered(driven, "realtimeBar", 84)) >= 2, "two bars")
        first, second = (args[1:] for args in numbered(driven, "realtimeBar", 84)[:2])
        assert second[0] - first[0] == 5
        assert first[0] % 5 == 0
        assert second[1] == first[4]  # opens where the one before closed

    async def test_history_that_is_asked_for_twice_at_once_is_paced(self, driven: Client) -> None:
        for number in (85, 86):
            await ask(driven, "reqHistoricalData", number, STOCK, "", "60 S", "1 secs", "TRADES", False, 2, False, [])
        (refused,) = await driven.until(lambda _: [a for a in driven.named("error") if a[0] == 86], "a refusal")
        assert (refused[1], "pacing violation" in refused[2]) == (162, True)

    async def test_history_that_cannot_be_asked_for_is_refused(self, driven: Client) -> None:
        await ask(driven, "reqHistoricalData", 87, STOCK, "", "1 D", "7 parsecs", "TRADES", False, 1, False, [])
        await driven.until(lambda _: [a for a in driven.named("error") if a[:2] == [87, 321]], "a refusal")


def history(driven: Client, number: int) -> list[dict[str, Any]]:
    """The bars of a request, once they are all there."""
    if driven.name == "ibapi":
        ended = [args for args in driven.named("historicalDataEnd") if args[0] == number]
        return [args[1] for args in numbered(driven, "historicalData", number)] if ended else []
    if not numbered(driven, "historicalDataEnd", number):
        return []
    return [args[1] for args in numbered(driven, "historicalData", number)]


@pytest.mark.parametrize("name", ["ib_insync", "ib_async"])
async def test_the_libraries_upper_halves_agree_with_what_they_are_told(gateway: Gateway, driven: Client) -> None:
    (qualified,) = await driven.do("ask", name="qualifyContractsAsync", args=[STOCK])
    assert (qualified["conId"], qualified["primaryExchange"]) == (265598, "NASDAQ")
    bars = await driven.do("ask", name="reqHistoricalDataAsync", args=[STOCK, "", "3 D", "1 day", "TRADES", True])
    assert [bar["close"] for bar in bars] == [190.0] * 3
    asked = {"action": "BUY", "totalQuantity": 10, "orderType": "LMT", "lmtPrice": 195.0, "tif": "DAY"}
    order_id = await driven.do("place", contract=AAPL, order=asked)
    await driven.until(lambda _: driven.named("commissionReport"), "the commission")
    state = await driven.do("status", order_id=order_id)
    assert (state["status"], state["filled"]) == ("Filled", 10)
    assert state["fills"][0]["commissionReport"]["commission"] == 1.0
    summary = {row["tag"]: row["value"] for row in await driven.do("ask", name="accountSummaryAsync", args=[])}
    assert (summary["NetLiquidation"], summary["TotalCashValue"]) == ("999998.90", "998098.90")
    positions = await driven.do("ask", name="positions", args=[])
    assert [(row["contract"]["symbol"], row["position"]) for row in positions] == [("AAPL", 10)]
    portfolio = await driven.do("ask", name="portfolio", args=[])
    assert [(row["position"], row["marketPrice"]) for row in portfolio] == [(10, 190)]
    tried = await driven.do(
        "ask", name="whatIfOrderAsync", args=[STOCK, {"order": {**asked, "totalQuantity": 100, "lmtPrice": 190.0}}]
    )
    assert float(tried["initMarginChange"]) == 4750


async def test_the_time_is_told_once_a_second(driven: Client) -> None:
    await ask(driven, "reqCurrentTime")
    await driven.until(lambda _: driven.named("currentTime"), "the time")
    await ask(driven, "reqCurrentTime")
    await asyncio.sleep(0.3)
    assert len(driven.named("currentTime")) == 1

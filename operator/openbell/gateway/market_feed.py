"""What a client is told of the market: ticks, history that may be kept up to date, and bars in real time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

from openbell.gateway import history
from openbell.gateway.contracts import Contract
from openbell.gateway.errors import FieldError
from openbell.gateway.exchange import Exchange
from openbell.gateway.history import HistoryPlan
from openbell.gateway.matching import Quote
from openbell.gateway.pacing import HistoryPacer
from openbell.gateway.rules import NO_SECURITY, PACING_VIOLATION, VALIDATING
from openbell.gateway.settings import DataRights, GatewaySettings
from openbell.gateway.wire import requests
from openbell.gateway.wire.replies import (
    ErrorMessage,
    HeadTimestamp,
    HistoricalBar,
    HistoricalData,
    HistoricalUpdate,
    MarketDataType,
    RealTimeBar,
    Reply,
    TickPrice,
    TickRequestParameters,
    TickSize,
    TickSnapshotEnd,
    TickString,
)

SERVICE = "Historical Market Data Service error message:"
REAL_TIME_SECONDS = 5
LINES = 100  # market data subscriptions that a client may have
SHARES = Decimal(100)
TICKS_EVERY = timedelta(milliseconds=250)  # a real gateway tells of a share's price no more often
BARS_EVERY = timedelta(seconds=1)  # and of a bar that grows
# Tick types: bid, ask, last, high, low, close, open, volume, time of the last trade; live and delayed.
LIVE = (1, 2, 4, 6, 7, 9, 14, 8, 45)
DELAYED = (66, 67, 68, 72, 73, 75, 76, 74, 88)


@dataclass(slots=True)
class _Line:
    """A market data subscription. `told` holds the prices last told, by tick type."""

    contract: Contract
    delayed: bool
    due: datetime
    told: dict[int, Decimal] = field(default_factory=dict)


@dataclass(slots=True)
class _Kept:
    """History that is kept up to date: the bar that grows, as last told."""

    contract: Contract
    plan: HistoryPlan
    told: HistoricalBar
    start: datetime
    due: datetime


@dataclass(slots=True)
class _RealTime:
    contract: Contract
    next_start: datetime


class MarketFeed:
    """One client's subscriptions to the market."""

    serves: ClassVar[tuple[type, ...]] = (
        requests.MarketDataWanted,
        requests.MarketDataUnwanted,
        requests.MarketDataTypeWanted,
        requests.HistoryWanted,
        requests.HistoryUnwanted,
        requests.RealTimeBarsWanted,
        requests.RealTimeBarsUnwanted,
        requests.HeadTimestampWanted,
        requests.HeadTimestampUnwanted,
    )

    def __init__(self, exchange: Exchange, settings: GatewaySettings) -> None:
        self._exchange = exchange
        self._settings = settings
        self._type = 1
        self._lines: dict[int, _Line] = {}
        self._kept: dict[int, _Kept] = {}
        self._bars: dict[int, _RealTime] = {}
        self._pacer = HistoryPacer()

    @property
    def subscriptions(self) -> int:
        """How many requests are being served on."""
        return len(self._lines) + len(self._kept) + len(self._bars)

    def forget(self) -> None:
        """End all subscriptions without a word."""
        self._lines.clear()
        self._kept.clear()
        self._bars.clear()

    def handle(self, request: Any) -> list[Reply]:
        """The first answer to a request about the market."""
        match request:
            case requests.MarketDataTypeWanted(kind):
                return self._set_type(kind)
            case requests.MarketDataWanted():
                return self._market_data(request)
            case requests.MarketDataUnwanted(number):
                return self._end(self._lines, number, 300, f"Can't find EId with tickerId:{number}")
            case requests.HistoryWanted():
                return self._history(request)
            case requests.HistoryUnwanted(number):
                text = f"{SERVICE}API historical data query cancelled: {number}"
                if self._kept.pop(number, None) is not None:
                    return [ErrorMessage(number, 162, text)]
                return [ErrorMessage(number, 366, f"No historical data query found for ticker id:{number}")]
            case requests.RealTimeBarsWanted():
                return self._real_time(request)
            case requests.RealTimeBarsUnwanted(number):
                return self._end(self._bars, number, 300, f"Can't find EId with tickerId:{number}")
            case requests.HeadTimestampWanted():
                return self._head(request)
        return []

    def pulse(self) -> list[Reply]:
        """Ticks and bars that have come."""
        now = self._exchange.now()
        replies: list[Reply] = []
        for number, line in self._lines.items():
            if now >= line.due:
                line.due = now + TICKS_EVERY
                replies += self._ticks(number, line)
        for number, kept in self._kept.items():
            replies += self._update(number, kept)
        for number, bars in self._bars.items():
            replies += self._due_bars(number, bars)
        return replies

    @staticmethod
    def _end(kept: dict[int, Any], number: int, code: int, text: str) -> list[Reply]:
        return [] if kept.pop(number, None) is not None else [ErrorMessage(number, code, text)]

    def _find(self, request: Any) -> Contract | None:
        return self._exchange.catalogue.find(request.contract)

    @staticmethod
    def _no_security(number: int) -> list[Reply]:
        return [ErrorMessage(number, NO_SECURITY.code, NO_SECURITY.text)]

    # Ticks

    def _set_type(self, kind: int) -> list[Reply]:
        if kind not in {1, 2, 3, 4}:
            return [ErrorMessage(-1, 321, f"{VALIDATING}Invalid market data type {kind}")]
        self._type = kind
        return []

    def _market_data(self, request: requests.MarketDataWanted) -> list[Reply]:
        number, contract = request.request_id, self._find(request)
        if contract is None:
            return self._no_security(number)
        if number in self._lines:
            return [ErrorMessage(number, 322, "Error processing request.-'bW' : cause - Duplicate ticker id")]
        if len(self._lines) >= LINES:
            return [ErrorMessage(number, 101, "Max number of tickers has been reached")]
        if request.snapshot and request.generic_ticks:
            return [ErrorMessage(number, 321, VALIDATING + "Snapshot market data with generic ticks is not applicable")]
        replies: list[Reply] = []
        rights, delayed = self._settings.data_rights, False
        if rights is not DataRights.LIVE:
            if self._type not in {3, 4} or rights is DataRights.NONE:
                return [ErrorMessage(number, *_not_subscribed(contract, rights))]
            delayed = True
            text = "Requested market data is not subscribed. Displaying delayed market data."
            replies.append(ErrorMessage(number, 10167, text))
        # Frozen data is told as such while the market is closed; delayed frozen data is told as delayed.
        frozen = self._type == 2 and not self._exchange.hours.is_open(self._exchange.now())
        line = _Line(contract, delayed, self._exchange.now() + TICKS_EVERY)
        replies.append(MarketDataType(number, 3 if delayed else 2 if frozen else 1))
        replies.append(TickRequestParameters(number, contract.minimum_tick, "9c0001", 3))
        replies += self._ticks(number, line)
        if request.snapshot:
            return [*replies, TickSnapshotEnd(number)]
        self._lines[number] = line
        return replies

    def _ticks(self, number: int, line: _Line) -> list[Reply]:
        now = self._exchange.now()
        seen = now - timedelta(seconds=self._settings.delay_seconds) if line.delayed else now
        symbol = line.contract.symbol
        quote = self._exchange.quote(symbol, seen)
        types = DELAYED if line.delayed else LIVE
        first = not line.told
        if not first and line.told.get(types[2]) == quote.last:
            return []
        prices = dict(zip(types[:3], (quote.bid, quote.ask, quote.last), strict=True))
        if first:
            prices |= self._day(symbol, seen, quote, types)
        replies: list[Reply] = [
            TickPrice(number, kind, price, SHARES if kind in types[:3] else 0)
            for kind, price in prices.items()
            if line.told.get(kind) != price
        ]
        sizes = zip({1: 0, 2: 3, 4: 5, 66: 69, 67: 70, 68: 71}.items(), (SHARES,) * 6, strict=True)
        replies += [TickSize(number, size_kind, size) for (kind, size_kind), size in sizes if kind in prices]
        if first:
            replies.append(TickSize(number, types[7], self._volume(symbol, seen)))
        replies.append(TickString(number, types[8], str(int(seen.timestamp()))))
        line.told |= prices
        return replies

    def _day(self, symbol: str, seen: datetime, quote: Quote, types: tuple[int, ...]) -> dict[int, Decimal]:
        start = history.day_start(seen)
        today = self._exchange.prices.bar(symbol, start, history.DAY_SECONDS, max(seen, start + timedelta(seconds=1)))
        close = self._exchange.prices.at(symbol, start)
        return {
            types[3]: max(today.high, quote.last),
            types[4]: min(today.low, quote.last),
            types[5]: close,
            types[6]: today.open,
        }

    def _volume(self, symbol: str, seen: datetime) -> Decimal:
        start = history.day_start(seen)
        return Decimal(self._exchange.prices.bar(symbol, start, history.DAY_SECONDS, seen).volume)

    # History

    def _history(self, request: requests.HistoryWanted) -> list[Reply]:
        number, contract = request.request_id, self._find(request)
        if contract is None:
            return self._no_security(number)
        now = self._exchange.now()
        try:
            plan = history.plan(request, now, self._exchange.hours)
        except FieldError as error:
            return [ErrorMessage(number, 321, VALIDATING + str(error))]
        if self._settings.pacing and not self._pacer.allow(request, self._exchange.clock.monotonic()):
            return [ErrorMessage(number, PACING_VIOLATION.code, PACING_VIOLATION.text)]
        if self._settings.data_rights is DataRights.NONE:
            return [ErrorMessage(number, 162, f"{SERVICE}No market data permissions for {contract.exchange} STK")]
        starts = plan.starts(self._exchange.hours if request.regular_hours else None)
        if not starts:
            text = f"{SERVICE}HMDS query returned no data: {contract.symbol}@{contract.exchange} {plan.title}"
            return [ErrorMessage(number, 162, text)]
        bars = self._exchange.prices.bars(contract.symbol, starts, plan.seconds, min(now, plan.end))
        shown = tuple(plan.show(bar) for bar in bars)
        if request.keep_up_to_date:
            self._kept[number] = _Kept(contract, plan, shown[-1], starts[-1], now + BARS_EVERY)
        return [HistoricalData(number, plan.time(plan.begin), plan.time(plan.end), shown)]

    def _update(self, number: int, kept: _Kept) -> list[Reply]:
        now, plan = self._exchange.now(), kept.plan
        start = plan.start_of(now)
        replies: list[Reply] = []
        bar_seconds = timedelta(seconds=plan.seconds)
        while kept.start < start:  # the bar that was growing is over
            replies += self._grown(number, kept, kept.start, now)
            kept.start += bar_seconds
        if now >= kept.due and now > start and self._exchange.hours.is_open(now):
            kept.due = now + BARS_EVERY
            replies += self._grown(number, kept, start, now)
        return replies

    def _grown(self, number: int, kept: _Kept, start: datetime, now: datetime) -> list[Reply]:
        bar = self._exchange.prices.bar(kept.contract.symbol, start, kept.plan.seconds, now)
        shown = kept.plan.show(bar)
        before = kept.told
        same = before.date == shown.date and before.close == shown.close
        if same and now - start < timedelta(seconds=kept.plan.seconds):
            return []  # volume alone is told with the next price, or when the bar is over
        kept.told = shown
        return [HistoricalUpdate(number, shown)]

    def _head(self, request: requests.HeadTimestampWanted) -> list[Reply]:
        if self._find(request) is None:
            return self._no_security(request.request_id)
        first = datetime(2000, 1, 3, 14, 30, tzinfo=UTC)
        shown = str(int(first.timestamp())) if request.date_format == 2 else f"{first:%Y%m%d-%H:%M:%S}"
        return [HeadTimestamp(request.request_id, shown)]

    # Real-time bars

    def _real_time(self, request: requests.RealTimeBarsWanted) -> list[Reply]:
        number, contract = request.request_id, self._find(request)
        if contract is None:
            return self._no_security(number)
        if self._settings.data_rights is not DataRights.LIVE:
            return [ErrorMessage(number, 420, "Invalid Real-time Query:No market data permissions for STK")]
        if request.what not in {"TRADES", "MIDPOINT", "BID", "ASK"}:
            return [ErrorMessage(number, 321, f"{VALIDATING}Invalid what to show {request.what[:20]!r}")]
        self._bars[number] = _RealTime(contract, history.floor(self._exchange.now(), REAL_TIME_SECONDS))
        return []

    def _due_bars(self, number: int, bars: _RealTime) -> list[Reply]:
        now, size = self._exchange.now(), timedelta(seconds=REAL_TIME_SECONDS)
        replies: list[Reply] = []
        behind = now - bars.next_start - size
        if behind > timedelta(minutes=1):  # the clock has jumped: nobody is sent what a real gateway would not keep
            bars.next_start = history.floor(now, REAL_TIME_SECONDS)
        while bars.next_start + size <= now:
            bar = self._exchange.prices.bar(bars.contract.symbol, bars.next_start, REAL_TIME_SECONDS)
            if self._exchange.hours.is_open(bars.next_start):
                prices = (bar.open, bar.high, bar.low, bar.close)
                time = int(bar.start.timestamp())
                replies.append(RealTimeBar(number, time, *prices, Decimal(bar.volume), bar.average, bar.count))
            bars.next_start += size
        return replies


def _not_subscribed(contract: Contract, rights: DataRights) -> tuple[int, str]:
    if rights is DataRights.NONE:
        return 354, "Requested market data is not subscribed."
    return 10089, (
        "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog"
        f" for more details.Delayed market data is available.{contract.symbol} {contract.primary_exchange}/TOP/ALL"
    )

"""The real file that ships with the examples, against its own adjusted closes as the oracle."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from openbell.market.calendar import calendar_for
from openbell.market.recorded import RecordedBars, Split

FILE = Path(__file__).parents[3] / "examples" / "data" / "stocks.csv.gz"
SPLITS = (
    Split("AAPL", date(2000, 6, 21), Decimal(2)),
    Split("AAPL", date(2005, 2, 28), Decimal(2)),
    Split("MSFT", date(2003, 2, 18), Decimal(2)),
)
END = datetime(2013, 3, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def recorded() -> RecordedBars:
    return RecordedBars.load(FILE, calendar_for("XNYS"), SPLITS)


@pytest.fixture(scope="module")
def adjusted_closes() -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with gzip.open(FILE, "rt") as lines:
        for row in csv.DictReader(lines):
            found.setdefault(row["Ticker"], []).append(float(row["Adj Close"]))
    return found


def test_every_bar_lies_on_a_session_and_no_session_is_missing(recorded: RecordedBars) -> None:
    sessions = [session.date for session in calendar_for("XNYS").sessions(date(2000, 3, 1), date(2013, 3, 1))]
    for symbol in ("AAPL", "IBM", "MSFT"):
        assert [session.date for session, _ in recorded.bars_of(symbol)] == sessions
    assert next(recorded.bars_of("GOOG"))[0].date == date(2004, 8, 19)


@pytest.mark.parametrize(("symbol", "dividends"), [("AAPL", 3), ("IBM", 52), ("MSFT", 39), ("GOOG", 0)])
def test_split_adjusted_returns_are_the_adjusted_ones_but_for_dividends(
    recorded: RecordedBars, adjusted_closes: dict[str, list[float]], symbol: str, dividends: int
) -> None:
    series = recorded.series(symbol, 10_000, END)
    ours, oracle = np.diff(np.log(series.close)), np.diff(np.log(adjusted_closes[symbol]))
    differs = np.abs(ours - oracle) > 5e-4
    assert differs.sum() <= dividends
    assert (oracle[differs] > ours[differs]).all()  # a dividend only ever adds


def test_without_its_split_a_day_looks_like_a_crash_and_the_real_crash_stays(recorded: RecordedBars) -> None:
    plain = RecordedBars.load(FILE, calendar_for("XNYS"))
    for bars, halved in ((plain, True), (recorded, False)):
        closes = bars.series("AAPL", 10_000, datetime(2000, 6, 22, tzinfo=UTC)).close
        assert bool(closes[-1] / closes[-2] < 0.6) is halved
    closes = recorded.series("AAPL", 2, datetime(2000, 9, 30, tzinfo=UTC)).close
    assert closes[1] / closes[0] - 1 == pytest.approx(-0.519, abs=0.001)

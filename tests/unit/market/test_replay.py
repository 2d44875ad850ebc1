"""Recorded bars: what is refused, how a split is seen, and the path within a bar."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbell.domain.answers import ConfirmedEmpty, Unknown, Value
from openbell.domain.errors import ManifestError
from openbell.market.barfile import RecordedDataError, read_bars
from openbell.market.calendar import calendar_for
from openbell.market.recorded import RecordedBars, ReplayMarket, Split
from openbell.market.replay import (
    BarsStep,
    CloseStep,
    Levels,
    OpenStep,
    PathStep,
    RepeatStep,
    ReplayDriver,
    SplitStep,
    Step,
)

XNYS = calendar_for("XNYS")
HEADER = "date,symbol,open,high,low,close,volume"
MONDAY, TUESDAY, WEDNESDAY = date(2001, 9, 17), date(2001, 9, 18), date(2001, 9, 19)
Days = list[tuple[date, tuple[float, ...]]]


def nobody() -> Mapping[str, Sequence[Levels]]:
    return {}


def recorded(days: Days, *splits: Split, symbol: str = "IBM") -> RecordedBars:
    return RecordedBars({symbol: days}, XNYS, splits)


def written(folder: Path, *lines: str) -> Path:
    path = folder / "bars.csv"
    path.write_text("\n".join((HEADER, *lines)) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2001-09-17,IBM,10,9,8,8.5,1", "line 2, column open: 10.0 does not lie between low 8.0 and high 9.0"),
        ("2001-09-17,IBM,10,11,9,8,1", "line 2, column close: 8.0 does not lie between"),
        ("2001-09-17,IBM,0,11,9,10,1", "line 2, column open: 0.0 is not allowed"),
        ("2001-09-17,IBM,ten,11,9,10,1", "line 2, column open: 'ten' is not a number"),
        ("2001-09-17,IBM,10,inf,9,10,1", "line 2, column high: 'inf' is not a number"),
        ("2001-09-17,IBM,10,11,9,10,-1", "line 2, column volume: -1.0 is not allowed"),
        ("17.9.2001,IBM,10,11,9,10,1", "line 2, column date: '17.9.2001' is not a date"),
        ("2001-09-17,,10,11,9,10,1", "line 2, column symbol: the value is empty"),
        ("2001-09-17,IBM,10,11,9,10", "line 2: 6 values where the header names 7"),
        ("2001-09-17,IBM,1,1,1,1,1\n2001-09-17,IBM,1,1,1,1,1", "line 3, column date: IBM has a second bar"),
        ("", "there is no bar in the file"),
    ],
)
def test_a_wrong_line_is_named_with_its_column_and_value(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(RecordedDataError) as caught:
        read_bars(written(tmp_path, line))
    assert message in str(caught.value)


def test_a_missing_column_or_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("date,symbol,open\n", "utf-8")
    with pytest.raises(RecordedDataError, match="line 1: column high is missing"):
        read_bars(path)
    with pytest.raises(RecordedDataError, match=r"nowhere\.csv: the file cannot be read"):
        read_bars(tmp_path / "nowhere.csv")
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"date,symbol\n" * 100)[:20])
    with pytest.raises(RecordedDataError, match=r"cut\.csv\.gz: the file cannot be read"):
        read_bars(cut)


def test_columns_are_found_by_name_in_any_order_and_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv.gz"
    text = (
        "Ticker,Date,Open,High,Low,Close,Volume,Adj Close\n"
        "IBM,2001-09-18,3,4,2,3.5,7,0.1\nIBM,2001-09-17,1,2,0.5,1.5,9,0.2\n"
    )
    path.write_bytes(gzip.compress(text.encode()))
    assert read_bars(path) == {"IBM": [(MONDAY, (1.0, 2.0, 0.5, 1.5, 9.0)), (TUESDAY, (3.0, 4.0, 2.0, 3.5, 7.0))]}


def test_a_bar_on_a_date_without_session_is_refused() -> None:
    with pytest.raises(RecordedDataError, match="IBM has a bar on 2001-09-12, which is no XNYS session"):
        recorded([(date(2001, 9, 12), (1, 1, 1, 1, 1))])


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([Split("MSFT", TUESDAY, Decimal(2))], "the file has no such symbol"),
        ([Split("IBM", WEDNESDAY, Decimal(2))], "the file has no bar of that date"),
        ([Split("IBM", TUESDAY, Decimal(0))], "ratio 0 is not allowed"),
        ([Split("IBM", TUESDAY, Decimal(2)), Split("IBM", TUESDAY, Decimal(2))], "listed twice"),
    ],
)
def test_a_split_that_fits_no_bar_is_refused(splits: list[Split], message: str) -> None:
    with pytest.raises(RecordedDataError, match=message):
        recorded([(MONDAY, (1, 1, 1, 1, 1)), (TUESDAY, (1, 1, 1, 1, 1))], *splits)


def test_history_is_divided_by_a_split_only_when_seen_from_its_date_on() -> None:
    bars = recorded(
        [(MONDAY, (100, 104, 98, 102, 50)), (TUESDAY, (51, 52, 50, 51, 100))], Split("IBM", TUESDAY, Decimal(2))
    )
    opening = datetime(2001, 9, 18, 13, 30, tzinfo=UTC)
    eve = bars.series("IBM", 10, opening - timedelta(seconds=1))
    assert eve.close.tolist() == [102.0]
    assert eve.volume.tolist() == [50.0]
    morning = bars.series("IBM", 10, opening)
    assert (morning.open.tolist(), morning.high.tolist(), morning.low.tolist()) == ([50.0], [52.0], [49.0])
    assert morning.volume.tolist() == [100.0]
    evening = bars.series("IBM", 10, datetime(2001, 9, 18, 20, 0, tzinfo=UTC))
    assert evening.close.tolist() == [51.0, 51.0]
    assert evening.last_end == datetime(2001, 9, 18, 20, 0, tzinfo=UTC)


def test_a_bar_is_seen_from_its_close_on_and_not_before() -> None:
    bars = recorded([(MONDAY, (1, 1, 1, 1, 1)), (TUESDAY, (1, 1, 1, 1, 1))])
    close = datetime(2001, 9, 18, 20, 0, tzinfo=UTC)
    assert len(bars.series("IBM", 10, close - timedelta(microseconds=1))) == 1
    assert len(bars.series("IBM", 10, close)) == 2
    assert len(bars.series("IBM", 1, close)) == 1


async def test_answers_tell_nothing_yet_from_never() -> None:
    market = ReplayMarket(recorded([(MONDAY, (1, 1, 1, 1, 1))]))
    before, after = datetime(2001, 9, 10, tzinfo=UTC), datetime(2001, 9, 18, tzinfo=UTC)
    assert isinstance(await market.bars("IBM", 86400, 5, before), ConfirmedEmpty)
    assert isinstance(await market.bars("IBM", 86400, 5, after), Value)
    assert isinstance(await market.bars("IBM", 60, 5, after), Unknown)
    assert isinstance(await market.bars("MSFT", 86400, 5, after), Unknown)
    assert isinstance(await market.quote("IBM", before), ConfirmedEmpty)
    assert isinstance(await market.quote("MSFT", before), Unknown)


def steps(days: Days, armed: Callable[[], Mapping[str, Sequence[Levels]]] = nobody, *splits: Split) -> list[Step]:
    return list(ReplayDriver(ReplayMarket(recorded(days, *splits)), armed))


def path(bar: tuple[float, ...], *levels: Levels) -> list[float]:
    """The prices of the path within one bar while the positions stay open."""
    seen = steps([(MONDAY, bar)], lambda: {"IBM": levels})
    return [step.quotes[0].price for step in seen if isinstance(step, PathStep)]


def test_a_session_goes_from_open_to_close_to_its_bars() -> None:
    seen = steps([(MONDAY, (10, 12, 9, 11, 5)), (TUESDAY, (11, 13, 10, 12, 5))])
    assert [type(step) for step in seen] == [OpenStep, RepeatStep, CloseStep, RepeatStep, BarsStep] * 2
    times = [step.time for step in seen]
    assert times == sorted(set(times))
    opening, _, closing, _, bars = seen[:5]
    assert isinstance(opening, OpenStep)
    assert isinstance(closing, CloseStep)
    assert isinstance(bars, BarsStep)
    assert opening.quotes[0].price == 10
    assert closing.quotes[0].price == 11
    assert opening.time == opening.session.open
    assert closing.time < bars.time == bars.session.close
    assert bars.bars[0].close == 11


def test_the_path_hurts_before_it_helps_and_stops_at_the_stop_first() -> None:
    both = Levels(True, stop=98.0, target=104.0)
    assert path((100, 105, 97, 101, 1), both)[0] == 98.0
    assert path((100, 105, 97, 101, 1), Levels(False, stop=104.0, target=98.0))[0] == 104.0


def test_the_path_stops_at_the_target_where_the_stop_is_not_reached() -> None:
    assert path((100, 105, 99, 101, 1), Levels(True, 98.0, 104.0)) == [99, 104, 105, 104]
    assert path((100, 101, 95, 97, 1), Levels(False, 102.0, 96.0)) == [101, 96, 95, 96]


def test_the_path_passes_the_levels_of_every_position_in_order() -> None:
    assert path((100, 101, 90, 95, 1), Levels(True, 98.0), Levels(True, 94.0), Levels(True, 80.0))[:3] == [98, 94, 90]


def test_without_levels_in_reach_the_path_shows_both_extremes() -> None:
    assert path((100, 102, 99, 101, 1), Levels(True, 90.0, 110.0)) == [99, 102]
    assert path((100, 102, 99, 101, 1), Levels(False, 110.0, 90.0)) == [102, 99]


def test_a_trailing_stop_raised_by_the_high_is_passed_on_the_way_to_the_close() -> None:
    market = ReplayMarket(recorded([(MONDAY, (100, 110, 99, 103, 1))]))
    seen = [100.0]
    for step in ReplayDriver(market, lambda: {"IBM": [Levels(True, max(seen) * 0.95)]}):
        if isinstance(step, PathStep | CloseStep):
            seen.append(step.quotes[0].price)  # noqa: PERF401 - the driver reads what was seen so far
    assert seen == [100, 99, 110, 104.5, 103]  # 104.5 = 110 × 0.95


def test_a_gap_is_shown_at_the_open_and_the_level_behind_it_is_never_a_price() -> None:
    seen = steps([(MONDAY, (90, 92, 88, 91, 1))], lambda: {"IBM": [Levels(True, stop=98.0)]})
    prices = [quote.price for step in seen if not isinstance(step, SplitStep | BarsStep) for quote in step.quotes]
    assert prices[:2] == [90, 90]
    assert 98.0 not in prices


def test_every_price_is_shown_once_more_so_that_an_answer_to_it_fills_there() -> None:
    seen = steps([(MONDAY, (100, 105, 97, 101, 1))], lambda: {"IBM": [Levels(True, 98.0, 104.0)]})
    for step, after in pairwise(seen):
        if isinstance(step, OpenStep | PathStep | CloseStep):
            assert isinstance(after, RepeatStep)
            assert after.quotes[0].price == step.quotes[0].price
            assert after.quotes[0].time > step.quotes[0].time


prices = st.lists(st.floats(50, 150), min_size=4, max_size=4)


@given(prices, st.booleans(), st.floats(40, 160), st.floats(40, 160))
def test_the_path_is_continuous_ends_at_the_close_and_skips_no_level(
    four: list[float], is_long: bool, stop: float, target: float
) -> None:
    low, opening, close, high = min(four), four[0], four[1], max(four)
    seen = [opening, *path((opening, high, low, close, 1.0), Levels(is_long, stop, target)), close]
    assert min(seen) == low
    assert max(seen) == high
    for level in (stop, target):
        for one, other in pairwise(seen):
            assert not min(one, other) < level < max(one, other)


def test_a_split_comes_before_the_open_of_its_date_and_turns_the_last_price() -> None:
    split = Split("IBM", TUESDAY, Decimal(2))
    market = ReplayMarket(recorded([(MONDAY, (100, 104, 98, 102, 5)), (TUESDAY, (51, 52, 50, 51, 5))], split))
    shown: dict[str, float] = {}
    for step in ReplayDriver(market, nobody):
        if isinstance(step, SplitStep):
            assert step.splits == (split,)
            assert not shown.get("open-2")
            shown["split"] = market._quotes["IBM"].price
        elif isinstance(step, OpenStep) and step.session.date == TUESDAY:
            shown["open-2"] = step.quotes[0].price
    assert shown == {"split": 51.0, "open-2": 51.0}


def test_a_range_is_kept_and_bars_before_it_are_history() -> None:
    days: Days = [(day, (10, 10, 10, 10, 1)) for day in (MONDAY, TUESDAY, WEDNESDAY)]
    market = ReplayMarket(recorded(days))
    driver = ReplayDriver(market, nobody, start=TUESDAY, end=TUESDAY)
    assert driver.first_moment == datetime(2001, 9, 18, 13, 30, tzinfo=UTC)
    assert {step.session.date for step in driver if isinstance(step, OpenStep)} == {TUESDAY}
    assert len(market.recorded.series("IBM", 10, driver.first_moment)) == 1
    with pytest.raises(ManifestError, match="is not within the recorded 2001-09-17 to 2001-09-19"):
        ReplayDriver(market, nobody, start=date(1999, 1, 4))
    with pytest.raises(ManifestError, match="is not within"):
        ReplayDriver(market, nobody, start=WEDNESDAY, end=TUESDAY)


def test_a_replay_resumes_with_the_session_that_was_cut_short() -> None:
    days: Days = [(day, (10, 10, 10, 10, 1)) for day in (MONDAY, TUESDAY, WEDNESDAY)]
    whole = list(ReplayDriver(ReplayMarket(recorded(days)), nobody))
    inside_tuesday = datetime(2001, 9, 18, 15, 0, tzinfo=UTC)
    rest = list(ReplayDriver(ReplayMarket(recorded(days)), nobody, resume_after=inside_tuesday))
    assert rest == whole[5:]


def test_a_symbol_that_starts_later_tolerates_the_sessions_before_it() -> None:
    bars = RecordedBars(
        {"GOOG": [(TUESDAY, (5, 5, 5, 5, 1))], "IBM": [(MONDAY, (1, 1, 1, 1, 1)), (TUESDAY, (1, 1, 1, 1, 1))]}, XNYS
    )
    opens = [step for step in ReplayDriver(ReplayMarket(bars), nobody) if isinstance(step, OpenStep)]
    assert [[quote.symbol for quote in step.quotes] for step in opens] == [["IBM"], ["GOOG", "IBM"]]


def test_split_adjusted_returns_multiply_to_what_a_holder_earned() -> None:
    split = Split("IBM", WEDNESDAY, Decimal("1.5"))
    bars = recorded([(MONDAY, (90,) * 4 + (1,)), (TUESDAY, (99,) * 4 + (1,)), (WEDNESDAY, (66,) * 4 + (1,))], split)
    closes = bars.series("IBM", 3, datetime(2001, 9, 20, tzinfo=UTC)).close
    assert np.allclose(closes[1:] / closes[:-1], [1.1, 1.0])


def test_a_session_of_the_evening_before_is_stepped_through_from_its_open() -> None:
    cmes = calendar_for("CMES")
    bars = RecordedBars({"ES": [(day, (1, 2, 0.5, 1, 1)) for day in (date(2026, 11, 23), date(2026, 11, 24))]}, cmes)
    levels = {"ES": [Levels(is_long=True, stop=0.75, target=1.5)]}
    steps = list(ReplayDriver(ReplayMarket(bars), lambda: levels))
    times = [step.time for step in steps]
    assert times == sorted(times)
    opens = [step.time for step in steps if isinstance(step, OpenStep)]
    assert opens == [datetime(2026, 11, 22, 23, 0, tzinfo=UTC), datetime(2026, 11, 23, 23, 0, tzinfo=UTC)]
    assert all(cmes.is_open(step.time) for step in steps if not isinstance(step, BarsStep))

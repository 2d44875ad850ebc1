"""Messages between a runner and a worker: what is sent is what is read, and what is no message is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from openbell.domain.bars import BarSeries
from openbell.runner.wire import (
    HEADER,
    MAX_COLUMNS,
    MAX_TEXT,
    WireError,
    columns_of,
    decoded,
    encoded,
    lengths,
    series_from,
)

plain = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5)


def read(raw: bytes) -> object:
    text, columns = lengths(raw[: HEADER.size])
    assert len(raw) == HEADER.size + text + columns
    return decoded(raw[HEADER.size : HEADER.size + text], raw[HEADER.size + text :])


@given(st.dictionaries(st.text(), plain, max_size=4), arrays.arrays(np.float64, st.integers(0, 20)))
def test_what_is_sent_is_what_is_read(body: dict[str, object], values: np.ndarray) -> None:
    message = read(encoded(body, [values, values]))
    assert message.body == body  # type: ignore[attr-defined]
    assert message.values.tobytes() == np.concatenate([values, values]).tobytes()  # type: ignore[attr-defined]


def test_a_series_arrives_whole_and_read_only() -> None:
    columns = [np.arange(3.0) + 10 * place for place in range(6)]
    series = BarSeries("AAPL", 60, *columns)
    message = read(encoded({}, columns_of(series)))
    arrived = series_from("AAPL", 60, 3, message.values)  # type: ignore[attr-defined]
    for name in ("end", "open", "high", "low", "close", "volume"):
        assert (getattr(arrived, name) == getattr(series, name)).all()
        assert not getattr(arrived, name).flags.writeable
    with pytest.raises(WireError, match="18 values are not 6 columns of 4 bars"):
        series_from("AAPL", 60, 4, message.values)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "raw"), [(MAX_TEXT + 1, 0), (0, MAX_COLUMNS + 8), (10, 7)])
def test_lengths_that_are_never_sent_are_refused(text: int, raw: int) -> None:
    with pytest.raises(WireError, match="is not one of ours"):
        lengths(HEADER.pack(text, raw))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(WireError):
        decoded(text, b"")

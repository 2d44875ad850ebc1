"""Logs: one line an event, secrets hidden, a bounded tail."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from types import MappingProxyType

import pytest
import structlog

from openbell.telemetry.logs import HIDDEN, LogEntry, Logging, LogTail, configure_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_structlog_and_the_standard_library_give_the_same_json(stream: io.StringIO) -> None:
    configure_logging(True, stream=stream)
    structlog.get_logger("openbell.runner").info("order.sent", symbol="AAPL", epoch=4)
    logging.getLogger("somewhere.else").warning("took %s s", 3, extra={"attempt": 2})
    ours, theirs = lines(stream)
    assert ours.items() >= {"event": "order.sent", "symbol": "AAPL", "epoch": 4, "level": "info"}.items()
    assert ours["logger"] == "openbell.runner"
    assert theirs.items() >= {"event": "took 3 s", "attempt": 2, "level": "warning"}.items()
    assert datetime.fromisoformat(str(ours["timestamp"])).tzinfo is not None


def test_an_event_is_one_line_even_with_a_traceback_or_a_newline_in_it(stream: io.StringIO) -> None:
    logs = configure_logging(True, stream=stream)
    log = structlog.get_logger("x")
    log.info("first\nsecond", note="a\nb")
    try:
        int("no such bar")
    except ValueError:
        log.exception("evaluation.failed")
    assert len(stream.getvalue().splitlines()) == 2
    assert "Traceback" in str(lines(stream)[1]["exception"])
    assert logs.tail.last(1)[0].fields == {
        "exception": "ValueError: invalid literal for int() with base 10: 'no such bar'"
    }


@pytest.mark.parametrize("as_json", [True, False])
def test_no_secret_is_ever_printed_or_kept(stream: io.StringIO, as_json: bool) -> None:
    logs = configure_logging(as_json, stream=stream)
    logs.redactor.hide("s3cr3t-value")
    log = structlog.get_logger("x")
    log.info("got s3cr3t-value", api_token="abc123", Authorization="Basic eHg6", nested={"password": "hunter2"})
    log.info("header", value="Authorization: Bearer abc.def-ghi", many=["s3cr3t-value"])
    logging.getLogger("y").error("with %s", "s3cr3t-value")
    try:
        int("s3cr3t-value")
    except ValueError:
        log.exception("failed")
    everything = stream.getvalue() + repr(logs.tail.last(10))
    for secret in ("s3cr3t-value", "abc123", "eHg6", "hunter2", "abc.def-ghi"):
        assert secret not in everything
    assert HIDDEN in everything


def test_levels_below_the_asked_one_are_left_out(stream: io.StringIO) -> None:
    logs = configure_logging(True, level="warning", stream=stream)
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").warning("loud")
    assert [entry.event for entry in logs.tail.last(10)] == ["loud"]


def test_configuring_again_does_not_print_twice(stream: io.StringIO) -> None:
    configure_logging(True, stream=stream)
    configure_logging(True, stream=stream)
    structlog.get_logger("x").info("once")
    assert len(lines(stream)) == 1


def test_a_huge_field_is_cut(stream: io.StringIO) -> None:
    configure_logging(True, stream=stream)
    structlog.get_logger("x").info("big", body="x" * 100_000)
    assert len(stream.getvalue()) < 3000


def test_context_variables_are_fields(stream: io.StringIO) -> None:
    configure_logging(True, stream=stream)
    with structlog.contextvars.bound_contextvars(strategy="momentum-tech"):
        structlog.get_logger("x").info("evaluated")
    assert lines(stream)[0]["strategy"] == "momentum-tech"


def entry(number: int) -> LogEntry:
    return LogEntry(datetime.now(UTC), "info", "x", str(number), MappingProxyType({}))


def test_the_tail_keeps_the_newest_oldest_first() -> None:
    tail = LogTail(3)
    for number in range(5):
        tail.append(entry(number))
    assert [each.event for each in tail.last(2)] == ["3", "4"]
    assert [each.event for each in tail.last(9)] == ["2", "3", "4"]
    assert tail.last(0) == ()


def test_what_is_returned_can_be_read_only(stream: io.StringIO) -> None:
    logs: Logging = configure_logging(False, stream=stream)
    structlog.get_logger("x").info("e", a=1)
    with pytest.raises(TypeError):
        logs.tail.last(1)[0].fields["a"] = 2  # type: ignore[index]

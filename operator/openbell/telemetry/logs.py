"""Logs: events with fields, one line each, from structlog and the standard library alike; secrets never shown."""

from __future__ import annotations

import logging
import re
import sys
from collections import deque
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

TAIL_LINES = 1000
FIELD_LENGTH = 2000
HIDDEN = "[hidden]"
_SECRET_KEY = re.compile(r"token|secret|password|passwd|authorization|credential|api_?key|cookie", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")
_DISPLAYED_APART = frozenset({"timestamp", "level", "logger", "event", "exception"})


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One logged event, with secrets hidden. `fields` are text or numbers."""

    time: datetime
    level: str
    logger: str
    event: str
    fields: Mapping[str, object]


class LogTail:
    """The newest log events in bounded memory. Appending is safe from any thread."""

    def __init__(self, capacity: int = TAIL_LINES) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=capacity)

    def append(self, entry: LogEntry) -> None:
        self._entries.append(entry)

    def last(self, lines: int) -> tuple[LogEntry, ...]:
        """The newest `lines` events, oldest first."""
        entries = self._entries.copy()  # one C call: another thread may be appending
        return tuple(entries)[-lines:] if lines > 0 else ()


class Redactor:
    """Hides the values of keys that name a secret, bearer tokens, and every value registered by `hide`."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def hide(self, secret: str) -> None:
        """Never show this value again, wherever it appears. Values of under 6 characters are too common to hide."""
        if len(secret) >= 6:
            self._secrets.add(secret)

    def clean(self, value: object) -> object:
        """The value without secrets; containers are copied, texts bounded."""
        if isinstance(value, str):
            text = _SECRET_TEXT.sub(rf"\1{HIDDEN}", value)
            for secret in self._secrets:
                text = text.replace(secret, HIDDEN)
            return text if len(text) <= FIELD_LENGTH else text[:FIELD_LENGTH] + "…"
        if isinstance(value, bool | int | float) or value is None:
            return value
        if isinstance(value, Mapping):
            return {str(key): HIDDEN if _SECRET_KEY.search(str(key)) else self.clean(v) for key, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean(each) for each in value]
        return self.clean(str(value))

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        cleaned = self.clean(event)
        return cast("MutableMapping[str, Any]", cleaned)


class _TailProcessor:
    def __init__(self, tail: LogTail) -> None:
        self._tail = tail

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        fields = {key: value for key, value in event.items() if key not in _DISPLAYED_APART}
        if "exception" in event:
            lines = str(event["exception"]).strip().splitlines()
            fields["exception"] = lines[-1] if lines else ""
        self._tail.append(
            LogEntry(
                time=datetime.fromisoformat(event["timestamp"]),
                level=str(event.get("level", method)),
                logger=str(event.get("logger") or ""),
                event=str(event.get("event", "")),
                fields=MappingProxyType(fields),
            )
        )
        return event


def _timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    return event


@dataclass(frozen=True, slots=True)
class Logging:
    """What `configure_logging` made: the tail to read from, and where to register secrets."""

    tail: LogTail
    redactor: Redactor


def configure_logging(
    json: bool, *, level: str = "INFO", stream: TextIO | None = None, tail_lines: int = TAIL_LINES
) -> Logging:
    """Send every log event of this process, structlog's and the standard library's, to one handler on `stream`
    (default: standard error) as JSON lines or, for a terminal, as plain text. Replaces what was set before."""
    target = stream if stream is not None else sys.stderr
    tail, redactor = LogTail(tail_lines), Redactor()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        _timestamp,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json
        else structlog.dev.ConsoleRenderer(colors=target.isatty(), pad_event_to=28)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redactor,
            _TailProcessor(tail),
            renderer,
        ],
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return Logging(tail, redactor)

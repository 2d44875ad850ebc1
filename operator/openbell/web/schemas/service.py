"""What operators of the service look at: logs and probes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from openbell.web.schemas.base import Answer, Body
from openbell.web.values import (
    LogLine,
)


class LogEntry(Body):
    """One logged event."""

    time: datetime
    level: str
    logger: str
    event: str
    fields: dict[str, Any]


class CheckBody(Body):
    """One thing that a probe looked at."""

    name: str
    ok: bool
    detail: str


class Health(Body):
    """A probe's answer."""

    status: Literal["success", "error"]
    message: str
    checks: list[CheckBody]


class LogList(Answer):
    logs: list[LogEntry]


def log_entry(line: LogLine) -> LogEntry:
    """One logged event."""
    return LogEntry(time=line.time, level=line.level, logger=line.logger, event=line.event, fields=dict(line.fields))

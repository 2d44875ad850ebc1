"""Make operator/openbell/market/sessions/XNYS.json from the exchange-calendars library (a development dependency).

Run it when the library has news (a day of mourning, another year): `python hack/generate_sessions.py`.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import exchange_calendars

FIRST, LAST = date(1998, 1, 1), date(2028, 12, 31)
ZONE = "America/New_York"
USUAL_OPEN, USUAL_CLOSE = "09:30", "16:00"
TARGET = Path(__file__).parent.parent / "operator" / "openbell" / "market" / "sessions" / "XNYS.json"


def derive() -> dict[str, Any]:
    """The table as the library sees it: weekdays without a session, and sessions that end early."""
    calendar = exchange_calendars.get_calendar("XNYS", start=FIRST.isoformat(), end=LAST.isoformat())
    early: dict[str, str] = {}
    days: set[date] = set()
    for session, row in calendar.schedule.iterrows():
        day = session.date()
        opening = row["open"].tz_convert(ZONE).strftime("%H:%M")
        closing = row["close"].tz_convert(ZONE).strftime("%H:%M")
        if opening != USUAL_OPEN or day.weekday() >= 5:
            raise SystemExit(f"{day} opens at {opening} on weekday {day.weekday()}, which the table cannot say")
        if closing != USUAL_CLOSE:
            early[day.isoformat()] = closing
        days.add(day)
    every = (FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1))
    return {
        "name": "XNYS",
        "zone": ZONE,
        "zoneLabel": "ET",
        "open": USUAL_OPEN,
        "close": USUAL_CLOSE,
        "first": FIRST.isoformat(),
        "last": LAST.isoformat(),
        "closed": [day.isoformat() for day in every if day.weekday() < 5 and day not in days],
        "early": early,
    }


if __name__ == "__main__":
    TARGET.write_text(json.dumps(derive(), separators=(",", ":")) + "\n", "utf-8")

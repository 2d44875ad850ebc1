#!/usr/bin/env python3
"""sessions.py [--check]: writes operator/openbell/market/sessions/*.json, or says which differ and fails.

The tables come from the exchange-calendars library (a development dependency); they are to be written anew when it has
news (a day of mourning, another year), and a change shows in review as the year's line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import exchange_calendars
import pandas

FOLDER = Path(__file__).resolve().parent.parent / "operator" / "openbell" / "market" / "sessions"
LAST = date(2028, 12, 31)


@dataclass(frozen=True)
class Venue:
    """What the library does not say: how people call the zone's time, and where the table begins.

    `closes` corrects the usual close.
    """

    name: str
    label: str
    first: date = date(2000, 1, 1)
    closes: time | None = None


VENUES = (
    Venue("XNYS", "ET", date(1998, 1, 1)),
    Venue("XNAS", "ET", date(1998, 1, 1)),
    Venue("XLON", "London time"),
    Venue("XTKS", "JST"),
    Venue("XHKG", "HKT"),
    Venue("XETR", "Frankfurt time"),
    Venue("XTSE", "ET"),
    # The library lets each session run into the next. Globex halts for its daily maintenance at 16:00 and opens the
    # next session at 17:00 (equity indices closed at 16:15 until 2015-09-18): orders in that hour are refused.
    Venue("CMES", "CT", closes=time(16, 0)),
)

Row = tuple[date, time, time, tuple[time, time] | None]  # date, open, close, lunch: the exchange's wall clock


def library(name: str, first: date, last: date) -> tuple[Any, list[Row], bool]:
    """The library's calendar, its sessions on the wall clock, and whether they open on the evening before."""
    calendar = exchange_calendars.get_calendar(name, start=first.isoformat(), end=last.isoformat())
    columns = [
        [None if moment is pandas.NaT else moment for moment in calendar.schedule[column].dt.tz_convert(calendar.tz)]
        for column in ("open", "close", "break_start", "break_end")
    ]
    evening, rows = calendar.open_offset == -1, []
    for session, opening, closing, pause, resumption in zip(calendar.schedule.index, *columns, strict=True):
        day = session.date()
        if closing.date() != day or opening.date() != day - timedelta(days=evening) or day.weekday() >= 5:
            raise SystemExit(f"{name}: {day} is open from {opening} to {closing}, which a table cannot say")
        lunch = (pause.time(), resumption.time()) if pause else None
        rows.append((day, opening.time(), closing.time(), lunch))
    return calendar, rows, evening


def regimes(calendar: Any, first: date) -> list[dict[str, Any]]:
    """The usual hours with the date from which each holds, oldest first."""
    lists = (calendar.open_times, calendar.close_times, calendar.break_start_times, calendar.break_end_times)
    begins = sorted({first, *(since.date() for times in lists for since, _ in times or () if since)})

    def usual(times: Any, day: date) -> str:
        return [clock for since, clock in times if since is None or since.date() <= day][-1].isoformat("minutes")

    found = []
    for day in begins:
        hours: dict[str, Any] = {"from": day.isoformat(), "open": usual(lists[0], day), "close": usual(lists[1], day)}
        if lists[2]:
            hours["lunch"] = [usual(lists[2], day), usual(lists[3], day)]
        found.append(hours)
    return found


def derive(venue: Venue) -> dict[str, Any]:
    """The table as the library sees it: weekdays without a session, and sessions that end early.

    Ends the program where a session is neither usual nor an early close without lunch: the table could not say it.
    """
    calendar, rows, evening = library(venue.name, venue.first, LAST)
    hours = regimes(calendar, venue.first)
    early: dict[str, dict[str, str]] = {}
    for day, opening, closing, lunch in rows:
        usual = [each for each in hours if each["from"] <= day.isoformat()][-1]
        wanted = usual.get("lunch")
        is_early = closing.isoformat("minutes") < usual["close"]
        if is_early:
            early.setdefault(str(day.year), {})[f"{day:%m-%d}"] = closing.isoformat("minutes")
            wanted = None if wanted and closing < time.fromisoformat(wanted[1]) else wanted
        seen = [clock.isoformat("minutes") for clock in lunch] if lunch else None
        if opening.isoformat("minutes") != usual["open"] or seen != wanted:
            raise SystemExit(f"{venue.name}: {day} is {opening} to {closing} with lunch {lunch}; a table cannot say it")
    if venue.closes:
        for each in hours:
            each["close"] = venue.closes.isoformat("minutes")
    days = {day for day, *_ in rows}
    every = (venue.first + timedelta(days=number) for number in range((LAST - venue.first).days + 1))
    return {
        "name": venue.name,
        "zone": str(calendar.tz),
        "zoneLabel": venue.label,
        "opensEveningBefore": evening,
        "first": venue.first.isoformat(),
        "last": LAST.isoformat(),
        "hours": hours,
        "closed": by_year(day for day in every if day.weekday() < 5 and day not in days),
        "early": early,
    }


def by_year(days: Iterable[date]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for day in days:
        found.setdefault(str(day.year), []).append(f"{day:%m-%d}")
    return found


def text(table: dict[str, Any]) -> str:
    """JSON with one line for each entry of the table, and within `closed` and `early` one for each year."""
    lines = []
    for key, value in table.items():
        if isinstance(value, dict) and value:
            inner = ",\n".join(f"  {json.dumps(year)}: {json.dumps(entry)}" for year, entry in value.items())
            lines.append(f" {json.dumps(key)}: {{\n{inner}\n }}")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: list[str]) -> int:
    wanted = {FOLDER / f"{venue.name}.json": text(derive(venue)) for venue in VENUES}
    differing = [path for path, content in wanted.items() if not path.is_file() or path.read_text("utf-8") != content]
    differing += sorted(set(FOLDER.glob("*.json")) - set(wanted))
    if arguments == ["--check"]:
        for path in differing:
            print(f"{path} differs from exchange-calendars; run hack/sessions.py", file=sys.stderr)
        return 1 if differing else 0
    for path in differing:
        if path in wanted:
            path.write_text(wanted[path], "utf-8")
            print(f"wrote {path}")
        else:
            path.unlink()
            print(f"removed {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""chaos_report.py REPORT SEED HISTORIES KILLS GATEWAY RESULTS: what the long runs came to, from pytest's own files.

Where a part was left out, the report keeps what the last run of it came to.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

LIBRARIES = ("ib_async", "ib_insync")
Json = dict[str, Any]


def cases(path: Path) -> list[ElementTree.Element]:
    return list(ElementTree.parse(path).getroot().iter("testcase"))  # noqa: S314 - as above


def has_passed(case: ElementTree.Element) -> bool:
    return case.find("failure") is None and case.find("error") is None


def seconds(case: ElementTree.Element) -> float:
    return float(case.get("time") or 0)


def long_runs(path: Path) -> Json:
    """Each long test: its seconds, and whether it passed."""
    return {
        str(case.get("name")): {"seconds": round(seconds(case)), "passed": has_passed(case)} for case in cases(path)
    }


def scenarios(path: Path) -> Json:
    """All scenarios on one library, their numbers added up; those that failed by their seeds."""
    found = cases(path)
    numbers: Counter[str] = Counter()
    for case in found:
        for each in case.iter("property"):
            numbers[str(each.get("name"))] += int(each.get("value") or 0)
    failed = [str(case.get("name")).partition("[")[2].rstrip("]") for case in found if not has_passed(case)]
    return {
        "scenarios": len(found),
        "passed": sum(map(has_passed, found)),
        "failed": failed,
        "seconds": round(sum(map(seconds, found))),
        **dict(sorted(numbers.items())),
    }


def main(report: Path, seed: int, histories: int, kills: int, gateway: int, results: Path) -> None:
    kept: Json = json.loads(report.read_text()) if report.exists() else {}
    said = {"histories": histories, "kills": kills, "gateway": gateway}
    kept |= {"seed": seed, **{name: number for name, number in said.items() if number}}
    runs: Json = kept.get("runs", {})
    if (results / "chaos-long.xml").exists():
        runs |= long_runs(results / "chaos-long.xml")
    runs |= {
        f"gateway on {library}": scenarios(results / f"chaos-{library}.xml")
        for library in LIBRARIES
        if (results / f"chaos-{library}.xml").exists()
    }
    report.write_text(json.dumps(kept | {"runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:6]), Path(sys.argv[6]))

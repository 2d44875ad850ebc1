"""Counts what came of every mutant, module by module, and keeps the report that is committed.

`mutation_report.py add ROOM REPORT` writes the modules of one run of mutmut into the report and leaves the others.
`mutation_report.py show PACKAGE REPORT` prints it, says which modules have changed since their run, and ends with 1
where fewer than nine mutants in ten were noticed. A mutant that no test reaches counts as not noticed.
"""

from __future__ import annotations

import fcntl
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from mutmut.stats import status_by_exit_code

GOAL = 0.90
NOTICED = frozenset({"killed", "timeout", "segfault", "caught by type check"})
UNFINISHED = frozenset({"not checked", "check was interrupted by user"})


def digest(source: Path) -> str | None:
    """What tells one version of a module from another; None where the module is gone."""
    return sha256(source.read_bytes()).hexdigest()[:12] if source.exists() else None


def results(room: Path) -> dict[str, dict[str, Any]]:
    """The entries of the modules that a run in this folder has finished."""
    found: dict[str, dict[str, Any]] = {}
    for meta in sorted((room / "mutants").rglob("*.py.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        statuses = {name.rsplit(".", 1)[1]: status_by_exit_code[code] for name, code in codes.items()}
        module = str(meta.relative_to(room / "mutants" / "src" / "openbell")).removesuffix(".meta")
        if not UNFINISHED.isdisjoint(statuses.values()):
            print(f"  {module}: the run did not come to its end")
        elif statuses:
            unnoticed = sorted(name for name, status in statuses.items() if status not in NOTICED)
            found[module] = {
                "source": digest(room / "src" / "openbell" / module),
                "mutants": len(statuses),
                "noticed": len(statuses) - len(unnoticed),
                "unnoticed": unnoticed,
            }
    return found


def add(room: Path, report: Path) -> int:
    """Write what a run found. Two runs may end at the same time."""
    with report.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        modules = json.loads(file.read() or "{}") | results(room)
        file.truncate(0)
        file.write(json.dumps(dict(sorted(modules.items())), indent=1) + "\n")
    return 0


def show(package: Path, report: Path) -> int:
    """Print every module, the worst last, and the whole."""
    modules: dict[str, dict[str, Any]] = json.loads(report.read_text())
    for module, entry in sorted(modules.items(), key=lambda item: -item[1]["noticed"] / item[1]["mutants"]):
        note = "" if entry["source"] == digest(package / module) else "  has changed since"
        share = entry["noticed"] / entry["mutants"]
        print(f"  {module:32} {entry['noticed']:5} of {entry['mutants']:5}  {share:6.1%}{note}")
    noticed = sum(entry["noticed"] for entry in modules.values())
    total = sum(entry["mutants"] for entry in modules.values())
    score = noticed / max(1, total)
    print(f"{noticed} of {total} mutants were noticed: {score:.1%}, the goal is {GOAL:.0%}")
    return 0 if score >= GOAL else 1


if __name__ == "__main__":
    command, folder, file = sys.argv[1:]
    sys.exit({"add": add, "show": show}[command](Path(folder), Path(file)))

"""Counts what came of every mutant, module by module, and writes the report that is committed.

`mutation_report.py MUTANTS REPORT`: reads mutmut's results, writes JSON, prints a table, and ends with 1 where fewer
than nine mutants in ten were noticed. A mutant that no test reaches counts as not noticed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from mutmut.stats import status_by_exit_code

GOAL = 0.90
NOTICED = frozenset({"killed", "timeout", "segfault", "caught by type check"})


def main(mutants: Path, report: Path) -> int:
    modules: dict[str, dict[str, object]] = {}
    total: Counter[bool] = Counter()
    for meta in sorted(mutants.rglob("*.py.meta")):
        statuses = {
            name: status_by_exit_code[code] for name, code in json.loads(meta.read_text())["exit_code_by_key"].items()
        }
        if not statuses:
            continue
        noticed = {name: status in NOTICED for name, status in statuses.items()}
        total.update(noticed.values())
        module = str(meta.relative_to(mutants / "src")).removesuffix(".meta")
        modules[module] = {
            "mutants": len(noticed),
            "noticed": sum(noticed.values()),
            "survived": sorted(name.rsplit(".", 1)[1] for name, seen in noticed.items() if not seen),
        }
        print(f"  {module:40} {sum(noticed.values()):5} of {len(noticed):5}")
    score = total[True] / max(1, total.total())
    report.write_text(
        json.dumps({"score": round(score, 4), "mutants": total.total(), "modules": modules}, indent=1) + "\n"
    )
    print(f"{total[True]} of {total.total()} mutants were noticed: {score:.1%}, the goal is {GOAL:.0%}")
    return 0 if score >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

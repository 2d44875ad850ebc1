#!/usr/bin/env bash
# chaos.sh [HISTORIES [KILLS]]: the long runs of what make test does a bounded part of: random histories of the
# engine, and kills of a real runner at random times. Writes tests/chaos.json. OPENBELL_CHAOS_SEED replays a run.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"
alone "$@"

cd "$ROOT"
"$ROOT/hack/bootstrap.sh"
HISTORIES=${1:-2000} KILLS=${2:-1000} SEED=${OPENBELL_CHAOS_SEED:-20261124}
RESULTS=$CACHE/results/chaos-long.xml
mkdir -p "$CACHE/results"
say "== $HISTORIES histories and $KILLS kills, seed $SEED"
rc=0
"$VENV/bin/pytest" tests/chaos/test_engine_machine.py tests/chaos/test_kills.py -k 'any_history or random_times' -s \
  --engine-histories "$HISTORIES" --chaos-kills "$KILLS" --chaos-seed "$SEED" \
  --junitxml="$RESULTS" -o junit_family=xunit1 || rc=$?
[ "$rc" -le 1 ] || exit "$rc"   # interrupted: nothing to report
"$VENV/bin/python" - "$RESULTS" tests/chaos.json "$HISTORIES" "$KILLS" "$SEED" <<'PY'
import json, sys, xml.etree.ElementTree as xml
from pathlib import Path
results, report, histories, kills, seed = sys.argv[1:]
runs = {
    case.get("name"): {
        "seconds": round(float(case.get("time"))),
        "passed": case.find("failure") is None and case.find("error") is None,
    }
    for case in xml.parse(results).getroot().iter("testcase")
}
found = {"seed": int(seed), "histories": int(histories), "kills": int(kills), "runs": runs}
Path(report).write_text(json.dumps(found, indent=1) + "\n")
PY
exit "$rc"

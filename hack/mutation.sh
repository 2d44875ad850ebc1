#!/usr/bin/env bash
# mutation.sh [PATTERN...]: changes the code that decides over money in small ways, one at a time, and counts how
# many of these mutants the unit tests notice. A pattern is a file of the package, like risk/*.py; without one,
# everything that the report is about. Only the modules of this run are written anew in tests/mutation.json. Fails
# where the whole report is below nine in ten.
#
# Two runs at a time are two values of OPENBELL_CACHE.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"
alone "$@"

# The journal of intents. Not the decision trail beside it (trail, recorder, inputs, bars, exact, relaxed): it explains
# what was decided, and decides nothing. Not killpoints, which is there for the tests with kills; schema and __init__
# have nothing in them that mutmut changes.
INTENTS=(journal/{columns,copies,database,dialects,export,filesystem,journal,lifecycle,lock,reading}.py
  journal/{reads,recovery,reserve,rows,unwritten,values,writes}.py)

# What tests a group of modules is run with: those that speak to it directly.
declare -A TESTS=(
  [risk]="tests/unit/risk"
  [engine]="tests/unit/engine/test_exits.py tests/unit/engine/test_sizing.py"
  [journal]="$(echo tests/unit/journal/test_{columns,dialects,export,filesystem,intent_lifecycle,journal_model,lock}.py \
    tests/unit/journal/test_journal_{operations,whole}.py \
    tests/unit/journal/test_{migrations,reading,recovery,reserve,risk_records,unwritten}.py)"
)

cd "$ROOT"
"$ROOT/hack/bootstrap.sh"
[ $# -gt 0 ] || set -- risk/*.py engine/exits.py engine/sizing.py "${INTENTS[@]}"

quoted() { printf '"%s", ' "$@"; }

# Every mutant has a pytest of its own, which would spend more on looking for garbage at its end than on most tests.
# Counting which test reaches what slows them down, and mutmut ends by itself what a mutant makes endless.
PYTEST=(-p no:xdist -p no:cacheprovider -p no:unraisableexception --hypothesis-profile=mutants --timeout=600)

# mutants GROUP PATTERN...: mutmut knows a package by a folder called src, and works on a copy of its own.
mutants() {
  local group=$1 room=$CACHE/mutation/$1 tests
  shift
  read -ra tests <<<"${TESTS[$group]}"
  rm -rf "$room"
  mkdir -p "$room/src"
  cp -r operator/openbell "$room/src/"
  cp -r operator tests hack charts crds docs examples pyproject.toml README.md CHANGELOG.md "$room/"
  cat >>"$room/pyproject.toml" <<END

[tool.mutmut]
source_paths = ["src"]
only_mutate = [$(quoted "${@/#/src/openbell/}")]
pytest_add_cli_args_test_selection = [$(quoted "${tests[@]}")]
pytest_add_cli_args = [$(quoted "${PYTEST[@]}")]
also_copy = ["hack", "charts", "crds", "docs", "examples", "operator"]
use_git_change_detection = false
END
  cd "$room"
  step "mutants of $*" "$VENV/bin/mutmut" run --max-children "${OPENBELL_MUTATION_CHILDREN:-$(nproc)}"
  cd "$ROOT"
  "$VENV/bin/python" hack/mutation_report.py add "$room" tests/mutation.json
}

for group in risk engine journal; do
  patterns=()
  for pattern; do
    [[ $pattern != "$group"/* ]] || patterns+=("$pattern")
  done
  if [ ${#patterns[@]} -gt 0 ]; then mutants "$group" "${patterns[@]}"; fi
done
"$VENV/bin/python" hack/mutation_report.py show operator/openbell tests/mutation.json

#!/usr/bin/env bash
# mutation.sh [PATTERN...]: changes the code that decides over money in small ways, one at a time, and counts how
# many of these mutants the unit tests notice. Writes tests/mutation.json and fails below nine in ten. A pattern is
# a file of the package, like risk/*.py; without one, everything that the report is about.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"
alone "$@"

cd "$ROOT"
"$ROOT/hack/bootstrap.sh"
ALL=(risk/*.py engine/exits.py engine/sizing.py journal/*.py)
[ $# -gt 0 ] || set -- "${ALL[@]}"
ROOM=$CACHE/mutation

# mutmut knows a package by a folder called src, and works on a copy of its own.
rm -rf "$ROOM"
mkdir -p "$ROOM/src"
cp -r operator/openbell "$ROOM/src/"
cp -r operator tests hack charts crds docs examples pyproject.toml README.md CHANGELOG.md "$ROOM/"
{
  echo
  echo '[tool.mutmut]'
  echo 'source_paths = ["src"]'
  printf 'only_mutate = ['
  printf '"src/openbell/%s", ' "$@"
  echo ']'
  echo 'pytest_add_cli_args_test_selection = ["tests/unit/risk", "tests/unit/engine", "tests/unit/journal"]'
  echo 'pytest_add_cli_args = ["-p", "no:xdist", "-p", "no:cacheprovider"]'
  echo 'also_copy = ["hack", "charts", "crds", "docs", "examples", "operator"]'
  echo 'use_git_change_detection = false'
} >>"$ROOM/pyproject.toml"

cd "$ROOM"
step "mutants of $*" "$VENV/bin/mutmut" run --max-children "${OPENBELL_MUTATION_CHILDREN:-$(nproc)}" || true
"$VENV/bin/python" "$ROOT/hack/mutation_report.py" "$ROOM/mutants" "$ROOT/tests/mutation.json"

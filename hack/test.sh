#!/usr/bin/env bash
# test.sh [SUITE...]: runs the suites one after the other (all of them without an argument), says what
# each counted, and ends with one line for all. A suite that hangs is ended at its limit, and all
# together at OPENBELL_TEST_BUDGET seconds; what could not run counts as failed.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"

cd "$ROOT"
SUITES=(lint unit contract gateway ibkr dashboard api chaos browser cluster)
declare -A LIMIT=([lint]=300 [unit]=600 [contract]=300 [gateway]=600 [ibkr]=1200 [dashboard]=300 [api]=900 [chaos]=1200 [browser]=900 [cluster]=2400)
BUDGET=${OPENBELL_TEST_BUDGET:-7200}
RESULTS=$CACHE/results
PASSED=0 FAILED=0 SKIPPED=0
declare -a SUMMARY=()

# within SECONDS COMMAND...: ends it at the limit as Ctrl-C would, so that it can clean up after itself.
within() {
  timeout --signal=INT --kill-after=60 "$@" &
  CHILD=$!
  local rc=0
  wait "$CHILD" || rc=$?
  CHILD=''
  return "$rc"
}
CHILD=''
trap '[ -z "$CHILD" ] || kill -INT "$CHILD"; exit 130' INT TERM

count() { # suite passed failed skipped seconds
  PASSED=$((PASSED + $2)) FAILED=$((FAILED + $3)) SKIPPED=$((SKIPPED + $4))
  SUMMARY+=("$(printf '%-10s %5d passed %4d failed %4d skipped %5d s' "$@")")
}

# One line of name and command a check.
lint_checks() {
  cat <<'CHECKS'
ruff .venv/bin/ruff check
format .venv/bin/ruff format --check
mypy .venv/bin/mypy
imports .venv/bin/lint-imports
crds .venv/bin/openbell crds --check
sessions .venv/bin/python hack/sessions.py --check
chart .venv/bin/python hack/chart.py --check
shellcheck shellcheck -x hack/*.sh hack/cluster/*.sh hack/cluster/kindnetd hack/cluster/runc-nosysres .ci/run
CHECKS
}

lint() {
  local name command log passed=0 failed=0 start=$SECONDS
  while read -r name command; do
    log=$CACHE/log/lint-$name.log
    if within "$1" bash -c "$command" >"$log" 2>&1 </dev/null; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
      say "  ✗ $command"
      tail -n 40 "$log" | sed 's/^/    /' >&2
    fi
  done < <(lint_checks)
  count lint "$passed" "$failed" 0 $((SECONDS - start))
}

dashboard() {
  local start=$SECONDS results=$RESULTS/dashboard.xml
  need_node
  (cd operator/dashboard && within "$1" npm test --silent -- --reporter=default --reporter=junit --outputFile="$results") || true
  tally dashboard "$results" $((SECONDS - start))
}

# What pytest (or vitest) wrote down; a suite that ended before it could is one failure.
tally() { # suite file seconds
  local numbers
  numbers=$("$VENV/bin/python" - "$2" <<'PY' || true
import sys, xml.etree.ElementTree as xml
suites = list(xml.parse(sys.argv[1]).getroot().iter("testsuite"))
total, bad, skipped = (sum(int(suite.get(key) or 0) for suite in suites for key in keys)
                       for keys in (("tests",), ("failures", "errors"), ("skipped",)))
for case in xml.parse(sys.argv[1]).getroot().iter("testcase"):
    if case.find("skipped") is not None:
        print(f"  untested: {case.get('classname')}.{case.get('name')}", file=sys.stderr)
print(max(total - bad - skipped, 0), bad, skipped) if total else sys.exit(1)
PY
)
  read -r -a numbers <<<"${numbers:-0 1 0}"
  count "$1" "${numbers[@]}" "$3"
}

pytest() { # suite limit option...
  local suite=$1 limit=$2 rc=0 start=$SECONDS results=$RESULTS/$1.xml
  shift 2
  within "$limit" "$VENV/bin/pytest" "tests/$suite" --junitxml="$results" -o junit_family=xunit1 "$@" || rc=$?
  [ "$rc" -ne 124 ] || say "  ✗ $suite: ended at its limit of $limit s"
  [ "$rc" -ge 2 ] && rm -f "$results"   # interrupted, or no test was found: nothing that counts
  tally "$suite" "$results" $((SECONDS - start))
}

unit() { pytest unit "$1" -n auto; }
contract() { pytest contract "$1" -n auto; }
gateway() { pytest gateway "$1" -n 2; }
# The adapter for Interactive Brokers on each library: an environment of its own each, for they exclude each other.
ibkr() {
  local library results start=$SECONDS left
  for library in ib_async ib_insync; do
    results=$RESULTS/ibkr-$library.xml left=$(($1 - SECONDS + start))
    rm -f "$results"
    PYTHONPATH=operator within "$((left > 0 ? left : 1))" "$CACHE/ibkr/$library/bin/pytest" tests/ibkr -n 2 \
      --junitxml="$results" -o junit_family=xunit1 -p no:cacheprovider || true
    tally "$library" "$results" $((SECONDS - start))
  done
}
api() { pytest api "$1"; }
chaos() { pytest chaos "$1"; }
browser() { pytest browser "$1"; }
# Three at a time: they mostly wait for pods. One that disturbs the operator keeps the others out meanwhile.
cluster() { pytest cluster "$1" -n 3; }

# What a suite needs beyond Python's packages. A step that fails is this suite's failure, not the end of all.
prepare() {
  case $1 in
    lint) need_deb shellcheck ;;
    dashboard) "$ROOT/hack/dashboard.sh" --packages ;;
    api) "$HERE/binaries.sh" kube-apiserver etcd kubectl ;;
    contract) "$ROOT/hack/tools.sh" postgresql ;;
    gateway) "$ROOT/hack/clients.sh" ib_insync ib_async ibapi ;;
    ibkr) "$ROOT/hack/ibkr.sh" ib_async ib_insync ;;
    browser)
      "$ROOT/hack/tools.sh" chromium
      "$ROOT/hack/dashboard.sh"
      ;;
    cluster)
      "$ROOT/hack/tools.sh" helm promtool curl
      "$HERE/up.sh"
      "$ROOT/hack/image.sh" --load >/dev/null
      # A demo that is left trades on, and what it writes would be counted in the test of idle minutes.
      kubectl delete namespace openbell-demo --ignore-not-found --timeout=3m >/dev/null
      ;;
  esac
}
if [ "${1:-}" = --prepare ]; then
  prepare "$2"
  exit
fi

[ $# -gt 0 ] || set -- "${SUITES[@]}"
"$ROOT/hack/bootstrap.sh"
mkdir -p "$RESULTS"
for suite; do
  [ -n "${LIMIT[$suite]:-}" ] || die "test.sh: no suite is called $suite (${SUITES[*]})"
  rm -f "$RESULTS/$suite.xml"
  left=$((BUDGET - SECONDS))
  if [ "$left" -le 0 ]; then
    say "  ✗ $suite: no time left"
    count "$suite" 0 1 0 0
    continue
  fi
  say "== $suite"
  if ! within "$left" "$ROOT/hack/test.sh" --prepare "$suite"; then
    say "  ✗ $suite: its preparation failed"
    count "$suite" 0 1 0 0
    continue
  fi
  left=$((BUDGET - SECONDS))
  "$suite" $((LIMIT[$suite] < left ? LIMIT[$suite] : left))
done

printf '%s\n' "" "${SUMMARY[@]}" ""
[ "$SKIPPED" -eq 0 ] || skipped=", $SKIPPED skipped"
echo "$PASSED passed, $FAILED failed${skipped:-}"
[ "$FAILED" -eq 0 ]

#!/usr/bin/env bash
# chaos.sh [HISTORIES [KILLS [GATEWAY]]]: the long runs of what make test does a bounded part of: random histories of
# the engine, kills of a real runner at random times, and scenarios of a runner at a gateway on each library of
# Interactive Brokers' API. 0 leaves a part out. Writes tests/chaos.json. OPENBELL_CHAOS_SEED replays a run;
# chaos.sh --gateway LIBRARY SEED replays one scenario.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"
alone "$@"

cd "$ROOT"
"$ROOT/hack/bootstrap.sh"

# lives LIBRARY SEED COUNT OPTION...: scenarios on one library, whose environment hack/ibkr.sh has made.
lives() {
  PYTHONPATH=operator "$CACHE/ibkr/$1/bin/pytest" tests/ibkr/test_lives.py -k any_scenario -p no:cacheprovider \
    --gateway-seed "$2" --gateway-scenarios "$3" "${@:4}"
}

if [ "${1:-}" = --gateway ]; then
  "$ROOT/hack/ibkr.sh" "$2"
  lives "$2" "$3" 1 -s
  exit
fi

HISTORIES=${1:-2000} KILLS=${2:-1000} GATEWAY=${3:-1000} SEED=${OPENBELL_CHAOS_SEED:-20261124}
LIBRARIES=(ib_async ib_insync)
RESULTS=$CACHE/results
mkdir -p "$RESULTS"
rm -f "$RESULTS"/chaos-*.xml
say "== $HISTORIES histories and $KILLS kills, $GATEWAY scenarios at a gateway on each library, seed $SEED"
rc=0
parts=''
[ "$HISTORIES" -eq 0 ] || parts=any_history
[ "$KILLS" -eq 0 ] || parts="${parts:+$parts or }random_times"
if [ -n "$parts" ]; then
  "$VENV/bin/pytest" tests/chaos/test_engine_machine.py tests/chaos/test_kills.py \
    -k "$parts" -s \
    --engine-histories "$HISTORIES" --chaos-kills "$KILLS" --chaos-seed "$SEED" \
    --junitxml="$RESULTS/chaos-long.xml" -o junit_family=xunit1 || rc=$?
  [ "$rc" -le 1 ] || exit "$rc"   # interrupted: nothing to report
fi
if [ "$GATEWAY" -gt 0 ]; then
  "$ROOT/hack/ibkr.sh" "${LIBRARIES[@]}"
  for library in "${LIBRARIES[@]}"; do
    one=0
    # Mostly waiting: more of them side by side than there are processors.
    lives "$library" "$SEED" "$GATEWAY" -n $((2 * $(nproc))) \
      --junitxml="$RESULTS/chaos-$library.xml" -o junit_family=xunit1 || one=$?
    [ "$one" -le 1 ] || exit "$one"
    rc=$((rc > one ? rc : one))
  done
fi
"$VENV/bin/python" hack/chaos_report.py tests/chaos.json "$SEED" "$HISTORIES" "$KILLS" "$GATEWAY" "$RESULTS"
exit "$rc"

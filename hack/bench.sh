#!/usr/bin/env bash
# bench.sh: measures the promised numbers, each beside its reference in the same run, and prints them. The
# processes that are measured run from an environment with the image's packages alone: what else is
# installed for development would be counted as theirs.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"

cd "$ROOT"
"$ROOT/hack/bootstrap.sh"
"$HERE/binaries.sh" kube-apiserver etcd kubectl

# The harness itself needs httpx to talk to the API server; nothing that is measured does.
BENCH=$CACHE/bench
wanted=$(cat requirements-runtime.lock requirements.lock | sha256sum)
if [ "$(cat "$BENCH/.stamp" 2>/dev/null)" != "$wanted" ]; then
  need_uv
  packages() {
    rm -rf "$BENCH"
    uv venv --python '>=3.11,<3.15' "$BENCH"
    uv pip sync --compile-bytecode --python "$BENCH" --require-hashes requirements-runtime.lock
    uv pip install --compile-bytecode --python "$BENCH" -c <(grep -oE '^(httpx|httpcore)==[^ ;]+' requirements.lock) httpx
  }
  step "packages of the image, for measuring" packages
  echo "$wanted" > "$BENCH/.stamp"
fi

# What the backtest is measured beside has packages of its own.
PEERS=$CACHE/bench-peers
if [ "$(cat "$PEERS/.stamp" 2>/dev/null)" != "$(sha256sum < benchmarks/backtest_peers.txt)" ]; then
  need_uv
  peers() {
    rm -rf "$PEERS"
    uv venv --python '>=3.11,<3.13' "$PEERS"
    uv pip install --python "$PEERS" -r benchmarks/backtest_peers.txt
  }
  step "other backtesting engines, to measure beside" peers
  sha256sum < benchmarks/backtest_peers.txt > "$PEERS/.stamp"
fi

REPORTS=${1:-benchmarks/reports}
mkdir -p "$REPORTS"
say "== runner: pause, gate, start, memory"
"$BENCH/bin/python" benchmarks/runner.py --json "$REPORTS/runner.json"
say "== journal: appends, each commit on the disk"
"$BENCH/bin/python" benchmarks/journal.py --json "$REPORTS/journal.json"
say "== trail: what recording every decision costs"
"$BENCH/bin/python" benchmarks/trail.py --json "$REPORTS/trail.json"
say "== operator: 1,000 schedulers and 5,000 strategies; memory; writes at rest"
"$BENCH/bin/python" benchmarks/operator_scale.py --json "$REPORTS/operator.json"
say "== ticks: lateness against a bare sleeping thread"
"$BENCH/bin/python" benchmarks/lateness.py --json "$REPORTS/lateness.json"
say "== evaluation: 100 strategies × 100 symbols in one tick"
"$BENCH/bin/python" benchmarks/evaluations.py --json "$REPORTS/evaluations.json"
say "== orders and exits: from the bar's close, and from the crossing of a stop under load"
"$BENCH/bin/python" benchmarks/latency.py --json "$REPORTS/latency.json"
say "== backtest: the same crossover in four engines"
"$BENCH/bin/python" benchmarks/backtest.py --peers "$PEERS/bin/python" --json "$REPORTS/backtest.json"

#!/usr/bin/env bash
# demo.sh: the whole path on a real cluster. Makes or reuses the local one, installs the operator, trades
# examples/quickstart.yaml until a position was entered and left, pauses and resumes it, and replays
# thirteen years of daily bars. Ends by itself; "make down" removes everything.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"

cd "$ROOT"
command -v python3 >/dev/null || need_deb python3
SYSTEM=openbell-system DEMO=openbell-demo

k() { kubectl -n "$DEMO" "$@"; }
field() { k get tsch "$1" -o jsonpath="{$2}" 2>/dev/null; }
now() { date +%s%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.2f s", (b - a) / 1e9}'; }

# follow SCHEDULER SECONDS WHAT COMMAND...: waits for the command, telling the scheduler's own words meanwhile.
follow() {
  local scheduler=$1 limit=$2 what=$3 start=$SECONDS told='' why
  shift 3
  until "$@"; do
    [ $((SECONDS - start)) -lt "$limit" ] || {
      k get tsch,strat,pods -o wide >&2 || true
      k logs "deployment/$scheduler-runner" --tail=20 >&2 || true
      die "  ✗ $what: not after $limit s"
    }
    why=$(field "$scheduler" .status.why || true)
    if [ -n "$why" ] && [ "$why" != "$told" ]; then
      say "  … $scheduler ($((SECONDS - start)) s): $why"
      told=$why
    fi
    sleep 1
  done
  say "  ✓ $what ($((SECONDS - start)) s)"
}

traded() { # an entry and an exit are counted
  local n
  read -r -a n <<<"$(field quickstart '.status.stats.tradesExecuted} {.status.stats.exitsExecuted' || true)"
  [ "${n[0]:-0}" -gt 0 ] && [ "${n[1]:-0}" -gt 0 ]
}
replay() { kubectl get --raw "/api/v1/namespaces/$DEMO/services/replay-api:8021/proxy/api/replay" 2>/dev/null; }
replayed() { replay | grep -q '"finished": *true' && [[ $(field replay .status.why) == "replay finished"* ]]; }

say "1. A cluster, the image, the operator"
"$HERE/up.sh"
"$HERE/binaries.sh" kubectl helm
image=$("$ROOT/hack/image.sh" --load)
use_engine
step "install the operator ($image)" helm upgrade --install openbell charts/openbell --namespace "$SYSTEM" \
  --create-namespace --set "image.repository=${image%:*},image.tag=${image##*:}" --wait --timeout 5m

say "2. A scheduler and two strategies on the simulated broker"
kubectl create namespace "$DEMO" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
k apply -f examples/quickstart.yaml
follow quickstart 300 "a position was entered and left" traded
echo
kubectl get nodes
echo
kubectl get pods -A -o wide | awk -v a="$SYSTEM" -v b="$DEMO" 'NR == 1 || $1 == a || $1 == b'
echo
k get tsch,strat -o wide

say ""
say "3. Pause and resume, as measured from the patch to the runner's acknowledgement (kubectl's own start included)"
for paused in true false; do
  start=$(now)
  k patch tsch quickstart --type merge -p "{\"spec\":{\"paused\":$paused}}" >/dev/null
  k wait tsch/quickstart --for="condition=Paused=${paused^}" --timeout=30s >/dev/null
  echo "paused: $paused  →  Paused=${paused^} after $(since "$start")"
done

say ""
say "4. Thirteen years of daily bars of AAPL, GOOG, IBM and MSFT, in simulated time"
k apply -f examples/replay.yaml
follow replay 600 "the replay has ended" replayed
echo
k get tsch -o wide
replay | python3 -c 'import json, sys; r = json.load(sys.stdin); print("replay:", r["trades"], "trades, digest", r["digest"])'

echo
echo "The page of the quickstart, on http://127.0.0.1:8021/:"
echo "  KUBECONFIG=$KUBECONFIG $(command -v kubectl) -n $DEMO port-forward service/quickstart-api 8021"
echo "\"make down\" removes the cluster and everything else that this has started."

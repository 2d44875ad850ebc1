#!/usr/bin/env bash
# down.sh: deletes the local cluster, ends the engine if it is ours and undoes what that changed.
# The images, programs and caches stay, so that the next start is quick; with --all they go too.
# A cluster that OPENBELL_KUBECONFIG names is left alone but for what the demo put there.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/env.sh"

if ! own_cluster; then
  "$HERE/binaries.sh" kubectl helm
  kubectl delete namespace openbell-demo --ignore-not-found --timeout=120s
  helm -n openbell-system uninstall openbell --ignore-not-found --wait
  kubectl delete namespace openbell-system --ignore-not-found --timeout=120s
  exit
fi
if [ -x "$CACHE/bin/kind" ] && timeout 10 docker info >/dev/null 2>&1; then
  if kind get clusters 2>/dev/null | grep -qx "$CLUSTER"; then
    observe "delete the cluster" kind delete cluster --name "$CLUSTER"
    [ "$STATUS" -eq 0 ] || say "  ✗ delete the cluster: its nodes end with the engine instead"
  fi
  # kind leaves its network behind; one that is in use by another cluster stays.
  docker network rm kind >/dev/null 2>&1 || true
fi
rm -f "$CACHE/kubeconfig" "$CACHE/cluster.stamp"
"$HERE/engine.sh" stop
if [ "${1:-}" = --all ]; then
  chmod -R u+w "$CACHE" && rm -rf "$CACHE"   # Go keeps its modules read-only
fi

#!/usr/bin/env bash
# up.sh: makes sure that a cluster is there and healthy. One that is, is used as it is (a second);
# one whose nodes do not answer any more (after a reboot, say) is made again.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/env.sh"
alone "$@"

STAMP=$CACHE/cluster.stamp

nodes_ready() { # true when every one of the cluster's nodes says so
  local states
  states=$(kubectl --request-timeout=5s get nodes \
    -o jsonpath='{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' 2>/dev/null) || return 1
  [ "$(grep -c . <<<"$states")" -ge "$1" ] && ! grep -qv True <<<"$states"
}

system_ready() { # DNS, volumes and a pod network: what a workload needs first
  kubectl -n kube-system rollout status deploy/coredns --timeout=1s &&
    kubectl -n kube-system rollout status ds/kindnet ds/kube-proxy --timeout=1s &&
    kubectl -n local-path-storage rollout status deploy/local-path-provisioner --timeout=1s
}

if ! own_cluster; then
  "$HERE/binaries.sh" kubectl
  kubectl --request-timeout=10s get --raw /readyz >/dev/null ||
    die "OPENBELL_KUBECONFIG names $KUBECONFIG, but its cluster does not answer."
  say "Using the cluster of $KUBECONFIG ($(kubectl config current-context))."
  exit
fi

wanted=$({ cat "$HERE/cluster.yaml"; echo "$KIND $K8S $PUBLISHED_NODE"; } | sha256sum | cut -c1-12)
if [ -x "$CACHE/bin/kubectl" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$wanted" ] && nodes_ready 3; then
  exit
fi

"$HERE/engine.sh" start
use_engine
"$HERE/binaries.sh" kind kubectl
if kind get clusters 2>/dev/null | grep -qx "$CLUSTER"; then
  # Nodes that were merely slow come back by themselves; stopped ones get new addresses when
  # they are started again, which a cluster of several nodes does not survive.
  if [ "$(cat "$STAMP" 2>/dev/null)" = "$wanted" ] &&
     [ "$(docker ps -q --filter "label=io.x-k8s.kind.cluster=$CLUSTER" --filter status=running | wc -l)" -eq 3 ] &&
     wait_for "the cluster's nodes" 60 nodes_ready 3; then
    exit
  fi
  step "delete the old cluster" kind delete cluster --name "$CLUSTER"
fi
rm -f "$STAMP"
image=$("$HERE/node-image.sh")
create() { kind create cluster --name "$CLUSTER" --config "$HERE/cluster.yaml" --image "$image" || {
  kind delete cluster --name "$CLUSTER"
  return 1
}; }
step "create the cluster (1 control plane, 2 workers)" create
wait_for "the cluster's nodes" 180 nodes_ready 3
wait_for "DNS, volumes and pod network" 180 system_ready
echo "$wanted" > "$STAMP"
say "The cluster is ready: KUBECONFIG=$KUBECONFIG"

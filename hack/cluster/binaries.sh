#!/usr/bin/env bash
# binaries.sh NAME...: makes sure that these programs are in the cache's bin folder, each at the
# version of env.sh, built by Go from its module proxy. What is there is left alone.
#   kind helm promtool kubectl kube-apiserver etcd ...   (all names: the table below)

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/env.sh"
alone "$@"

# name, module, version, package within the module
table() {
  local c
  for c in kubeadm kubelet kubectl kube-apiserver kube-controller-manager kube-scheduler kube-proxy; do
    echo "$c k8s.io/kubernetes $K8S /cmd/$c"
  done
  for c in containerd ctr containerd-shim-runc-v2; do
    # Debian's own ctr lacks the --label that kind's image builder uses.
    echo "$c github.com/containerd/containerd/v2 $CONTAINERD /cmd/$c"
  done
  echo "kind sigs.k8s.io/kind $KIND"
  echo "etcd go.etcd.io/etcd/server/v3 $ETCD"
  echo "coredns github.com/coredns/coredns $COREDNS"
  echo "local-path-provisioner github.com/rancher/local-path-provisioner $LOCAL_PATH"
  echo "helm helm.sh/helm/v4 $HELM /cmd/helm"
  echo "promtool github.com/prometheus/prometheus $PROMETHEUS /cmd/promtool"
}

# Kubernetes asks for its staging modules at v0.0.0: the published v0.x take their place.
kubernetes_modules() { # package...
  local mod p
  mod=$(go mod download -json "k8s.io/kubernetes@$K8S" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')
  {
    echo "module build.local/kubernetes"
    sed -n '/^go /p' "$mod"
    echo "require k8s.io/kubernetes $K8S"
    awk -v v="v0${K8S#v1}" '$1 ~ /^k8s.io\// && $2 == "v0.0.0" {print "replace " $1 " => " $1 " " v}' "$mod"
  } > go.mod
  {
    echo "package kubernetes"
    for p; do echo "import _ \"$p\""; done
  } > imports.go
  go mod tidy
}

# Every other module is fetched as the requirement of a go.mod of its own.
other_modules() { # version package...
  local version=$1
  shift
  [ -f go.mod ] || go mod init build.local/tool
  go get "${@/%/@$version}"
}

build() { # module version name...
  local module=$1 version=$2 name pkgs=() v=k8s.io/component-base/version.git ldflags="-s -w"
  shift 2
  for name; do pkgs+=("$module$(table | awk -v n="$name" '$1 == n {print $4}')"); done
  mkdir -p "$CACHE/src/$module"
  cd "$CACHE/src/$module"
  rm -rf out && mkdir out
  if [ "$module" = k8s.io/kubernetes ]; then
    # every program is named, so that a later build of another one finds the modules it needs
    mapfile -t all < <(table | awk '$2 == "k8s.io/kubernetes" {print $2 $4}')
    kubernetes_modules "${all[@]}"
    ldflags+=" -X ${v}Version=$K8S -X ${v}Major=1 -X ${v}Minor=$(echo "$K8S" | cut -d. -f2)"
    ldflags+=" -X k8s.io/client-go/pkg/version.gitVersion=$K8S"
  else
    other_modules "$version" "${pkgs[@]}"
  fi
  [ "$module" != helm.sh/helm/v4 ] || ldflags+=" -X helm.sh/helm/v4/internal/version.version=$version"
  go build -trimpath -tags "no_btrfs no_zfs no_devmapper" -ldflags "$ldflags" -o out/ "${pkgs[@]}"
  [ ! -e out/server ] || mv out/server out/etcd
  for name; do
    mv "out/$name" "$CACHE/bin/$name"
    echo "$module@$version" > "$CACHE/bin/.stamp/$name"
  done
}

declare -A wanted=()
for name; do
  read -r _ module version _ < <(table | grep "^$name ") || die "binaries.sh: no program is called $name"
  [ -x "$CACHE/bin/$name" ] && [ "$(cat "$CACHE/bin/.stamp/$name" 2>/dev/null)" = "$module@$version" ] && continue
  wanted["$module $version"]+=" $name"
done
[ ${#wanted[@]} -gt 0 ] || exit 0

need_go
# One module at a time, Kubernetes first: the others are short.
mapfile -t order < <(printf '%s\n' "${!wanted[@]}" | sort -k1,1r)
for key in "${order[@]}"; do
  read -r module version <<<"$key"
  read -r -a names <<<"${wanted[$key]}"
  step "build ${names[*]} $version" build "$module" "$version" "${names[@]}"
done

#!/usr/bin/env bash
# node-image.sh: makes sure that the engine has an image for the cluster's nodes, and prints its name:
# kind's published one where a registry is reached, else one that we build from Go modules and
# Debian packages with kind's own image builder (about 10 minutes on two cores, once).

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/env.sh"

have() { docker image inspect "$1" >/dev/null 2>&1; }

for image in "$PUBLISHED_NODE" "$NODE_IMAGE"; do
  if have "$image"; then echo "$image"; exit; fi
done
observe "pull kind's published node image" timeout 900 docker pull -q "$PUBLISHED_NODE"
if [ "$STATUS" -eq 0 ]; then
  echo "$PUBLISHED_NODE"
  exit
fi
say "It cannot be pulled ($(tail -n 1 "$(log_of "pull kind's published node image")" | cut -c1-100)): building one."

W=$CACHE/node-image          # scratch
B=$W/base                    # the nodes' root file system
BASE_IMAGE=openbell-node-base:local

# Debian with systemd, and the files of kind's own images/base.
base() {
  local kind_files=$1/images/base/files
  mmdebstrap --quiet --variant=minbase \
    --include=systemd,conntrack,iptables,nftables,iproute2,ethtool,kmod,libseccomp2,e2fsprogs,ca-certificates,jq,procps,runc,containernetworking-plugins \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$DEBIAN" "$B"
  cp -r --no-preserve=mode,ownership "$kind_files"/. "$B"/
  chmod 755 "$B"/usr/local/bin/* "$B"/kind/bin/*
  install -m 755 "$CACHE"/bin/{containerd,ctr,containerd-shim-runc-v2} "$B"/usr/local/bin/
  mkdir -p "$B"/etc/kubernetes/manifests "$B"/opt/cni
  ln -sfn /usr/lib/cni "$B"/opt/cni/bin
  # Where CAP_SYS_RESOURCE is withheld, negative OOM scores cannot be set; where there is no DMI,
  # kind's hook that hides it has nothing to do.
  sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/; /base_runtime_spec/d' \
    "$B"/etc/containerd/config.toml
  # As in kind's images/base/Dockerfile: units that a container does not want.
  (cd "$B"/usr/lib/systemd/system
   rm -f sysinit.target.wants/systemd-tmpfiles-setup.service {multi-user,local-fs,basic}.target.wants/* \
     sockets.target.wants/*{udev,initctl}* "$B"/etc/systemd/system/*.wants/*)
  echo ReadKMsg=no >> "$B"/etc/systemd/journald.conf
  ln -sf /usr/lib/systemd/systemd "$B"/sbin/init
  chroot "$B" systemctl --quiet enable kubelet containerd undo-mount-hacks
  chroot "$B" systemctl --quiet mask systemd-binfmt
  tar -C "$B" -cf "$W/base.tar" .
  docker import --change 'ENV container=docker' --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' \
    "$W/base.tar" "$BASE_IMAGE-raw"
  # docker import cannot set the signal that tells systemd to stop
  printf 'FROM %s\nSTOPSIGNAL SIGRTMIN+3\n' "$BASE_IMAGE-raw" | docker build -q -t "$BASE_IMAGE" -
}

# archive NAME ENTRYPOINT NAMES-PATTERN LAYER...: an image archive as docker save writes it.
# kind reads four archives from a Kubernetes release, and of each only the first image's names: so
# the ten images that kubeadm and kind want are made as four, with several names each. They are
# written here and not by docker save, because that shortens names which kind compares whole.
archive() {
  local name=$1 entrypoint=$2 pattern=$3 dir=$W/archive layer diffs=() files=()
  shift 3
  rm -rf "$dir" && mkdir -p "$dir"
  for layer; do
    ln "$layer" "$dir/"
    files+=("\"${layer##*/}\"")
    diffs+=("\"sha256:$(sha256sum "$layer" | cut -d' ' -f1)\"")
  done
  (IFS=,
   echo "{\"architecture\":\"$(dpkg --print-architecture)\",\"os\":\"linux\",\"created\":\"1970-01-01T00:00:00Z\",
     \"config\":{\"Entrypoint\":[$entrypoint],\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"]},
     \"rootfs\":{\"type\":\"layers\",\"diff_ids\":[${diffs[*]}]}}" > "$dir/config.json"
   echo "[{\"Config\":\"config.json\",\"RepoTags\":[$(grep -E "$pattern" "$W/names" | sort -u | sed 's/.*/"&"/' | paste -sd,)],
     \"Layers\":[${files[*]}]}]" > "$dir/manifest.json")
  tar -C "$dir" -cf "$W/server/kubernetes/server/bin/$name.tar" manifest.json config.json "${@##*/}"
}

# layer NAME BINARY...: a layer with these programs in /usr/local/bin.
layer() {
  local name=$1 b
  shift
  rm -rf "$W/layer" && mkdir -p "$W/layer/usr/local/bin"
  for b; do ln "$CACHE/bin/$b" "$W/layer/usr/local/bin/"; done
  tar -C "$W/layer" --owner=0 --group=0 -cf "$W/$name.layer.tar" usr
}

# What kind takes for a Kubernetes release: a server tarball.
server() {
  local kind_source=$1 bin=$W/server/kubernetes/server/bin b
  mkdir -p "$bin"
  echo "$K8S" > "$W/server/kubernetes/version"
  {
    kubeadm config images list --kubernetes-version "$K8S"
    sed -n 's/.*Image = "\(.*\)"/\1/p' "$kind_source"/pkg/build/nodeimage/const_*.go   # kindnetd, local-path-*
    sed -n 's/ *sandbox_image = "\(.*\)"/\1/p' "$kind_source/images/base/files/etc/containerd/config.toml"
  } > "$W/names"
  gcc -Os -static -o "$CACHE/bin/pause" "$HERE/pause.c"
  install -m 755 "$HERE/kindnetd" "$CACHE/bin/"
  layer control kube-apiserver kube-controller-manager kube-scheduler etcd
  layer dns coredns
  layer pause pause
  layer node kube-proxy kindnetd kubectl local-path-provisioner
  archive kube-apiserver '' '/(kube-(api|con|sch)|etcd)' "$W/control.layer.tar"
  archive kube-controller-manager '"/usr/local/bin/coredns"' '/coredns:' "$W/dns.layer.tar"
  archive kube-scheduler '"/usr/local/bin/pause"' '/pause:' "$W/pause.layer.tar"
  archive kube-proxy '"/usr/local/bin/kindnetd"' '/(kube-proxy|kindnetd|local-path)' "$W/base.tar" "$W/node.layer.tar"
  for b in kubeadm kubelet kubectl; do ln "$CACHE/bin/$b" "$bin/"; done
  tar -C "$W/server" -I 'gzip -1' -cf "$W/server.tar.gz" kubernetes
}

"$HERE/binaries.sh" kubeadm kubelet kubectl kube-apiserver kube-controller-manager kube-scheduler kube-proxy \
  kind etcd coredns local-path-provisioner containerd ctr containerd-shim-runc-v2 >&2
need_deb mmdebstrap debian-archive-keyring gcc libc6-dev
need_go
kind_source=$(go mod download -json "sigs.k8s.io/kind@$KIND" | sed -n 's/.*"Dir": "\(.*\)",/\1/p')
rm -rf "$W" && mkdir -p "$W"
step "node base image" base "$kind_source"
step "component images" server "$kind_source"
# kind tries to pull the base image first, in vain, for 10 seconds.
step "node image $NODE_IMAGE" kind build node-image --type file --base-image "$BASE_IMAGE" --image "$NODE_IMAGE" "$W/server.tar.gz"
rm -rf "$W"
echo "$NODE_IMAGE"

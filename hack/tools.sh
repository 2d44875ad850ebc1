#!/usr/bin/env bash
# tools.sh NAME...: makes sure that these tools are here: Go programs (kubectl, helm, promtool,
# kube-apiserver, etcd, ...) in the cache's bin folder, Debian's (shellcheck, chromium, curl, ...) in the system.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/cluster/env.sh"

go=()
for name; do
  case $name in
    shellcheck | chromium | prometheus | postgresql | curl) need_deb "$name" ;;
    *) go+=("$name") ;;
  esac
done
[ ${#go[@]} -eq 0 ] || "$HERE/binaries.sh" "${go[@]}"

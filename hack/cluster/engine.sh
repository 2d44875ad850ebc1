#!/usr/bin/env bash
# engine.sh start: makes sure that a Docker engine runs: one that runs already, or else, on Linux as
#                  root, one of our own with everything it keeps in the cache folder.
# engine.sh stop:  ends our own (no other) and undoes what it changed on this machine.

# shellcheck source=hack/cluster/env.sh
. "$(dirname "$0")/env.sh"

BEFORE=$CACHE/engine.before   # a folder: what this machine was like before our engine changed it

is_ours() { grep -qs "$CACHE/docker.sock" "/proc/$1/cmdline"; }
rules() { iptables -w -t "$1" -S; }
bridges() { ip -o link show type bridge | awk -F': ' '{print $2}'; }

remember() {
  mkdir -p "$BEFORE"
  rules filter > "$BEFORE/filter"
  rules nat > "$BEFORE/nat"
  bridges > "$BEFORE/bridges"
  sysctl net.ipv4.ip_forward fs.inotify.max_user_instances > "$BEFORE/sysctl"
  sed -n 's/^-P FORWARD //p' "$BEFORE/filter" > "$BEFORE/policy"
}

# dockerd leaves its chains, its bridges and a forwarding policy of DROP behind, which would cut off
# other bridges of this machine. Removed is what is new and Docker's; what else changed is not ours.
restore() {
  local t rule new="$CACHE/engine.new"
  for t in filter nat; do
    rules $t | grep -vxFf "$BEFORE/$t" > "$new" || true
    grep -E '^-A .*(DOCKER|docker0|br-[0-9a-f]{12})' "$new" | sed 's/^-A/-D/' |
      while read -r rule; do xargs iptables -w -t $t <<<"$rule" || true; done || true
    sed -n 's/^-N \(DOCKER.*\)/\1/p' "$new" | xargs -r -n1 iptables -w -t $t -X
  done
  { bridges | grep -vxFf "$BEFORE/bridges" | grep -E '^(docker0|br-[0-9a-f]{12})$' || true; } | xargs -r -n1 ip link del
  iptables -w -P FORWARD "$(cat "$BEFORE/policy")"
  sysctl -q -p "$BEFORE/sysctl"
  rm -r "$BEFORE" "$new"
}

# Containers outlive an engine that is killed, and the next one does not get hold of all of them.
end_leftovers() {
  local shim
  for shim in $(pgrep -f -- "containerd-shim.* -address $CACHE/docker-exec/"); do
    pkill -9 -P "$shim" || true
    kill -9 "$shim" || true
  done
  shim=$(cat "$CACHE/docker-exec/containerd/containerd.pid" 2>/dev/null || echo 0)
  ! grep -qs "$CACHE/docker-exec" "/proc/$shim/cmdline" || kill -9 "$shim"
  rm -f "$CACHE/dockerd.pid" "$CACHE/docker.sock"
}

start() {
  local runtime=() pid
  own_engine && return
  timeout 10 docker info >/dev/null 2>&1 && return
  if [ "$(uname -s)" != Linux ] || [ "$(id -u)" -ne 0 ]; then
    die "No Docker engine is running, and only root on Linux can start one from here: please start Docker."
  fi
  # 107 bytes is all that the name of a socket can have, the longest here being containerd's
  [ ${#CACHE} -le 60 ] || die "The cache folder's name is too long for an engine's sockets (${#CACHE} of 60 letters): set OPENBELL_CACHE."
  say "No Docker engine is running: starting one of our own, kept in $CACHE (\"make down\" ends it)."
  need_deb docker.io iptables iproute2 procps
  command -v docker >/dev/null || need_deb docker-cli   # a package of its own from Debian 13 on
  timeout 10 docker info >/dev/null 2>&1 && return       # with systemd, installing it has started it
  if [ -d "$BEFORE" ]; then
    # Ours ran before and was not stopped; the cluster in it is made again.
    end_leftovers
    rm -f "$CACHE/cluster.stamp"
  else
    remember
  fi
  # 128 by default: systemd, containerd and kubelet of every node draw on it
  sysctl -qw fs.inotify.max_user_instances=1024
  if [ $((0x$(awk '/^CapBnd/ {print $2}' /proc/self/status) >> 24 & 1)) -eq 0 ]; then
    install -m 755 "$HERE/runc-nosysres" "$CACHE/bin/"
    runtime=(--add-runtime "nosysres=$CACHE/bin/runc-nosysres" --default-runtime nosysres)
  fi
  # Its PATH is without our bin folder: Debian's containerd would run the newer shim built for the nodes.
  PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin setsid dockerd -H "$OWN_SOCKET" --data-root "$CACHE/docker" \
    --exec-root "$CACHE/docker-exec" --pidfile "$CACHE/dockerd.pid" "${runtime[@]}" \
    >"$CACHE/log/dockerd.log" 2>&1 </dev/null &
  pid=$!
  wait_for "the Docker engine" 30 own_engine || {
    kill "$pid" 2>/dev/null || true
    restore
    die "Our own Docker engine does not start: $(grep -v level=info "$CACHE/log/dockerd.log" | tail -n 1)"
  }
}

stop() {
  local pid
  [ -d "$BEFORE" ] || return 0
  pid=$(cat "$CACHE/dockerd.pid" 2>/dev/null || echo 0)
  if is_ours "$pid"; then
    kill "$pid"   # it ends its containers and its containerd itself
    wait_for "the Docker engine to end" 60 bash -c "! kill -0 $pid" || kill -9 "$pid"
  fi
  end_leftovers
  restore
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  *) die "usage: engine.sh start|stop" ;;
esac
